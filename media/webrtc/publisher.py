"""A publisher's session: packets in, and the feedback that keeps them coming."""

import secrets
from collections.abc import Callable
from typing import Final, Protocol

from media.engine import SessionId, Track
from media.rtp import rtcp
from media.rtp.bounds import HISTORY_PACKETS
from media.rtp.capture_time import ABS_CAPTURE_TIME_URI, abs_send_time_24
from media.rtp.missing import MissingPackets
from media.rtp.packet import MalformedPacketError, RtpPacket, parse_rtp, unwrap_rtx
from media.rtp.reception import Reception
from media.rtp.retransmission import TokenBucket
from media.rtp.sequence import SEQUENCE_MODULUS, SequenceUnwrapper
from media.webrtc import bounds, metrics
from media.webrtc.aiortc_private import BandwidthEstimator, NegotiatedTrack, Peer
from media.webrtc.fan_out import TrackFanOut

ABS_SEND_TIME_URI: Final = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
PUBLISHER_EXTENSIONS: Final = (ABS_CAPTURE_TIME_URI, ABS_SEND_TIME_URI)


class TrackListener(Protocol):
    """Who keeps the clock by what comes in."""

    def on_frame(
        self, kind: Track, ssrc: int, timestamp: int, arrival_ms: float, capture: bytes
    ) -> None:
        """The first packet of a frame, in order of arrival."""

    def on_sender_report(self, kind: Track, report: rtcp.SenderReport) -> None:
        """The publisher's clock, by its own account."""


class PublishedTrack:
    """One track of one publisher."""

    def __init__(
        self,
        peer: Peer,
        negotiated: NegotiatedTrack,
        fan_out: TrackFanOut,
        listener: TrackListener,
    ) -> None:
        self.negotiated = negotiated
        self.kind = negotiated.kind
        [self.codec] = negotiated.payload_types
        self._peer = peer
        self._fan_out = fan_out
        self._listener = listener
        self._capture_id = negotiated.extensions.get(ABS_CAPTURE_TIME_URI, 0)
        self._send_time_id = negotiated.extensions.get(ABS_SEND_TIME_URI, 0)
        self._bandwidth = BandwidthEstimator() if self.kind == "video" else None
        self.ssrc: int | None = None
        self._reception: Reception | None = None
        self._sequences = SequenceUnwrapper(0)
        self._missing = MissingPackets()
        self._newest_timestamp: int | None = None
        self._reported_ms = float("-inf")
        self._bits_per_s: int | None = None

    def on_packet(self, packet: RtpPacket, arrival_ms: float) -> None:
        """Take in a packet of this track, or of its retransmissions."""
        self._estimate(packet, arrival_ms)
        is_repair = packet.payload_type == self.codec.rtx
        if is_repair:
            if self.ssrc is None or len(packet.payload) < 2:
                return  # Padding, which probes the path.
            packet = unwrap_rtx(packet, self.codec.number, self.ssrc)
        elif packet.ssrc != self.ssrc or self._reception is None:
            self._begin(packet)
        reception = self._reception
        if reception is None:
            return
        if not is_repair:
            reception.add(packet.sequence, packet.timestamp, arrival_ms)
        behind = self._sequences.highest - self._sequences.peek(packet.sequence)
        if behind > HISTORY_PACKETS:
            self._sequences = SequenceUnwrapper(packet.sequence)  # It counts anew.
            self._missing = MissingPackets()
        if not self._missing.add(self._sequences.unwrap(packet.sequence), arrival_ms):
            self._fan_out.key_frames.want()
        capture = b""
        if self._capture_id and packet.profile:
            capture = packet.extension_value(self._capture_id) or b""
        if not is_repair and packet.timestamp != self._newest_timestamp:
            # The clock first: who takes the packet asks for its media time.
            self._newest_timestamp = packet.timestamp
            self._listener.on_frame(self.kind, packet.ssrc, packet.timestamp, arrival_ms, capture)
        self._fan_out.forward(packet, self.codec.codec, capture, arrival_ms)

    def on_sender_report(self, report: rtcp.SenderReport, arrival_ms: float) -> None:
        """Take in what the publisher says of its clock."""
        reception = self._reception
        if reception is None or report.ntp64 == 0:
            return  # It has no clock to speak of (RFC 3550 section 6.4.1).
        reception.report_ntp64, reception.report_ms = report.ntp64, arrival_ms
        self._fan_out.relay(report)
        self._listener.on_sender_report(self.kind, report)

    def tick(self, now_ms: float) -> None:
        """Ask for what is missing, and report."""
        if self.ssrc is None or self._reception is None:
            return
        own = self.negotiated.ssrc
        if self.kind == "video":
            lost = self._missing.due(now_ms)
            if lost:
                metrics.ASKED_AGAIN.inc(len(lost))
                wrapped = [number % SEQUENCE_MODULUS for number in lost]
                self._peer.send_rtcp(rtcp.write_nack(own, self.ssrc, wrapped))
            if self._fan_out.key_frames.is_due(now_ms):
                metrics.KEY_FRAMES_ASKED.inc()
                self._peer.send_rtcp(rtcp.write_pli(own, self.ssrc))
        if now_ms - self._reported_ms >= bounds.REPORT_MS:
            self._reported_ms = now_ms
            data = rtcp.write_receiver_report(own, (self._reception.report(now_ms),))
            if self._bits_per_s is not None:
                data += rtcp.write_remb(own, self._bits_per_s, [self.ssrc])
            self._peer.send_rtcp(data)

    def _begin(self, packet: RtpPacket) -> None:
        self.ssrc = packet.ssrc
        self._reception = Reception(packet.ssrc, self.codec.rate, packet.sequence)
        self._sequences = SequenceUnwrapper(packet.sequence)
        self._missing = MissingPackets()
        self._newest_timestamp = None
        self._fan_out.begin_source()

    def _estimate(self, packet: RtpPacket, arrival_ms: float) -> None:
        if self._bandwidth is None or not self._send_time_id or not packet.profile:
            return
        value = packet.extension_value(self._send_time_id)
        send_time = None if value is None else abs_send_time_24(value)
        if send_time is None:
            return
        estimate = self._bandwidth.add(send_time, arrival_ms, len(packet.payload), packet.ssrc)
        if estimate is None:
            return
        bits_per_s = max(estimate, bounds.PUBLISHER_BITS_PER_S_MIN)
        bits_per_s = min(bits_per_s, bounds.PUBLISHER_BITS_PER_S_MAX)
        if self._bits_per_s is not None and bits_per_s < self._bits_per_s * 0.97:
            self._reported_ms = float("-inf")  # Bad news travels at once.
        self._bits_per_s = bits_per_s


