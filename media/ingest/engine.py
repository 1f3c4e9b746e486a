"""Publishers that come by a port of their own, as a media engine: keys, rooms, clocks, frames.

A room has one publisher; the same one may publish again at any time, which ends the epoch and
begins the next. What arrives is watched over HLS and recorded, and handed to whoever else shows
it. The port itself and what is spoken on it are the subclass'.
"""

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import structlog

from engagement.domain.names import is_room_id
from engagement.errors import BadRequestError, ConflictError, NotFoundError, UnavailableError
from media.anchor_book import AnchorBook, wall_ms
from media.clock import ClockEvent, MediaClockEstimator
from media.engine import (
    Capabilities,
    ClockMoved,
    Egress,
    Ingest,
    MediaEvent,
    Negotiation,
    PlayGrant,
    PlayRequest,
    PublishGrant,
    PublishRequest,
    SessionId,
    StreamEnded,
    StreamStarted,
    TimedMark,
)
from media.event_feed import EventFeed
from media.frames import EncodedFrame, FrameSink
from media.hls.packager import Packager
from media.ingest import bounds
from media.ingest.grants import Grants
from media.ingest.publication import PublishedFrames
from media.running_epoch import Reason

log = structlog.get_logger()

Authorize = Callable[[str, str, str], Awaitable[str]]
"""`(room, token, address)` to the publisher's user id; the token may be empty. Raises
UnauthorizedError or ForbiddenError."""


class PublisherConnection(Protocol):
    """What an engine knows of a publisher's connection."""

    address: str
    room: str
    publisher: str
    session: SessionId
    has_started: bool
    """Its first frame is in."""

    def close(self, why: str) -> None:
        """End it from our side; may be called twice."""


