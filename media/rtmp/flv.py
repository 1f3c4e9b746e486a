"""Frames out of FLV tags, which is what RTMP carries. Sans-I/O.

Sources: Adobe, "Video File Format Specification 10.1", annex E.4; Veovera, "Enhanced RTMP v1" (for
what newer encoders send when they send something else than H.264); ISO/IEC 14496-15, 5.3.3.1.
"""

from typing import Final

from msgspec import Struct

from engagement.errors import BadRequestError
from media.rtmp import bounds

_AVC, _AAC = 7, 10
_CONFIGURATION, _CODED = 0, 1
_START_CODE: Final = b"\0\0\0\1"
_NAL_IDR, _NAL_SPS = 5, 7
_SOUND_NAMES: Final = {2: "MP3", 7: "G.711", 8: "G.711", 11: "Speex", 14: "MP3"}
_EXTENDED_HEADER: Final = 0x80


class VideoFrame(Struct, frozen=True):
    """One access unit: Annex B, parameter sets before a key frame."""

    dts_ms: int
    pts_ms: int
    is_key: bool
    data: bytes


class AudioFrame(Struct, frozen=True):
    """One raw AAC frame and its AudioSpecificConfig."""

    pts_ms: int
    data: bytes
    config: bytes


def bad_flv(detail: str) -> BadRequestError:
    """The error for a tag that is broken."""
    return BadRequestError(detail, code="bad_flv")


def _unsupported(detail: str) -> BadRequestError:
    return BadRequestError(detail, code="codec_not_supported")


class VideoReader:
    """Video tags of one publisher, in order."""

    def __init__(self) -> None:
        self._length_bytes = 0
        self._parameter_sets = b""

    def take(self, timestamp_ms: int, body: bytes) -> VideoFrame | None:
        """The frame in a tag; None for one that holds a configuration, or nothing.

        Raises BadRequestError for a broken tag and for codecs other than H.264.
        """
        if not body:
            return None
        if body[0] & _EXTENDED_HEADER:
            name = body[1:5].decode("ascii", "replace")
            raise _unsupported(f"video must be H.264, not {name}: set the encoder to H.264 (AVC)")
        if body[0] & 15 != _AVC:
            raise _unsupported("video must be H.264: set the encoder to H.264 (AVC)")
        if len(body) < 5:
            raise bad_flv("a video tag ends too early")
        if body[1] == _CONFIGURATION:
            self._configure(body[5:])
            return None
        if body[1] != _CODED:
            return None
        if not self._length_bytes:
            raise bad_flv("video before its configuration")
        offset_ms = int.from_bytes(body[2:5], "big", signed=True)
        units = self._units(body[5:])
        is_key = any(unit[0] & 31 == _NAL_IDR for unit in units)
        data = b"".join(_START_CODE + unit for unit in units)
        if is_key and not any(unit[0] & 31 == _NAL_SPS for unit in units):
            data = self._parameter_sets + data
        return VideoFrame(timestamp_ms, timestamp_ms + offset_ms, is_key, data) if data else None

    def _configure(self, record: bytes) -> None:
        if not 7 <= len(record) <= bounds.PARAMETER_BYTES_MAX or record[0] != 1:
            raise bad_flv("an H.264 configuration that is none")
        at, sets = 5, b""
        for mask in (31, 255):
            if at >= len(record):
                raise bad_flv("an H.264 configuration ends too early")
            count, at = record[at] & mask, at + 1
            for _ in range(count):
                length = int.from_bytes(record[at : at + 2], "big")
                unit = record[at + 2 : at + 2 + length]
                if not length or len(unit) < length:
                    raise bad_flv("an H.264 configuration ends too early")
                sets += _START_CODE + unit
                at += 2 + length
        self._length_bytes = (record[4] & 3) + 1
        self._parameter_sets = sets

    def _units(self, data: bytes) -> list[bytes]:
        units, at = [], 0
        while at < len(data):
            length = int.from_bytes(data[at : at + self._length_bytes], "big")
            at += self._length_bytes
            if at + length > len(data):
                raise bad_flv("a video frame ends too early")
            if length:
                units.append(data[at : at + length])
            at += length
        return units


class AudioReader:
    """Audio tags of one publisher, in order."""

    def __init__(self) -> None:
        self._config = b""

    def take(self, timestamp_ms: int, body: bytes) -> AudioFrame | None:
        """The frame in a tag; None for one that holds a configuration, or nothing.

        Raises BadRequestError for a broken tag and for codecs other than AAC.
        """
        if len(body) < 2:
            return None
        if body[0] >> 4 != _AAC:
            name = _SOUND_NAMES.get(body[0] >> 4, f"format {body[0] >> 4}")
            raise _unsupported(f"sound must be AAC, not {name}: set the encoder to AAC")
        if body[1] == _CONFIGURATION:
            if len(body) > bounds.PARAMETER_BYTES_MAX:
                raise bad_flv("an AAC configuration that is none")
            self._config = body[2:]
            return None
        if not self._config:
            raise bad_flv("sound before its configuration")
        return AudioFrame(timestamp_ms, body[2:], self._config) if len(body) > 2 else None
