"""A viewer's session: packets out under its own numbers, repair within budgets, nothing in."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from engagement.errors import BadRequestError
from media.engine import SessionId
from media.rtp import rtcp
from media.rtp.capture_time import ABS_CAPTURE_TIME_URI
from media.rtp.depayload import is_key_start
from media.rtp.packet import (
    MalformedPacketError,
    is_sendable,
    wrap_rtx,
    write_extension,
    write_rtp,
)
from media.rtp.retransmission import ForwardedPacket, Retransmissions, TokenBucket
from media.rtp.sequence import SEQUENCE_MODULUS, sequence_difference
from media.webrtc import metrics
from media.webrtc.aiortc_private import NegotiatedTrack, PayloadType, Peer
from media.webrtc.fan_out import TrackFanOut

VIEWER_EXTENSIONS: Final = (ABS_CAPTURE_TIME_URI,)
"""What viewers are told beside the packets; the answer names the SSRCs, so no mid is needed."""


class ViewerTrack:
    """One track to one viewer. RTP timestamps stay the publisher's."""

    __slots__ = (
        "_again",
        "_capture_id",
        "_fan_out",
        "_negotiated",
        "_newest",
        "_numbers",
        "_octets",
        "_packets",
        "_peer",
        "_rtx_sequence",
        "_shift",
        "kind",
        "ssrc",
    )

    def __init__(
        self, peer: Peer, negotiated: NegotiatedTrack, fan_out: TrackFanOut, total: TokenBucket
    ) -> None:
        self._peer = peer
        self._negotiated = negotiated
        self._fan_out = fan_out
        self.kind = negotiated.kind
        self.ssrc = negotiated.ssrc
        self._numbers: dict[str, PayloadType] = {}
        self._capture_id = negotiated.extensions.get(ABS_CAPTURE_TIME_URI, 0)
        self._again = Retransmissions(fan_out.history, total)
        self._shift: int | None = None
        """The viewer's sequence number less the track's index."""
        self._newest = 0
        # In the lower half: an early wrap would leave SRTP's rollover counter in doubt.
        self._rtx_sequence = random.randrange(SEQUENCE_MODULUS // 2)
        self._packets = self._octets = 0

    def number_codec(self, codec: str, profile: str) -> bool:
        """Choose the payload type for the publisher's codec; False when the viewer has none."""
        same = [each for each in self._negotiated.payload_types if each.codec == codec]
        exact = [each for each in same if each.profile == profile]
        self._numbers = {codec: (exact or same)[0]} if same else {}
        return bool(same)

    def send(self, packet: ForwardedPacket) -> None:
        """Forward a packet; the first one to a viewer is one that a decoder can start at."""
        number = self._numbers.get(packet.codec)
        if number is None:
            return
        if self._shift is None:
            if not is_key_start(packet.codec, packet.payload):
                return
            self._shift = random.randrange(SEQUENCE_MODULUS // 2) - packet.index
            self._newest = packet.index
        elif packet.index > self._newest:
            self._newest = packet.index
        self._write(packet, number.number, self.ssrc, packet.index + self._shift, packet.payload)

    def send_again(self, lost: tuple[int, ...], now_ms: float) -> None:
        """Repair, as far as the budgets allow."""
        if self._shift is None:
            return
        refused: Counter[str] = Counter()
        newest = (self._newest + self._shift) % SEQUENCE_MODULUS
        for count, sequence in enumerate(lost):
            ahead = sequence_difference(sequence, newest)
            packet = self._again.take(self._newest + ahead, now_ms)
            if packet == "asks_too_much":
                refused[packet] += len(lost) - count
                break
            if isinstance(packet, str):
                refused[packet] += 1
            else:
                self._repair(packet, sequence)
        for why, times in refused.items():
            metrics.RESENDS_REFUSED.labels(why).inc(times)

    def _repair(self, packet: ForwardedPacket, sequence: int) -> None:
        number = self._numbers.get(packet.codec)
        if number is None:
            return
        metrics.RESENT.inc()
        if number.rtx is None:
            self._write(packet, number.number, self.ssrc, sequence, packet.payload)
            return
        self._rtx_sequence += 1
        payload = wrap_rtx(sequence, packet.payload)
        self._write(packet, number.rtx, self._negotiated.rtx_ssrc, self._rtx_sequence, payload)

    def relay(self, report: rtcp.SenderReport) -> None:
        """The publisher's clock, under our own source and counts."""
        if self._shift is None:
            return
        self._peer.send_rtcp(
            rtcp.write_sender_report(
                rtcp.SenderReport(self.ssrc, report.ntp64, report.rtp, self._packets, self._octets)
            )
        )

    def want_key_frame(self) -> None:
        """The viewer cannot decode."""
        self._fan_out.key_frames.want()

    def join(self) -> None:
        """Begin."""
        self._fan_out.add(self)

    def leave(self) -> None:
        """End."""
        self._fan_out.remove(self)

    def _write(
        self, packet: ForwardedPacket, number: int, ssrc: int, sequence: int, payload: bytes
    ) -> None:
        extension = b""
        if packet.capture and self._capture_id:
            extension = write_extension([(self._capture_id, packet.capture)])
        if not is_sendable(payload, extension):
            metrics.MALFORMED.labels("too_long").inc()
            return
        data = write_rtp(
            number,
            packet.marker,
            sequence % SEQUENCE_MODULUS,
            packet.timestamp,
            ssrc,
            payload,
            extension,
        )
        self._packets += 1
        self._octets += len(payload)
        if not self._peer.send_rtp(data):
            metrics.UNSENT.inc()


class ViewerSession:
    """The packets of one viewer's connection."""

    def __init__(
        self,
        session: SessionId,
        viewer: str,
        now_ms: Callable[[], float],
        ended: Callable[["ViewerSession"], None],
        joined: Callable[["ViewerSession"], None],
    ) -> None:
        self.session = session
        self.viewer = viewer
        self.peer: Peer
        self.ice_ufrag = ""
        self.began_ms = now_ms()
        self.is_connected = False
        self._now_ms = now_ms
        self._ended, self._joined = ended, joined
        self.tracks: dict[int, ViewerTrack] = {}

    def add_track(self, track: ViewerTrack) -> None:
        """A track that was negotiated."""
        self.tracks[track.ssrc] = track

    def number_codecs(self, codecs: dict[str, tuple[str, str]]) -> None:
        """The publisher's codec and profile by kind. Raises BadRequestError for a mismatch."""
        for track in self.tracks.values():
            codec, profile = codecs.get(track.kind, ("", ""))
            if codec and not track.number_codec(codec, profile):
                raise BadRequestError(
                    f"the publisher sends {codec}, which was not offered",
                    code="codec_not_supported",
                )

    def follow_codecs(self, codecs: dict[str, tuple[str, str]]) -> None:
        """The same for a publisher that comes later: what cannot be shown is left out."""
        for track in self.tracks.values():
            codec, profile = codecs.get(track.kind, ("", ""))
            track.number_codec(codec, profile)

    def on_connected(self) -> None:
        """The picture begins with the next key frame."""
        self.is_connected = True
        for track in self.tracks.values():
            track.join()
        self._joined(self)

    def on_closed(self) -> None:
        """It has left."""
        for track in self.tracks.values():
            track.leave()
        self._ended(self)

    def on_rtp(self, data: bytes, arrival_ms: float) -> None:
        """Viewers send nothing that anybody takes."""

    def on_rtcp(self, data: bytes) -> None:
        """Reports and wishes."""
        try:
            messages = rtcp.parse_rtcp(data)
        except MalformedPacketError:
            metrics.MALFORMED.labels("rtcp").inc()
            return
        for message in messages:
            self._act_on(message)

    def _act_on(self, message: rtcp.RtcpMessage) -> None:
        if isinstance(message, rtcp.Nack):
            track = self.tracks.get(message.media_ssrc)
            if track is not None:
                track.send_again(message.lost, self._now_ms())
        elif isinstance(message, rtcp.KeyFrameRequest):
            for ssrc in message.media_ssrcs:
                if ssrc in self.tracks:
                    self.tracks[ssrc].want_key_frame()
        elif isinstance(message, rtcp.ReferenceTime) and self.tracks:
            # At once, so that the delay is none: browsers need it to fill in `captureTime`.
            self.peer.send_rtcp(rtcp.write_dlrr(next(iter(self.tracks)), message))
