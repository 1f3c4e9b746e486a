"""From the payloads of a transport stream to access units and packets of sound. Sans-I/O."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from engagement.errors import BadRequestError
from media.frames import Codec
from media.hls.avc import split_annex_b
from media.hls.sound import AAC_FRAME_SAMPLES, OPUS_RATE_HZ, opus_samples
from media.srt import bounds

TICKS_PER_S: Final = 90_000
_START_CODE: Final = b"\0\0\0\1"
_IDR, _SPS, _PPS = 5, 7, 8
_PICTURES: Final = range(1, 6)
_AAC_RATES_HZ: Final = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
_ADTS_HEADER_BYTES: Final = 7
_OPUS_CONTROL: Final = 0x7FE0


class VideoUnit(Struct, frozen=True):
    """One access unit: Annex B, parameter sets before a key frame; times in 90 kHz ticks."""

    pts: int
    dts: int
    is_key: bool
    data: bytes


class SoundUnit(Struct, frozen=True):
    """One raw AAC frame with its AudioSpecificConfig, or one Opus packet."""

    pts: int
    codec: Codec
    data: bytes
    config: bytes = b""


class VideoReader:
    """Access units, one a PES packet; after a loss nothing until the next key frame."""

    def __init__(self) -> None:
        self._sps = self._pps = b""
        self._needs_key = True

    def take(self, pts: int | None, dts: int | None, payload: bytes) -> Iterator[VideoUnit]:
        """The access unit in a payload, if it is whole."""
        units = split_annex_b(payload)
        kinds = [unit[0] & 31 for unit in units]
        for unit, kind in zip(units, kinds, strict=True):
            if kind == _SPS and len(unit) <= bounds.SECTION_BYTES_MAX:
                self._sps = unit
            elif kind == _PPS and len(unit) <= bounds.SECTION_BYTES_MAX:
                self._pps = unit
        if pts is None or dts is None or not any(kind in _PICTURES for kind in kinds):
            return
        is_key = _IDR in kinds
        self._needs_key = self._needs_key and not is_key
        if self._needs_key:
            return
        if is_key and _SPS not in kinds:
            units = [unit for unit in (self._sps, self._pps) if unit] + units
        data = b"".join(_START_CODE + unit for unit in units)
        yield VideoUnit(pts, dts, is_key, data)

    def lose(self) -> None:
        """Something of it is missing."""
        self._needs_key = True


class SoundReader:
    """AAC frames out of ADTS, several a PES packet, each on its own time."""

    def __init__(self) -> None:
        self._carry = b""
        self._next_pts: float | None = None

    def take(self, pts: int | None, dts: int | None, payload: bytes) -> Iterator[SoundUnit]:
        """The frames in a payload. Raises BadRequestError for sound that AAC players cannot
        take: several frames under one header, a program's own channel layout."""
        data = self._carry + payload
        position: float | None = self._next_pts if self._carry else None
        if position is None:
            position = self._next_pts if pts is None else pts
        at = 0
        while at + _ADTS_HEADER_BYTES <= len(data):
            if data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
                at += 1
                continue
            size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
            begins = at + (_ADTS_HEADER_BYTES if data[at + 1] & 1 else _ADTS_HEADER_BYTES + 2)
            if size <= begins - at:
                at += 1
                continue
            if at + size > len(data):
                break
            rate_hz, config = _adts_config(data[at : at + 4], data[at + 6])
            if position is not None:
                yield SoundUnit(round(position), "aac", data[begins : at + size], config)
                position += AAC_FRAME_SAMPLES * TICKS_PER_S / rate_hz
            at += size
            if pts is not None and self._carry:
                self._carry, position = b"", float(pts)  # The next one begins in this packet.
        self._carry = data[at:][-bounds.ADTS_CARRY_BYTES_MAX :]
        self._next_pts = position

    def lose(self) -> None:
        """Something of it is missing."""
        self._carry, self._next_pts = b"", None


class OpusReader:
    """Opus packets, each after a control header (ETSI TS 103 491 annex, as FFmpeg sends it)."""

    def __init__(self) -> None:
        self._next_pts: float | None = None

    def take(self, pts: int | None, dts: int | None, payload: bytes) -> Iterator[SoundUnit]:
        """The packets in a payload; what is broken ends it."""
        position: float | None = self._next_pts if pts is None else pts
        at = 0
        while at + 3 <= len(payload) and position is not None:
            head = int.from_bytes(payload[at : at + 2], "big")
            if head & 0xFFE0 != _OPUS_CONTROL:
                break
            at += 2
            size = 0
            while at < len(payload):
                size, at = size + payload[at], at + 1
                if payload[at - 1] != 0xFF:
                    break
            at += 2 * bool(head & 0x10) + 2 * bool(head & 0x08)
            if head & 0x04:
                at += 1 + (payload[at] if at < len(payload) else 0)
            packet = payload[at : at + size]
            at += size
            if not packet or len(packet) < size:
                break
            try:
                samples = opus_samples(packet)
            except BadRequestError:
                break
            yield SoundUnit(round(position), "opus", packet)
            position += samples * TICKS_PER_S / OPUS_RATE_HZ
        self._next_pts = position

    def lose(self) -> None:
        """Something of it is missing."""
        self._next_pts = None


def _adts_config(header: bytes, blocks: int) -> tuple[int, bytes]:
    """Sampling rate and AudioSpecificConfig of a header (14496-3, 1.A.2.2)."""
    object_type = (header[2] >> 6) + 1
    index = header[2] >> 2 & 15
    channels = (header[2] & 1) << 2 | header[3] >> 6
    if index >= len(_AAC_RATES_HZ) or not channels or blocks & 3:
        raise BadRequestError(
            "this form of AAC is not carried: set the encoder to AAC-LC, mono or stereo",
            code="codec_not_supported",
        )
    config = object_type << 11 | index << 7 | channels << 3
    return _AAC_RATES_HZ[index], config.to_bytes(2, "big")
