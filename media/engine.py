"""The port of media engines: what publishes, plays, and above all keeps the room's clock.

An engine may forward packets in this process (WebRTC), package them (HLS), drive another server
over HTTP (Janus, MediaMTX), or make a host up (:mod:`media.synthetic`). Whatever it is, it states
its capabilities, grants or refuses, and reports events; anchors among them, which alone leave the
media process for the rest of the system. `tests/contract/test_media_engine.py` holds for all.
"""

from collections.abc import AsyncIterator
from typing import Literal, NewType, Protocol

from msgspec import Struct

from engagement.domain.media_time import Anchor
from media.clock import ClockEvent

SessionId = NewType("SessionId", str)
"""One publisher or one player at one engine."""

Ingest = Literal["whip", "rtmp", "srt", "synthetic"]
Egress = Literal["whep", "llhls", "hls", "vod", "native", "clock"]
"""How a viewer takes it: `native` is an engine's own protocol, `clock` has no picture at all."""
Track = Literal["video", "audio"]


class Capabilities(Struct, frozen=True):
    """What an engine can do. Callers ask for nothing else."""

    name: str
    """As in the `engine` of clock events."""
    ingest: frozenset[Ingest]
    egress: frozenset[Egress]
    preserves_rtp: bool
    """Viewers see the publisher's RTP timestamps, so that release is exact to the frame."""
    capture_times: Literal["frames", "reports", "none"]
    """Whether the publisher's own clock is known, and from what."""
    date_time: Literal["capture", "arrival", "none"]
    """What PROGRAM-DATE-TIME means in its playlists."""
    offers: frozenset[Literal["client", "server"]]
    """Which side may make the SDP offer when playing; empty where there is no SDP."""
    marks: bool
    """Whether :meth:`MediaEngine.mark` puts marks into the stream."""
    publishers_max: int
    viewers_max: int


class PublishRequest(Struct, frozen=True):
    """Somebody wants to be the host's video of a room."""

    room: str
    ingest: Ingest
    publisher: str
    """The authenticated user; whoever asks has checked that they may."""
    offer_sdp: str | None = None


class PublishGrant(Struct, frozen=True):
    """The publisher may begin: by SDP answer, or at a URL with a token in it."""

    session: SessionId
    answer_sdp: str | None = None
    url: str | None = None
    expires_s: float | None = None
    """How long the URL may wait for its publisher."""


class PlayRequest(Struct, frozen=True):
    """A viewer wants to watch; the egresses it can take, the preferred first."""

    room: str
    egress: tuple[Egress, ...]
    viewer: str
    offer_sdp: str | None = None


class PlayGrant(Struct, frozen=True):
    """The viewer may watch: an SDP answer, an offer to be answered by `negotiate`, or a URL."""

    session: SessionId
    egress: Egress
    answer_sdp: str | None = None
    offer_sdp: str | None = None
    url: str | None = None


class Negotiation(Struct, frozen=True):
    """What goes to and fro after the grant: the answer to an engine's offer, trickled candidates
    (RFC 8840), an ICE restart."""

    sdp: str
    kind: Literal["answer", "fragment"]


class TimedMark(Struct, frozen=True):
    """Something to be found in the stream itself at a media time: DATERANGE, a sidecar row."""

    id: str
    room: str
    epoch: int
    pts_ms: float
    kind: str
    duration_ms: float = 0.0
    attributes: dict[str, str] = {}


class MediaTime(Struct, frozen=True):
    """A frame's place in all three times at once."""

    epoch: int
    pts_ms: float
    server_ms: float
    """Unix ms at which it was, or could have been, ingested."""
    rtp: int
    uncertainty_ms: float


class StreamStarted(Struct, frozen=True, tag=True):
    """A publisher's first frame is in."""

    room: str
    session: SessionId
    ingest: Ingest


class StreamEnded(Struct, frozen=True, tag=True):
    """A publisher has gone, or was stopped."""

    room: str
    session: SessionId
    reason: str


class ClockMoved(Struct, frozen=True, tag=True):
    """The room's clock has a new anchor: what goes to `live.clock.v1`."""

    room: str
    event: ClockEvent
    engine: str = "embedded"
    """As in the `engine` of clock events."""


class KeyFrame(Struct, frozen=True, tag=True):
    """A frame that a new viewer can start at."""

    room: str
    epoch: int
    pts_ms: float


class ViewerJoined(Struct, frozen=True, tag=True):
    """A viewer's picture runs."""

    room: str
    session: SessionId
    egress: Egress


class ViewerLeft(Struct, frozen=True, tag=True):
    """It does no longer."""

    room: str
    session: SessionId
    reason: str


class EngineLost(Struct, frozen=True, tag=True):
    """An external engine cannot be reached; its streams are taken to have ended."""

    reason: str


MediaEvent = (
    StreamStarted | StreamEnded | ClockMoved | KeyFrame | ViewerJoined | ViewerLeft | EngineLost
)


class MediaClock(Protocol):
    """Media time of an engine's streams; None for a room that has no clock."""

    def now(self, room: str) -> MediaTime | None:
        """The newest frame's time."""

    def at_wall(self, room: str, server_ms: float) -> MediaTime | None:
        """The frame that was newest at a server time, by the anchor that held then."""

    def from_rtp(self, room: str, track: Track, rtp: int) -> MediaTime | None:
        """A frame of the current epoch by its RTP timestamp; None for a track without anchors."""

    def recent(self, room: str) -> list[Anchor]:
        """Recent anchors, the oldest first."""

    def anchors(self, room: str) -> AsyncIterator[Anchor]:
        """The current anchor and every one that follows."""


class MediaEngine(Protocol):
    """One engine. Refusals are typed errors of :mod:`engagement.errors`:

    BadRequestError (a way in or out that it lacks, bad SDP), NotFoundError (no such stream or
    session), ConflictError (the room has a publisher), UnavailableError (full or unreachable, with
    `retry_after_s`; the caller then offers another egress).
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def clock(self) -> MediaClock:
        """The clock of all its streams."""

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Begin; epochs of a room continue after the given ones."""

    async def publish(self, request: PublishRequest) -> PublishGrant:
        """Let a publisher in."""

    async def play(self, request: PlayRequest) -> PlayGrant:
        """Let a viewer watch."""

    async def negotiate(self, session: SessionId, message: Negotiation) -> Negotiation | None:
        """Continue a session's negotiation."""

    async def mark(self, mark: TimedMark) -> None:
        """Put a mark into the stream; BadRequestError where `capabilities.marks` is false."""

    async def stop(self, session: SessionId) -> None:
        """End a session; one that has ended already is no error."""

    async def close(self) -> None:
        """End all sessions and every epoch, then the event streams."""

    def events(self) -> AsyncIterator[MediaEvent]:
        """Everything that happens from the call on, to each caller alike."""
