"""RTP that Janus forwards to us: for the clock, HLS and recordings.

One UDP socket takes all rooms' tracks; each was given an SSRC of its own when Janus was asked to
forward it. The RTP timestamps are the publisher's. Packets from another address than Janus' are
not looked at.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable
from typing import Any

from media.engine import Track
from media.janus import bounds
from media.rtp.packet import MalformedPacketError, RtpPacket, parse_rtp
from media.rtp.retransmission import TokenBucket
from media.webrtc import bounds as webrtc_bounds
from media.webrtc import metrics

Deliver = Callable[[RtpPacket, bytes, float], None]
"""`(packet, abs-capture-time as it came, arrival)`."""


class ForwardedTrack:
    """One track of one publisher."""

    def __init__(self, kind: Track, codec: str, capture_id: int, deliver: Deliver) -> None:
        self.kind = kind
        self.codec = codec
        self._capture_id = capture_id
        self._deliver = deliver
        self._budget = TokenBucket(
            webrtc_bounds.PUBLISHER_PACKETS_PER_S, webrtc_bounds.PUBLISHER_PACKETS_BURST
        )

    def take(self, packet: RtpPacket, arrival_ms: float) -> None:
        """A packet that has arrived."""
        if not self._budget.take(arrival_ms):
            metrics.MALFORMED.labels("too_many").inc()
            return
        capture = b""
        if self._capture_id and packet.profile:
            capture = packet.extension_value(self._capture_id) or b""
        self._deliver(packet, capture, arrival_ms)


class ForwardPort(asyncio.DatagramProtocol):
    """Where Janus sends what it forwards."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self.port = 0
        self._now_ms = now_ms
        self._tracks: dict[int, ForwardedTrack] = {}
        self._sources: frozenset[str] = frozenset()
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str, janus_host: str) -> None:
        """Listen on an address of ours for packets of Janus'. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(janus_host, None, type=socket.SOCK_DGRAM)
        self._sources = frozenset(str(each[4][0]) for each in found)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        bound = self._transport.get_extra_info("socket")
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bounds.SOCKET_BYTES)
        self.port = bound.getsockname()[1]

    def add(self, track: ForwardedTrack) -> int:
        """Expect a track; the SSRC by which it will be known."""
        ssrc = secrets.randbelow(2**32 - 1) + 1
        while ssrc in self._tracks:
            ssrc = secrets.randbelow(2**32 - 1) + 1
        self._tracks[ssrc] = track
        return ssrc

    def remove(self, ssrcs: list[int]) -> None:
        """No more of these."""
        for ssrc in ssrcs:
            self._tracks.pop(ssrc, None)

    def close(self) -> None:
        """Stop to listen."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """A packet."""
        if addr[0] not in self._sources or len(data) > bounds.DATAGRAM_BYTES_MAX:
            metrics.MALFORMED.labels("foreign").inc()
            return
        try:
            packet = parse_rtp(data)
        except MalformedPacketError:
            metrics.MALFORMED.labels("rtp").inc()
            return
        track = self._tracks.get(packet.ssrc)
        if track is not None:
            track.take(packet, self._now_ms())