class IngestEngine:
    """A `MediaEngine` whose publishers come by one port and whose viewers watch HLS."""

    def __init__(
        self,
        ingest: Ingest,
        packager: Packager,
        authorize: Authorize,
        *,
        now_ms: Callable[[], float] = wall_ms,
        clock: AnchorBook | None = None,
        feed: EventFeed[MediaEvent] | None = None,
        taking_over: Callable[[str], None] = lambda room: None,
        publisher_elsewhere: Callable[[str], str | None] = lambda room: None,
        shown_by: FrameSink | None = None,
    ) -> None:
        """`clock` and `feed` may be shared with other engines; who made them closes them.
        `taking_over` is told of a room before its publisher may begin; `publisher_elsewhere` knows
        who publishes in a room by other engines. `shown_by` gets the frames beside the packager."""
        egress: set[Egress] = {"llhls", "hls"}
        if packager.recorder is not None:
            egress.add("vod")
        self.capabilities = Capabilities(
            name=ingest,
            ingest=frozenset({ingest}),
            egress=frozenset(egress),
            preserves_rtp=False,
            capture_times="none",
            date_time="arrival",
            offers=frozenset(),
            marks=True,
            publishers_max=bounds.PUBLISHERS_MAX,
            viewers_max=1_000_000,
        )
        self.clock = AnchorBook(now_ms) if clock is None else clock
        self._ingest: Ingest = ingest
        self._packager = packager
        self._sinks: tuple[FrameSink, ...] = (packager,)
        if shown_by is not None:
            self._sinks += (shown_by,)
        self._authorize = authorize
        self._now_ms = now_ms
        self._grants = Grants(now_ms)
        self._feed: EventFeed[MediaEvent] = EventFeed() if feed is None else feed
        self._shares = feed is not None
        self._taking_over = taking_over
        self._publisher_elsewhere = publisher_elsewhere
        self._epochs: dict[str, int] = {}
        """Newest epochs as they were at the start."""
        self._live: dict[str, PublisherConnection] = {}
        self._estimators: dict[str, MediaClockEstimator] = {}
        self._sources = itertools.count(1)

    # --- the port's own ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Open the port. Raises OSError for one that is taken."""
        raise NotImplementedError

    async def _close_port(self) -> None:
        """Close the port and every connection that publishes nothing."""
        raise NotImplementedError

    def _address_of(self, room: str, key: str) -> str:
        """Where a publisher with this key publishes."""
        raise NotImplementedError

    # --- the port of engines ----------------------------------------------------------------------

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Listen; epochs of a room continue after the given ones. Raises OSError for a port that
        is taken."""
        self._epochs = dict(newest_epochs)
        await self._listen()

    async def publish(self, request: PublishRequest) -> PublishGrant:
        """An address that may be published to once, within a minute."""
        if request.ingest not in self.capabilities.ingest:
            raise BadRequestError(
                f"{self._ingest} takes no {request.ingest}", code="ingest_not_supported"
            )
        self._check_free(request.room, request.publisher)
        session = self._new_session()
        key = self._grants.grant(request.room, request.publisher, session)
        url = self._address_of(request.room, key)
        return PublishGrant(session, url=url, expires_s=bounds.GRANT_S)

    async def play(self, request: PlayRequest) -> PlayGrant:
        """The address of a playlist."""
        if request.room not in self._live:
            raise NotFoundError(f"{request.room} has no stream", code="stream_not_found")
        for egress in request.egress:
            if egress in ("llhls", "hls"):
                session = SessionId(f"hls-{secrets.token_hex(8)}")
                return PlayGrant(session, egress, url=f"/v1/rooms/{request.room}/hls/index.m3u8")
        raise BadRequestError(
            "this engine's streams are watched over HLS", code="egress_not_supported"
        )

    async def negotiate(self, session: SessionId, message: Negotiation) -> Negotiation | None:
        """Sessions here have no SDP."""
        raise BadRequestError(f"{self._ingest} and HLS have no SDP", code="no_negotiation")

    async def mark(self, mark: TimedMark) -> None:
        """Put a mark into the playlist; raises NotFoundError for a stream that is not here."""
        self._packager.mark(mark)

    async def stop(self, session: SessionId) -> None:
        """End a publisher's session, or take its grant back."""
        self._grants.revoke(session)
        for connection in list(self._live.values()):
            if connection.session == session:
                connection.close("the stream was stopped")
                self._left(connection, "publisher_left")

    async def close(self) -> None:
        """Close the port, end all sessions and every epoch, then the event streams."""
        for connection in list(self._live.values()):
            connection.close("the server stops")
            self._left(connection, "engine_stopped")
        await self._close_port()
        if not self._shares:
            self._feed.close()
            self.clock.close()

    def events(self) -> AsyncIterator[MediaEvent]:
        """Everything that happens from now on."""
        return self._feed.subscribe()

    @property
    def events_dropped(self) -> int:
        """Events that readers were too slow for."""
        return self._feed.dropped

    def publishing(self) -> list[str]:
        """Rooms with a publisher."""
        return list(self._live)

    def estimator(self, room: str) -> MediaClockEstimator:
        """The clock of a room, for metrics. Raises NotFoundError."""
        if room not in self._estimators:
            raise NotFoundError(f"{room} has no stream", code="stream_not_found")
        return self._estimators[room]

    def publisher_of(self, room: str) -> str | None:
        """Who publishes in a room, if anybody does."""
        return self._live[room].publisher if room in self._live else None

    def hand_over(self, room: str) -> None:
        """Another engine takes the room; its publisher's connection ends."""
        connection = self._live.get(room)
        if connection is not None:
            connection.close("the same publisher has begun in another way")
            self._left(connection, "engine_switch")

    # --- publishers -------------------------------------------------------------------------------

    async def _admit(
        self, connection: PublisherConnection, room: str, token: str
    ) -> PublishedFrames:
        """Check a publisher's key and give it the room. Raises typed errors: the refusal."""
        if not is_room_id(room):
            raise BadRequestError("that is no room's name", code="bad_room")
        granted = self._grants.redeem(room, token)
        if granted is not None:
            publisher, connection.session = granted
        else:
            publisher = await self._authorize(room, token, connection.address)
            connection.session = self._new_session()
        self._check_free(room, publisher)
        replaced = self._live.get(room)
        if replaced is not None:
            replaced.close("the same publisher has begun anew")
            self._left(replaced, "republish")
        else:
            self._taking_over(room)
        connection.room, connection.publisher = room, publisher
        self._live[room] = connection
        estimator = self._estimators.get(room)
        if estimator is None:
            newest = max(self._epochs.get(room, 0), self.clock.newest_epoch(room))
            estimator = self._estimators[room] = MediaClockEstimator(room, newest + 1)
        log.info(
            "ingest.publishing",
            ingest=self._ingest,
            room=room,
            publisher=publisher,
            session=connection.session,
        )
        return PublishedFrames(estimator, next(self._sources), self._deliver, self._announce)

    def _new_session(self) -> SessionId:
        return SessionId(f"{self._ingest}-{secrets.token_hex(8)}")

    def _check_free(self, room: str, publisher: str) -> None:
        live = self._live.get(room)
        holder = self._publisher_elsewhere(room) if live is None else live.publisher
        if holder not in (None, publisher):
            raise ConflictError(f"{room} has a publisher already", code="already_publishing")
        if live is None and len(self._live) >= bounds.PUBLISHERS_MAX:
            raise UnavailableError("no more publishers", code="full", retry_after_s=10)

    def _left(self, connection: PublisherConnection, reason: Reason) -> None:
        """A publisher's stream is over; nothing happens the second time."""
        if self._live.get(connection.room) is not connection:
            return
        room = connection.room
        del self._live[room]
        estimator = self._estimators.pop(room)
        self._announce(room, estimator.end(self._now_ms(), reason))
        if connection.has_started:
            self._feed.publish(StreamEnded(room, connection.session, reason))

    def _deliver(self, frame: EncodedFrame) -> None:
        for sink in self._sinks:
            sink.feed(frame)

    def _announce(self, room: str, events: list[ClockEvent]) -> None:
        connection = self._live.get(room)
        if events and connection is not None and not connection.has_started:
            connection.has_started = True
            self._feed.publish(StreamStarted(room, connection.session, self._ingest))
        for event in events:
            self.clock.add(room, event.anchor)
            self._feed.publish(ClockMoved(room, event, self.capabilities.name))
            if event.kind == "clock.epoch.closed":
                for sink in self._sinks:
                    sink.end_epoch(room, event.anchor.epoch)
