"""H.264 as MP4 wants it: NAL units with their lengths, and the parameter sets apart. Pure.

Sources: ITU-T H.264 annex B (byte stream), 7.3.2.1.1 (sequence parameter set), ISO/IEC 14496-15
5.3.3 (decoder configuration record).
"""

import re
from typing import Final

from msgspec import Struct

from engagement.errors import BadRequestError

NAL_IDR: Final = 5
NAL_SPS: Final = 7
NAL_PPS: Final = 8
NAL_AUD: Final = 9

PARAMETER_SETS_MAX: Final = 8
"""Of either kind in one frame; encoders send one or two."""
PARAMETER_SET_BYTES_MAX: Final = 512
"""A sequence parameter set is some 30 bytes; one with all scaling lists stays below this."""
SIDE_PIXELS_MAX: Final = 16_384
"""What level 6.2 allows on one side."""

_START_CODE: Final = re.compile(rb"\x00\x00\x01")
_HIGH_PROFILES: Final = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


class ParameterSets(Struct, frozen=True):
    """What a decoder has to know before the first key frame, as it came in the stream."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]


class Picture(Struct, frozen=True):
    """What a sequence parameter set says of the picture."""

    profile: int
    compatibility: int
    level: int
    width: int
    height: int
    chroma_format: int
    luma_bits: int
    chroma_bits: int

    @property
    def codec(self) -> str:
        """As in a CODECS attribute (RFC 6381, section 3.3)."""
        return f"avc1.{self.profile:02x}{self.compatibility:02x}{self.level:02x}"


def bad_bitstream(detail: str) -> BadRequestError:
    """The error for media that does not follow its standard."""
    return BadRequestError(detail, code="bad_bitstream")


def split_annex_b(data: bytes) -> list[bytes]:
    """The NAL units between start codes, without trailing zeros. Empty where there is no code."""
    starts = [match.end() for match in _START_CODE.finditer(data)]
    ends = [start - 3 for start in starts[1:]] + [len(data)] * bool(starts)
    units = (data[start:end].rstrip(b"\0") for start, end in zip(starts, ends, strict=True))
    return [unit for unit in units if unit]


def parameter_sets(units: list[bytes]) -> ParameterSets | None:
    """Those among the units; None unless both kinds are there.

    Raises BadRequestError beyond `PARAMETER_SETS_MAX` or `PARAMETER_SET_BYTES_MAX`.
    """
    sps = tuple(unit for unit in units if unit[0] & 31 == NAL_SPS)
    pps = tuple(unit for unit in units if unit[0] & 31 == NAL_PPS)
    if not sps or not pps:
        return None
    if max(len(sps), len(pps)) > PARAMETER_SETS_MAX:
        raise bad_bitstream("too many H.264 parameter sets in one frame")
    if max(map(len, sps + pps)) > PARAMETER_SET_BYTES_MAX:
        raise bad_bitstream("an H.264 parameter set is too long")
    return ParameterSets(sps, pps)


def length_prefixed(units: list[bytes]) -> bytes:
    """An MP4 sample: each unit after its length in 4 bytes; parameter sets and delimiters, which
    the header has or nobody needs, are left out."""
    apart = (NAL_SPS, NAL_PPS, NAL_AUD)
    return b"".join(
        len(unit).to_bytes(4, "big") + unit for unit in units if unit[0] & 31 not in apart
    )


def picture(sps: bytes) -> Picture:
    """Read a sequence parameter set as far as the cropped size of the picture.

    Raises BadRequestError for one that ends too early or describes no picture.
    """
    bits = _Bits(sps[1:].replace(b"\0\0\3", b"\0\0"))
    profile, compatibility, level = bits.read(8), bits.read(8), bits.read(8)
    bits.golomb()
    chroma, luma_bits, chroma_bits = 1, 8, 8
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            bits.read(1)
        luma_bits, chroma_bits = 8 + bits.golomb(), 8 + bits.golomb()
        bits.read(1)
        if bits.read(1):
            for number in range(8 if chroma != 3 else 12):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    _skip_order_counts(bits)
    bits.golomb()
    bits.read(1)
    width = (bits.golomb() + 1) * 16
    map_units = bits.golomb() + 1
    is_frame = bits.read(1)
    if not is_frame:
        bits.read(1)
    height = map_units * 16 * (2 - is_frame)
    bits.read(1)
    if bits.read(1):
        left, right, top, bottom = (bits.golomb() for _ in range(4))
        horizontal = 2 if chroma in (1, 2) else 1
        vertical = (2 if chroma == 1 else 1) * (2 - is_frame)
        width -= (left + right) * horizontal
        height -= (top + bottom) * vertical
    if not (0 < width <= SIDE_PIXELS_MAX and 0 < height <= SIDE_PIXELS_MAX):
        raise bad_bitstream(f"an H.264 picture of {width}x{height}")
    return Picture(profile, compatibility, level, width, height, chroma, luma_bits, chroma_bits)


def configuration_record(sets: ParameterSets, seen: Picture) -> bytes:
    """The content of `avcC` (ISO/IEC 14496-15, 5.3.3.1.2)."""
    record = bytearray((1, seen.profile, seen.compatibility, seen.level, 0xFF))
    record.append(0xE0 | len(sets.sps))
    for unit in sets.sps:
        record += len(unit).to_bytes(2, "big") + unit
    record.append(len(sets.pps))
    for unit in sets.pps:
        record += len(unit).to_bytes(2, "big") + unit
    if seen.profile not in (66, 77, 88):
        record += bytes(
            (0xFC | seen.chroma_format & 3, 0xF8 | seen.luma_bits - 8, 0xF8 | seen.chroma_bits - 8)
        )
        record.append(0)
    return bytes(record)


def _skip_order_counts(bits: "_Bits") -> None:
    bits.golomb()
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        count = bits.golomb()
        if count > 255:
            raise bad_bitstream("a picture order cycle beyond 255 frames")
        for _ in range(count):
            bits.golomb()


def _skip_scaling_list(bits: "_Bits", size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            delta = bits.golomb()
            signed = (delta + 1) // 2 if delta & 1 else -(delta // 2)
            following = (last + signed) % 256
        last = following or last


class _Bits:
    """Bits of a parameter set, from the front."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        data = data[:PARAMETER_SET_BYTES_MAX]
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def read(self, count: int) -> int:
        if count > self._left:
            raise bad_bitstream("an H.264 sequence parameter set ends too early")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """An unsigned Exp-Golomb number (9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise bad_bitstream("an H.264 number beyond 32 bits")
        return (1 << zeros) - 1 + self.read(zeros)
