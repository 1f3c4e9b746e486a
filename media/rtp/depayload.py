"""From RTP payloads to frames: H264 (RFC 6184), VP8 (RFC 7741), Opus (RFC 7587). Pure."""

from typing import Final, Literal

from media.rtp.packet import MalformedPacketError

RtpCodec = Literal["h264", "vp8", "opus"]

START_CODE: Final = b"\0\0\0\1"
"""Annex B (ITU-T H.264)."""
_STAP_A, _FU_A = 24, 28
_IDR, _SPS, _PPS, _AUD = 5, 7, 8, 9


def is_key_start(codec: str, payload: bytes) -> bool:
    """Whether a packet begins something that a decoder can start at. False for what is no frame."""
    if codec == "opus":
        return True
    if not payload:
        return False
    if codec == "vp8":
        try:
            start, body = _vp8_descriptor(payload)
        except MalformedPacketError:
            return False
        return start and bool(body) and not body[0] & 1
    kind = payload[0] & 0x1F
    if kind == _STAP_A:
        return any(unit[0] & 0x1F in (_IDR, _SPS) for unit in _aggregated(payload))
    if kind == _FU_A:
        return len(payload) > 1 and payload[1] & 0x9F == 0x80 | _IDR
    return kind in (_IDR, _SPS)


class FrameAssembler:
    """Packets of one frame, in order, to what decoders take; keeps the parameter sets."""

    __slots__ = ("_codec", "_pps", "_sps")

    def __init__(self, codec: RtpCodec) -> None:
        self._codec = codec
        self._sps = self._pps = b""

    def assemble(self, payloads: list[bytes]) -> tuple[bytes, bool] | None:
        """The frame, and whether a decoder can start at it; None when there is none in them.

        Raises MalformedPacketError for payloads that are not of the codec, or not whole.
        """
        if self._codec == "opus":
            return (payloads[-1], True) if payloads[-1] else None
        if self._codec == "vp8":
            return self._vp8(payloads)
        return self._h264(payloads)

    def _vp8(self, payloads: list[bytes]) -> tuple[bytes, bool] | None:
        parts = [_vp8_descriptor(payload) for payload in payloads if payload]
        if not parts:
            return None
        if not parts[0][0]:
            raise MalformedPacketError("a VP8 frame without its beginning")
        data = b"".join(body for _, body in parts)
        return (data, not data[0] & 1) if data else None

    def _h264(self, payloads: list[bytes]) -> tuple[bytes, bool] | None:
        units = _units(payloads)
        is_key, picture = False, []
        for unit in units:
            kind = unit[0] & 0x1F
            if kind == _SPS:
                self._sps = unit
            elif kind == _PPS:
                self._pps = unit
            elif kind != _AUD:
                is_key = is_key or kind == _IDR
                picture.append(unit)
        if not any(1 <= unit[0] & 0x1F <= _IDR for unit in picture):
            return None  # Parameter sets alone, sent ahead of the picture that needs them.
        if is_key:
            if not (self._sps and self._pps):
                raise MalformedPacketError("a key frame before any parameter sets")
            picture = [self._sps, self._pps, *picture]
        return b"".join(START_CODE + unit for unit in picture), is_key


def _units(payloads: list[bytes]) -> list[bytes]:
    units: list[bytes] = []
    fragments: list[bytes] = []
    for payload in payloads:
        if not payload:
            continue  # Padding.
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            if len(payload) < 3:
                raise MalformedPacketError("an H264 fragment of nothing")
            if payload[1] & 0x80:
                fragments = [bytes((payload[0] & 0xE0 | payload[1] & 0x1F,))]
            elif not fragments:
                raise MalformedPacketError("an H264 fragment without its beginning")
            fragments.append(payload[2:])
            if payload[1] & 0x40:
                units.append(b"".join(fragments))
                fragments = []
        elif fragments:
            raise MalformedPacketError("an H264 fragment without its end")
        elif kind == _STAP_A:
            units += _aggregated(payload)
        elif 1 <= kind < _STAP_A:
            units.append(payload)
        else:
            raise MalformedPacketError(f"an H264 packet of type {kind}")
    if fragments:
        raise MalformedPacketError("an H264 fragment without its end")
    return units


def _aggregated(payload: bytes) -> list[bytes]:
    """NAL units of a STAP-A; what is cut short is left out."""
    units, at = [], 1
    while at + 2 < len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        unit = payload[at + 2 : at + 2 + size]
        if not size or len(unit) < size:
            break
        units.append(unit)
        at += 2 + size
    return units


def _vp8_descriptor(payload: bytes) -> tuple[bool, bytes]:
    """Whether it begins the frame's first partition, and what follows (RFC 7741 section 4.2)."""
    first, at = payload[0], 1
    try:
        if first & 0x80:
            extensions, at = payload[1], 2
            if extensions & 0x80:
                at += 2 if payload[at] & 0x80 else 1
            at += bool(extensions & 0x40) + bool(extensions & 0x30)
    except IndexError:
        raise MalformedPacketError("a VP8 descriptor that is cut short") from None
    if at > len(payload):
        raise MalformedPacketError("a VP8 descriptor that is cut short")
    return bool(first & 0x10) and not first & 0x07, payload[at:]
