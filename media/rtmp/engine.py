"""RTMP publishers as a media engine: a port, a key before any media, clocks, frames for HLS.

A room has one publisher; the same one may publish again at any time, which ends the epoch and
begins the next. What arrives is watched over HLS and recorded.
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import structlog

from engagement.domain.names import is_room_id
from engagement.errors import (
    BadRequestError,
    ConflictError,
    EngagementError,
    NotFoundError,
    UnavailableError,
)
from media.anchor_book import AnchorBook, wall_ms
from media.clock import ClockEvent, MediaClockEstimator
from media.engine import (
    Capabilities,
    ClockMoved,
    Egress,
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
from media.frames import EncodedFrame
from media.hls.packager import Packager
from media.rtmp import bounds, metrics
from media.rtmp.connection import Connection
from media.rtmp.grants import Grants
from media.rtmp.publication import Publication
from media.running_epoch import Reason

log = structlog.get_logger()

Authorize = Callable[[str, str, str], Awaitable[str]]
"""`(room, token, address)` to the publisher's user id; the token may be empty. Raises
UnauthorizedError or ForbiddenError."""


class RtmpEngine:
    """A `MediaEngine` whose publishers come by RTMP and whose viewers watch HLS."""

    def __init__(
        self,
        packager: Packager,
        authorize: Authorize,
        *,
        host: str,
        port: int,
        now_ms: Callable[[], float] = wall_ms,
        clock: AnchorBook | None = None,
        feed: EventFeed[MediaEvent] | None = None,
        taking_over: Callable[[str], None] = lambda room: None,
        publisher_elsewhere: Callable[[str], str | None] = lambda room: None,
    ) -> None:
        """Port 0 takes a free one. `clock` and `feed` may be shared with other engines; who made
        them closes them. `taking_over` is told of a room before its publisher may begin;
        `publisher_elsewhere` knows who publishes in a room by other engines."""
        egress: set[Egress] = {"llhls", "hls"}
        if packager.recorder is not None:
            egress.add("vod")
        self.capabilities = Capabilities(
            name="rtmp",
            ingest=frozenset({"rtmp"}),
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
        self.port = port
        self._host = host
        self._packager = packager
        self._authorize = authorize
        self._now_ms = now_ms
        self._grants = Grants(now_ms)
        self._feed: EventFeed[MediaEvent] = EventFeed() if feed is None else feed
        self._shares = feed is not None
        self._taking_over = taking_over
        self._publisher_elsewhere = publisher_elsewhere
        self._epochs: dict[str, int] = {}
        """Newest epochs as they were at the start."""
        self._live: dict[str, Connection] = {}
        self._estimators: dict[str, MediaClockEstimator] = {}
        self._connections: dict[Connection, None] = {}
        """All that are open, the oldest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._sources = itertools.count(1)
        self._server: asyncio.Server | None = None

    # --- the port of engines ----------------------------------------------------------------------

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Listen; epochs of a room continue after the given ones. Raises OSError for a port that
        is taken."""
        self._epochs = dict(newest_epochs)
        self._server = await asyncio.start_server(self._connected, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        log.info("rtmp.listening", port=self.port)

    async def publish(self, request: PublishRequest) -> PublishGrant:
        """An address that may be published to once, within a minute."""
        if request.ingest not in self.capabilities.ingest:
            raise BadRequestError(f"rtmp takes no {request.ingest}", code="ingest_not_supported")
        self._check_free(request.room, request.publisher)
        session = SessionId(f"rtmp-{secrets.token_hex(8)}")
        key = self._grants.grant(request.room, request.publisher, session)
        url = f"rtmp://{self._host}:{self.port}/live/{request.room}?token={key}"
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
            "streams that come by RTMP are watched over HLS", code="egress_not_supported"
        )

    async def negotiate(self, session: SessionId, message: Negotiation) -> Negotiation | None:
        """Sessions here have no SDP."""
        raise BadRequestError("RTMP and HLS have no SDP", code="no_negotiation")

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
        if self._server is not None:
            self._server.close()
        for connection in list(self._live.values()):
            connection.close("the server stops")
            self._left(connection, "engine_stopped")
        for connection in list(self._connections):
            connection.close("the server stops")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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

    # --- connections ------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._has_place():
            metrics.ENDED.labels("connections_max").inc()
            writer.transport.abort()
            return
        connection = Connection(reader, writer, self._now_ms)
        self._connections[connection] = None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        metrics.CONNECTIONS.set(len(self._connections))
        why = "left"
        try:
            why = await connection.serve(self._admit)
        except EngagementError as error:
            why = error.code
            log.info("rtmp.refused", room=connection.room, why=error.detail, code=error.code)
            await connection.refuse(error.detail)
        except OSError as error:
            why = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
        except asyncio.CancelledError:
            why = "engine_stopped"
        finally:
            self._left(connection, "publisher_left")
            self._connections.pop(connection, None)
            metrics.CONNECTIONS.set(len(self._connections))
            metrics.ENDED.labels(why).inc()
            with suppress(ConnectionError):
                writer.close()

    def _has_place(self) -> bool:
        """Whether one more may connect; who has knocked longest without a key makes room, so that
        a crowd at the door keeps no publisher out."""
        if len(self._connections) < bounds.CONNECTIONS_MAX:
            return True
        live = set(self._live.values())
        oldest = next((held for held in self._connections if held not in live), None)
        if oldest is None:
            return False
        oldest.close("too many connections")
        del self._connections[oldest]
        return True

    async def _admit(self, connection: Connection, room: str, token: str) -> Publication:
        """Check a publisher's key and give it the room. Raises typed errors: the refusal."""
        if not is_room_id(room):
            raise BadRequestError("that is no room's name", code="bad_room")
        granted = self._grants.redeem(room, token)
        if granted is not None:
            publisher, connection.session = granted
        else:
            publisher = await self._authorize(room, token, connection.address)
            connection.session = SessionId(f"rtmp-{secrets.token_hex(8)}")
        self._check_free(room, publisher)
        replaced = self._live.get(room)
        if replaced is not None:
            replaced.close("the same publisher has begun anew")
            self._left(replaced, "republish")
        else:
            self._taking_over(room)
        connection.room, connection.publisher = room, publisher
        self._live[room] = connection
        metrics.PUBLISHERS.set(len(self._live))
        estimator = self._estimators.get(room)
        if estimator is None:
            newest = max(self._epochs.get(room, 0), self.clock.newest_epoch(room))
            estimator = self._estimators[room] = MediaClockEstimator(room, newest + 1)
        log.info("rtmp.publishing", room=room, publisher=publisher, session=connection.session)
        return Publication(estimator, next(self._sources), self._deliver, self._announce)

    def _check_free(self, room: str, publisher: str) -> None:
        live = self._live.get(room)
        holder = self._publisher_elsewhere(room) if live is None else live.publisher
        if holder not in (None, publisher):
            raise ConflictError(f"{room} has a publisher already", code="already_publishing")
        if live is None and len(self._live) >= bounds.PUBLISHERS_MAX:
            raise UnavailableError("no more publishers", code="full", retry_after_s=10)

    def _left(self, connection: Connection, reason: Reason) -> None:
        """A publisher's stream is over; nothing happens the second time."""
        if self._live.get(connection.room) is not connection:
            return
        room = connection.room
        del self._live[room]
        metrics.PUBLISHERS.set(len(self._live))
        estimator = self._estimators.pop(room)
        self._announce(room, estimator.end(self._now_ms(), reason))
        if connection.has_started:
            self._feed.publish(StreamEnded(room, connection.session, reason))

    def _deliver(self, frame: EncodedFrame) -> None:
        self._packager.feed(frame)

    def _announce(self, room: str, events: list[ClockEvent]) -> None:
        connection = self._live.get(room)
        if events and connection is not None and not connection.has_started:
            connection.has_started = True
            self._feed.publish(StreamStarted(room, connection.session, "rtmp"))
        for event in events:
            self.clock.add(room, event.anchor)
            self._feed.publish(ClockMoved(room, event, self.capabilities.name))
            if event.kind == "clock.epoch.closed":
                self._packager.end_epoch(room, event.anchor.epoch)
