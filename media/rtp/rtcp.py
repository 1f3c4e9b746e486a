"""RTCP: reports (RFC 3550 section 6), feedback (RFC 4585, 5104, REMB), extended reports (RFC 3611).

Only what a forwarder acts on is read; everything else in a compound packet is stepped over.
"""

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from media.rtp import bounds
from media.rtp.packet import MalformedPacketError

SR, RR, BYE, RTPFB, PSFB, XR = 200, 201, 203, 205, 206, 207
NACK, PLI, FIR, AFB = 1, 1, 4, 15
RRTR, DLRR = 4, 5
"""Block types of extended reports (RFC 3611 sections 4.4 and 4.5)."""
REMB_BITS_PER_S_MAX: Final = 0x3FFFF << 63

_HEADER: Final = struct.Struct("!BBH")
_REPORT: Final = struct.Struct("!LB3sLLLL")
_SENDER: Final = struct.Struct("!LQLLL")


class ReportBlock(Struct, frozen=True):
    """What a receiver says of one source (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """In 256ths, since the report before."""
    lost: int
    """In all, signed: duplicates count against it."""
    highest_sequence: int
    """Extended by the count of cycles."""
    jitter_ticks: int
    last_report: int = 0
    """The middle 32 bits of the newest sender report's NTP time stamp."""
    delay_65536ths: int = 0
    """Since that report came, in 1/65536 s."""


class SenderReport(Struct, frozen=True):
    """A source's clock: `rtp` was at `ntp64`."""

    ssrc: int
    ntp64: int
    rtp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


class ReceiverReport(Struct, frozen=True):
    """What somebody who sends nothing receives."""

    ssrc: int
    blocks: tuple[ReportBlock, ...]


class Nack(Struct, frozen=True):
    """Packets that are wanted again (RFC 4585 section 6.2.1)."""

    ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]


class KeyFrameRequest(Struct, frozen=True):
    """PLI (RFC 4585 section 6.3.1), or FIR (RFC 5104 section 4.3.1), which is asked the same."""

    ssrc: int
    media_ssrcs: tuple[int, ...]


class BandwidthEstimate(Struct, frozen=True):
    """REMB (draft-alvestrand-rmcat-remb): what a receiver believes it can take."""

    ssrc: int
    bits_per_s: int
    media_ssrcs: tuple[int, ...]


class ReferenceTime(Struct, frozen=True):
    """A receiver's clock (RRTR): it asks for a DLRR block, to measure its round trip."""

    ssrc: int
    ntp64: int


class Goodbye(Struct, frozen=True):
    """Sources that have ended."""

    ssrcs: tuple[int, ...]


RtcpMessage = (
    SenderReport
    | ReceiverReport
    | Nack
    | KeyFrameRequest
    | BandwidthEstimate
    | ReferenceTime
    | Goodbye
)


