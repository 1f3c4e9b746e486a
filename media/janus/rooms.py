"""Rooms whose packets go through Janus: who publishes, who watches, and the room's clock."""

from collections.abc import Callable

from media.clock import ClockEvent
from media.engine import SessionId, Track
from media.frames import FrameSink
from media.janus.forwarded import ForwardedTrack
from media.rtp.packet import RtpPacket
from media.running_epoch import Reason
from media.webrtc.frame_taps import RoomTap
from media.webrtc.room import RATES_HZ, CaptureReports, ForwardingRoom


class JanusPublisher:
    """A publisher's connection to Janus, and what Janus forwards of it."""

    def __init__(
        self, session: SessionId, publisher: str, handle: int, feed: str, began_ms: float
    ) -> None:
        self.session = session
        self.publisher = publisher
        self.handle = handle
        self.feed = feed
        """Its id in Janus' room."""
        self.began_ms = began_ms
        self.ice_ufrag = ""
        self.ssrcs: list[int] = []
        self.mids: dict[Track, str] = {}
        self.tracks: dict[Track, ForwardedTrack] = {}
        self.is_live = False


class JanusViewer:
    """A viewer's connection to Janus."""

    def __init__(
        self, session: SessionId, viewer: str, handle: int, offer: str, began_ms: float
    ) -> None:
        self.session = session
        self.viewer = viewer
        self.handle = handle
        self.offer = offer
        """Janus' own, which the viewer has to answer."""
        self.began_ms = began_ms
        self.ice_ufrag = ""
        self.is_answered = False
        self.is_connected = False
        self.mids: dict[Track, str] = {}
        """Of its own connection, by kind."""


class JanusRoom:
    """One room; frames of it go to `sink`."""

    def __init__(
        self,
        name: str,
        next_epoch: int,
        announce: Callable[[str, list[ClockEvent]], None],
        started: Callable[["JanusRoom"], None],
        sink: FrameSink | None,
    ) -> None:
        self.name = name
        self.publisher: JanusPublisher | None = None
        self.pending: JanusPublisher | None = None
        """Answered, and nothing has come of it yet; it replaces the publisher when it has."""
        self.viewers: dict[SessionId, JanusViewer] = {}
        self.media = ForwardingRoom(name, next_epoch, announce, lambda _: started(self))
        self._newest: dict[Track, int] = {}
        """RTP timestamps of the frames that have begun last."""
        self._tap = None if sink is None else RoomTap(self.media, sink)

    @property
    def is_empty(self) -> bool:
        """Nobody is here."""
        return not (self.publisher or self.pending or self.viewers)

    def begin(self, publisher: JanusPublisher) -> None:
        """A publisher's packets are the room's from now on."""
        self.publisher, self.pending = publisher, None
        publisher.is_live = True
        self.media.has_started = False
        self._newest.clear()
        self.media.reports = {kind: CaptureReports(rate) for kind, rate in RATES_HZ.items()}
        for fan_out in self.media.fan_outs.values():
            fan_out.begin_source()
        self.media.fan_outs["video"].key_frames.want()

    def end(self, now_ms: float, reason: Reason) -> None:
        """They are no more."""
        publisher, self.publisher = self.publisher, None
        if publisher is not None:
            publisher.is_live = False
        self.media.end(now_ms, reason)

    def take(
        self, kind: Track, codec: str, packet: RtpPacket, capture: bytes, arrival_ms: float
    ) -> None:
        """A packet of the publisher's; the first of a frame is for the clock."""
        if packet.timestamp != self._newest.get(kind):
            self._newest[kind] = packet.timestamp
            self.media.on_frame(kind, packet.ssrc, packet.timestamp, arrival_ms, capture)
        self.media.fan_outs[kind].forward(packet, codec, capture, arrival_ms)

    def tick(self, now_ms: float) -> None:
        """See to the clock, and to packets that wait for others."""
        self.media.check_clock(now_ms)
        if self._tap is not None:
            self._tap.tick(now_ms)
