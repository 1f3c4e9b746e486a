"""RTP packets (RFC 3550 section 5.1), their header extensions (RFC 8285), and RTX (RFC 4588).

Parsing copies the payload once and nothing else; extensions are looked up when somebody asks.
"""

import struct
from typing import Final

from msgspec import Struct

from media.rtp import bounds

FIXED_BYTES: Final = 12
ONE_BYTE_PROFILE: Final = 0xBEDE
"""RFC 8285 section 4.2."""
TWO_BYTE_PROFILE: Final = 0x1000
"""RFC 8285 section 4.3; its lowest four bits are the application's."""
_FIXED: Final = struct.Struct("!BBHLL")
_EXTENSION: Final = struct.Struct("!HH")


class MalformedPacketError(Exception):
    """Not RTP, or not RTCP, or cut short. The packet is dropped and counted, nothing else."""


class RtpPacket(Struct, frozen=True, gc=False):
    """One packet, without its padding."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    profile: int = 0
    """What kind of header extension there is; 0: none."""
    extension: bytes = b""

    def extension_value(self, extension_id: int) -> bytes | None:
        """The value of an extension element by its negotiated id; None when it is not there.

        Elements after one that is cut short are as good as absent.
        """
        if self.profile == ONE_BYTE_PROFILE:
            return _one_byte_value(self.extension, extension_id)
        if self.profile & 0xFFF0 == TWO_BYTE_PROFILE:
            return _two_byte_value(self.extension, extension_id)
        return None


def is_rtcp(data: bytes) -> bool:
    """Whether a packet on a port shared by both is RTCP (RFC 5761 section 4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def parse_rtp(data: bytes) -> RtpPacket:
    """Read one packet. Raises MalformedPacketError."""
    if len(data) < FIXED_BYTES:
        raise MalformedPacketError("shorter than a header")
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    if first >> 6 != 2:
        raise MalformedPacketError("not version 2")
    at = FIXED_BYTES + 4 * (first & 0x0F)
    profile, extension = 0, b""
    if first & 0x10:
        if len(data) < at + 4:
            raise MalformedPacketError("its extension is cut short")
        profile, words = _EXTENSION.unpack_from(data, at)
        at += 4 + 4 * words
        extension = data[at - 4 * words : at]
    end = len(data)
    if first & 0x20:
        end -= data[-1]
        if data[-1] == 0:
            raise MalformedPacketError("padded by nothing")
    if at > end:
        raise MalformedPacketError("its header is longer than the packet")
    return RtpPacket(
        second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, data[at:end], profile, extension
    )


def write_rtp(
    payload_type: int,
    marker: bool,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    extension: bytes = b"",
) -> bytes:
    """A packet; `extension` is a whole extension header as of :func:`write_extension`, or empty."""
    header = _FIXED.pack(
        0x90 if extension else 0x80,
        payload_type | 0x80 if marker else payload_type,
        sequence,
        timestamp,
        ssrc,
    )
    return header + extension + payload


def write_extension(elements: list[tuple[int, bytes]]) -> bytes:
    """An extension header of one-byte elements: ids 1 to 14, values of 1 to 16 bytes."""
    if not elements:
        return b""
    body = b"".join(
        bytes(((number << 4) | (len(value) - 1),)) + value for number, value in elements
    )
    body += b"\0" * (-len(body) % 4)
    return _EXTENSION.pack(ONE_BYTE_PROFILE, len(body) // 4) + body


def wrap_rtx(original_sequence: int, payload: bytes) -> bytes:
    """The payload of a retransmission: the original's number before it (RFC 4588 section 4)."""
    return original_sequence.to_bytes(2, "big") + payload


def unwrap_rtx(packet: RtpPacket, payload_type: int, ssrc: int) -> RtpPacket:
    """What a retransmission repeats. Raises MalformedPacketError when it names nothing.

    An RTX stream also carries padding, which repeats nothing: see whether there is a payload.
    """
    if len(packet.payload) < 2:
        raise MalformedPacketError("a retransmission of nothing")
    return RtpPacket(
        payload_type,
        packet.marker,
        int.from_bytes(packet.payload[:2], "big"),
        packet.timestamp,
        ssrc,
        packet.payload[2:],
        packet.profile,
        packet.extension,
    )


def is_sendable(payload: bytes, extension: bytes) -> bool:
    """Whether a rewritten packet fits what SRTP can protect."""
    return FIXED_BYTES + len(extension) + len(payload) <= bounds.PACKET_BYTES_MAX


def _one_byte_value(data: bytes, wanted: int) -> bytes | None:
    at, end = 0, len(data)
    while at < end:
        first = data[at]
        number = first >> 4
        if number == 0:
            at += 1  # Padding; RFC 8285 has id 0 be one byte whatever its length says.
            continue
        if number == 15:
            return None  # Reserved: the rest is to be ignored.
        size = (first & 0x0F) + 1
        value = data[at + 1 : at + 1 + size]
        if number == wanted:
            return value if len(value) == size else None
        at += 1 + size
    return None


def _two_byte_value(data: bytes, wanted: int) -> bytes | None:
    at, end = 0, len(data)
    while at + 1 < end:
        number, size = data[at], data[at + 1]
        if number == 0:
            at += 1
            continue
        value = data[at + 2 : at + 2 + size]
        if number == wanted:
            return value if len(value) == size else None
        at += 2 + size
    return None