def parse_rtcp(data: bytes) -> list[RtcpMessage]:
    """What a compound packet says. Raises MalformedPacketError when it is none."""
    messages: list[RtcpMessage] = []
    at = 0
    while at < len(data) and len(messages) < bounds.RTCP_MESSAGES_MAX:
        if len(data) < at + 4:
            raise MalformedPacketError("a report's header is cut short")
        first, kind, words = _HEADER.unpack_from(data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            raise MalformedPacketError("a report of another version, or cut short")
        body = data[at + 4 : end]
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                raise MalformedPacketError("a report padded by more than there is")
            body = body[: -body[-1]]
        try:
            messages.extend(_read(kind, first & 0x1F, body))
        except (struct.error, IndexError):
            raise MalformedPacketError(f"a report of type {kind} is cut short") from None
        at = end
    return messages


def _read(kind: int, count: int, body: bytes) -> Iterator[RtcpMessage]:
    if kind == SR:
        ssrc, ntp64, rtp, packets, octets = _SENDER.unpack_from(body)
        blocks = _read_blocks(body, _SENDER.size, count)
        yield SenderReport(ssrc, ntp64, rtp, packets, octets, blocks)
    elif kind == RR:
        yield ReceiverReport(_u32(body, 0), _read_blocks(body, 4, count))
    elif kind == BYE:
        yield Goodbye(struct.unpack_from(f"!{count}L", body))
    elif kind == RTPFB and count == NACK:
        yield Nack(_u32(body, 0), _u32(body, 4), _read_lost(body))
    elif kind == PSFB and count == PLI:
        yield KeyFrameRequest(_u32(body, 0), (_u32(body, 4),))
    elif kind == PSFB and count == FIR:
        targets = tuple(_u32(body, at) for at in range(8, len(body), 8))
        yield KeyFrameRequest(_u32(body, 0), targets)
    elif kind == PSFB and count == AFB and body[8:12] == b"REMB":
        exponent, mantissa = body[13] >> 2, (body[13] & 3) << 16 | body[14] << 8 | body[15]
        ssrcs = struct.unpack_from(f"!{body[12]}L", body, 16)
        yield BandwidthEstimate(_u32(body, 0), mantissa << exponent, ssrcs)
    elif kind == XR:
        yield from _read_extended(body)


def _read_extended(body: bytes) -> Iterator[RtcpMessage]:
    ssrc, at = _u32(body, 0), 4
    while at + 4 <= len(body):
        kind, _, words = _HEADER.unpack_from(body, at)
        if kind == RRTR:
            (ntp64,) = struct.unpack_from("!Q", body, at + 4)
            yield ReferenceTime(ssrc, ntp64)
        at += 4 + 4 * words


def _read_blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for number in range(count):
        ssrc, fraction, lost, highest, jitter, last, delay = _REPORT.unpack_from(
            body, at + number * _REPORT.size
        )
        signed = int.from_bytes(lost, "big", signed=True)
        blocks.append(ReportBlock(ssrc, fraction, signed, highest, jitter, last, delay))
    return tuple(blocks)


def _read_lost(body: bytes) -> tuple[int, ...]:
    lost: list[int] = []
    for at in range(8, len(body), 4):
        first, mask = struct.unpack_from("!HH", body, at)
        lost.append(first)
        lost += [(first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1]
        if len(lost) >= bounds.LOST_LISTED_MAX:
            break
    return tuple(lost[: bounds.LOST_LISTED_MAX])


def _u32(body: bytes, at: int) -> int:
    return int(struct.unpack_from("!L", body, at)[0])


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def write_sender_report(report: SenderReport) -> bytes:
    """A sender report with its blocks."""
    body = _SENDER.pack(
        report.ssrc,
        report.ntp64,
        report.rtp,
        report.packets & 0xFFFFFFFF,
        report.octets & 0xFFFFFFFF,
    )
    return _packet(SR, len(report.blocks), body + _written_blocks(report.blocks))


def write_receiver_report(ssrc: int, blocks: tuple[ReportBlock, ...]) -> bytes:
    """A receiver report."""
    return _packet(RR, len(blocks), struct.pack("!L", ssrc) + _written_blocks(blocks))


def _written_blocks(blocks: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        _REPORT.pack(
            block.ssrc,
            block.fraction_lost,
            max(-0x800000, min(block.lost, 0x7FFFFF)).to_bytes(3, "big", signed=True),
            block.highest_sequence & 0xFFFFFFFF,
            block.jitter_ticks & 0xFFFFFFFF,
            block.last_report,
            block.delay_65536ths & 0xFFFFFFFF,
        )
        for block in blocks
    )


def write_nack(ssrc: int, media_ssrc: int, lost: list[int]) -> bytes:
    """Ask for packets; `lost` in ascending order of the unwrapped numbers."""
    items: list[tuple[int, int]] = []
    for sequence in lost:
        if items:
            first, mask = items[-1]
            ahead = (sequence - first - 1) & 0xFFFF
            if ahead < 16:
                items[-1] = (first, mask | 1 << ahead)
                continue
        items.append((sequence & 0xFFFF, 0))
    body = struct.pack("!LL", ssrc, media_ssrc)
    return _packet(RTPFB, NACK, body + b"".join(struct.pack("!HH", *item) for item in items))


def write_pli(ssrc: int, media_ssrc: int) -> bytes:
    """Ask for a key frame."""
    return _packet(PSFB, PLI, struct.pack("!LL", ssrc, media_ssrc))


def write_remb(ssrc: int, bits_per_s: int, media_ssrcs: list[int]) -> bytes:
    """Tell a publisher what may be sent."""
    exponent = max(0, bits_per_s.bit_length() - 18)
    mantissa = bits_per_s >> exponent
    body = struct.pack("!LL4sBBH", ssrc, 0, b"REMB", len(media_ssrcs),
                       exponent << 2 | mantissa >> 16, mantissa & 0xFFFF)  # fmt: skip
    return _packet(PSFB, AFB, body + struct.pack(f"!{len(media_ssrcs)}L", *media_ssrcs))


def write_dlrr(ssrc: int, asked: ReferenceTime, delay_65536ths: int = 0) -> bytes:
    """Answer a receiver's reference time, so that it learns its round trip (RFC 3611, 4.5)."""
    middle = asked.ntp64 >> 16 & 0xFFFFFFFF
    block = struct.pack("!BBHLLL", DLRR, 0, 3, asked.ssrc, middle, delay_65536ths)
    return _packet(XR, 0, struct.pack("!L", ssrc) + block)


def write_reference_time(ssrc: int, ntp64: int) -> bytes:
    """Ask a sender for a DLRR block."""
    return _packet(XR, 0, struct.pack("!LBBHQ", ssrc, RRTR, 0, 2, ntp64))