class PublisherSession:
    """The packets of one publisher's connection."""

    def __init__(
        self,
        session: SessionId,
        publisher: str,
        now_ms: Callable[[], float],
        connected: Callable[["PublisherSession"], None],
        ended: Callable[["PublisherSession"], None],
    ) -> None:
        self.session = session
        self.publisher = publisher
        self.peer: Peer
        self.ice_ufrag = ""
        self.began_ms = now_ms()
        self.is_connected = False
        self.is_live = False
        """Its packets are the room's: false before it takes over, and after it was replaced."""
        self._now_ms = now_ms
        self._connected, self._ended = connected, ended
        self.tracks: list[PublishedTrack] = []
        self._by_payload_type: dict[int, PublishedTrack] = {}
        self._budget = TokenBucket(bounds.PUBLISHER_PACKETS_PER_S, bounds.PUBLISHER_PACKETS_BURST)

    def add_track(self, track: PublishedTrack) -> None:
        """A track that was negotiated."""
        self.tracks.append(track)
        self._by_payload_type[track.codec.number] = track
        if track.codec.rtx is not None:
            self._by_payload_type[track.codec.rtx] = track

    @property
    def codecs(self) -> dict[str, tuple[str, str]]:
        """Codec and profile by kind."""
        return {track.kind: (track.codec.codec, track.codec.profile) for track in self.tracks}

    def on_connected(self) -> None:
        """Media may come."""
        self.is_connected = True
        self._connected(self)

    def on_closed(self) -> None:
        """It has left."""
        self._ended(self)

    def on_rtp(self, data: bytes, arrival_ms: float) -> None:
        """A packet of one of its tracks."""
        if not self.is_live:
            return
        if not self._budget.take(arrival_ms):
            metrics.MALFORMED.labels("too_many").inc()
            return
        try:
            packet = parse_rtp(data)
            track = self._by_payload_type.get(packet.payload_type)
            if track is not None:
                track.on_packet(packet, arrival_ms)
        except MalformedPacketError:
            metrics.MALFORMED.labels("rtp").inc()

    def on_rtcp(self, data: bytes) -> None:
        """Its clock, above all."""
        try:
            messages = rtcp.parse_rtcp(data)
        except MalformedPacketError:
            metrics.MALFORMED.labels("rtcp").inc()
            return
        now_ms = self._now_ms()
        for message in messages:
            if isinstance(message, rtcp.SenderReport) and self.is_live:
                for track in self.tracks:
                    if track.ssrc == message.ssrc:
                        track.on_sender_report(message, now_ms)
            elif isinstance(message, rtcp.ReferenceTime) and self.tracks:
                own = self.tracks[0].negotiated.ssrc
                self.peer.send_rtcp(rtcp.write_dlrr(own, message))

    def tick(self, now_ms: float) -> None:
        """Ask, and report."""
        if self.is_live and self.is_connected:
            for track in self.tracks:
                track.tick(now_ms)


def new_session_id(what: str) -> SessionId:
    """An id that nobody guesses: who knows a session's URL may end it (RFC 9725 section 5)."""
    return SessionId(f"{what}-{secrets.token_urlsafe(16)}")
