"""Program tables of a transport stream (ISO/IEC 13818-1, 2.4.4). Pure."""

from collections.abc import Iterator
from typing import Final, Literal

from engagement.errors import BadRequestError
from media.srt import bounds

StreamKind = Literal["h264", "aac", "opus"]

_PAT_ID, _PMT_ID = 0, 2
_H264, _AAC, _PRIVATE = 0x1B, 0x0F, 0x06
_REGISTRATION: Final = 5
_UNSUPPORTED: Final = {
    0x01: "MPEG-1 video", 0x02: "MPEG-2 video", 0x24: "H.265 (HEVC)", 0x33: "H.266 (VVC)",
    0x03: "MP2 sound", 0x04: "MP2 sound", 0x11: "AAC in LATM", 0x81: "AC-3 sound",
    0x87: "E-AC-3 sound",
}  # fmt: skip


class Section:
    """Sections of one PID put together, one at a time."""

    def __init__(self) -> None:
        self._held = b""
        self._is_open = False

    def packet(self, payload: bytes, *, is_start: bool) -> Iterator[bytes]:
        """Take in one packet's payload; the sections whose checksum is right."""
        if is_start:
            if not payload:
                return
            begins = 1 + payload[0]
            if self._is_open:
                self._held += payload[1:begins]
                yield from self._whole()
            self._held, self._is_open = payload[begins:], True
        elif self._is_open:
            self._held += payload
        if len(self._held) > bounds.SECTION_BYTES_MAX + 188:
            self._held, self._is_open = b"", False
        yield from self._whole()

    def _whole(self) -> Iterator[bytes]:
        while self._is_open and len(self._held) >= 3:
            if self._held[0] == 0xFF:
                break  # Stuffing to the packet's end.
            size = 3 + (int.from_bytes(self._held[1:3], "big") & 0xFFF)
            if size > bounds.SECTION_BYTES_MAX:
                break
            if len(self._held) < size:
                return
            section, self._held = self._held[:size], self._held[size:]
            if size >= 12 and crc32_mpeg(section) == 0:
                yield section
        if self._held[:1] == b"\xff" or len(self._held) >= 3:
            self._held, self._is_open = b"", False


def program_of(section: bytes) -> int | None:
    """The PID of the first program's table, from a PAT section; None for another section."""
    if section[0] != _PAT_ID:
        return None
    for at in range(8, len(section) - 4 - 3, 4):
        if int.from_bytes(section[at : at + 2], "big"):
            return int.from_bytes(section[at + 2 : at + 4], "big") & 0x1FFF
    return None


def streams_of(section: bytes) -> Iterator[tuple[int, StreamKind | None]]:
    """PIDs and what they carry, from a PMT section; None for what is skipped.

    Raises BadRequestError for video or sound of a codec that is not carried.
    """
    if section[0] != _PMT_ID:
        return
    at = 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    for _ in range(bounds.STREAMS_MAX):
        if at + 5 > len(section) - 4:
            return
        kind = section[at]
        pid = int.from_bytes(section[at + 1 : at + 3], "big") & 0x1FFF
        about_bytes = int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF
        yield pid, _kind_of(kind, section[at + 5 : at + 5 + about_bytes])
        at += 5 + about_bytes


def _kind_of(kind: int, descriptors: bytes) -> StreamKind | None:
    if kind == _H264:
        return "h264"
    if kind == _AAC:
        return "aac"
    if kind == _PRIVATE and _registration(descriptors) == b"Opus":
        return "opus"
    if kind in _UNSUPPORTED:
        raise BadRequestError(
            f"{_UNSUPPORTED[kind]} is not carried: set the encoder to H.264 and AAC",
            code="codec_not_supported",
        )
    return None


def _registration(descriptors: bytes) -> bytes:
    at = 0
    while at + 2 <= len(descriptors):
        size = descriptors[at + 1]
        if descriptors[at] == _REGISTRATION:
            return descriptors[at + 2 : at + 6]
        at += 2 + size
    return b""


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_CRC: Final = _crc_table()


def crc32_mpeg(data: bytes) -> int:
    """Checksum of annex A; 0 over a section that is whole, its own checksum included."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
    return value
