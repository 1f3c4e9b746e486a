"""An external MediaMTX as a media engine: who publishes by a hook, what plays by its URLs, and the
room's clock by the dates of its playlists. Experimental until it has run against a real server.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import quote

import structlog
from msgspec import Struct

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
    EngineLost,
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
from media.ingest.bounds import GRANT_S
from media.ingest.engine import Authorize
from media.ingest.grants import Grants
from media.mediamtx import bounds
from media.mediamtx.api import Addresses, MediaMtx, Source
from media.mediamtx.clock import PlaylistClock
from media.running_epoch import Reason
from media.webrtc.publisher import new_session_id

log = structlog.get_logger()

_INGESTS: dict[str, Ingest] = {"webRTCSession": "whip", "rtmpConn": "rtmp", "srtConn": "srt"}


class AuthQuestion(Struct, frozen=True):
    """What MediaMTX asks its `authHTTPAddress` (its documentation, "Authentication")."""

    action: str
    path: str
    token: str = ""
    password: str = ""
    ip: str = ""


class _Admitted(Struct, frozen=True):
    """Who may publish in a room, by the hook's last answer."""

    publisher: str
    session: SessionId


class _Live:
    """One publication."""

    def __init__(
        self, admitted: _Admitted, source: Source, clock: PlaylistClock, task: asyncio.Task[None]
    ) -> None:
        self.publisher, self.session = admitted.publisher, admitted.session
        self.source = source
        self.clock = clock
        self.task = task
        self.has_started = False


class MediaMtxEngine:
    """A `MediaEngine` whose streams are MediaMTX'."""

    def __init__(
        self,
        addresses: Addresses,
        authorize: Authorize,
        *,
        now_ms: Callable[[], float] = wall_ms,
        clock: AnchorBook | None = None,
        feed: EventFeed[MediaEvent] | None = None,
        taking_over: Callable[[str], None] = lambda room: None,
        publisher_elsewhere: Callable[[str], str | None] = lambda room: None,
    ) -> None:
        """As in :class:`media.ingest.engine.IngestEngine`."""
        self.capabilities = Capabilities(
            name="mediamtx",
            ingest=frozenset({"whip"}),
            egress=frozenset({"whep", "llhls", "hls"}),
            preserves_rtp=False,
            capture_times="none",
            date_time="arrival",
            offers=frozenset({"client"}),
            marks=False,
            publishers_max=bounds.PUBLISHERS_MAX,
            viewers_max=bounds.VIEWERS_MAX,
        )
        self.clock = AnchorBook(now_ms) if clock is None else clock
        self._server = MediaMtx(addresses)
        self._authorize = authorize
        self._now_ms = now_ms
        self._grants = Grants(now_ms)
        self._feed: EventFeed[MediaEvent] = EventFeed() if feed is None else feed
        self._shares = feed is not None
        self._taking_over = taking_over
        self._publisher_elsewhere = publisher_elsewhere
        self._epochs: dict[str, int] = {}
        self._admitted: dict[str, _Admitted] = {}
        self._live: dict[str, _Live] = {}
        self._estimators: dict[str, MediaClockEstimator] = {}
        self._sessions: dict[SessionId, tuple[str, str, str]] = {}
        """Of WebRTC: room, owner, and its URL at MediaMTX."""
        self._sources = itertools.count(1)
        self._watching: asyncio.Task[None] | None = None
        self._is_lost = False
        self._kicking: set[asyncio.Task[None]] = set()

    # --- the port -------------------------------------------------------------------------------

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Begin; epochs of a room continue after the given ones. A MediaMTX that is not there yet
        is waited for while others are served."""
        self._epochs = dict(newest_epochs)
        self._watching = asyncio.create_task(self._watch(), name="mediamtx-paths")

    async def publish(self, request: PublishRequest) -> PublishGrant:
        """Hand a WHIP offer on; without one, an address for it that works once."""
        if request.ingest not in self.capabilities.ingest:
            raise BadRequestError(
                f"mediamtx takes no {request.ingest} through us", code="ingest_not_supported"
            )
        self._check_free(request.room, request.publisher)
        session = new_session_id("whip")
        key = self._grants.grant(request.room, request.publisher, session)
        if request.offer_sdp is None:
            base = f"{self._server.addresses.webrtc}/{quote(request.room, safe='')}/whip"
            return PublishGrant(session, url=f"{base}?token={key}", expires_s=GRANT_S)
        answer, url = await self._server.exchange(request.room, "whip", request.offer_sdp, key)
        self._hold(session, request.room, request.publisher, url)
        return PublishGrant(session, answer_sdp=answer)

    async def play(self, request: PlayRequest) -> PlayGrant:
        """Hand a WHEP offer on, or the address of MediaMTX' playlist."""
        if request.room not in self._live:
            raise NotFoundError(f"{request.room} has no stream", code="stream_not_found")
        session = new_session_id("whep")
        for egress in request.egress:
            if egress == "whep":
                offer = request.offer_sdp
                if offer is None:
                    raise BadRequestError("an SDP offer is needed", code="bad_sdp", field="$")
                answer, url = await self._server.exchange(request.room, "whep", offer, "")
                self._hold(session, request.room, request.viewer, url)
                return PlayGrant(session, "whep", answer_sdp=answer)
            if egress in _PLAYLISTS:
                url = f"{self._server.addresses.hls}/{quote(request.room, safe='')}/index.m3u8"
                return PlayGrant(session, egress, url=url)
        raise BadRequestError("viewers come by WHEP or HLS", code="egress_not_supported")

    async def negotiate(self, session: SessionId, message: Negotiation) -> Negotiation | None:
        """Hand trickled candidates on."""
        _, _, url = self._held(session)
        if message.kind != "fragment":
            raise BadRequestError("this engine makes no offers to answer", code="no_offer")
        await self._server.trickle(url, message.sdp)
        return None

    async def mark(self, mark: TimedMark) -> None:
        """MediaMTX has no place for marks."""
        raise BadRequestError("MediaMTX takes no marks", code="marks_not_supported")

    async def stop(self, session: SessionId) -> None:
        """End a session; one that has ended already is no error."""
        self._grants.revoke(session)
        _, _, url = self._sessions.pop(session, ("", "", ""))
        if url:
            await self._server.end(url)
        for room, live in list(self._live.items()):
            if live.session == session:
                self._left(room, "publisher_left")
                await self._server.kick(live.source)

    async def close(self) -> None:
        """End what we began, and every epoch, then the event streams."""
        tasks = [live.task for live in self._live.values()]
        if self._watching is not None:
            tasks.append(self._watching)
        for room in list(self._live):
            self._left(room, "engine_stopped")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in list(self._sessions):
            with suppress(EngagementError):
                await self.stop(session)
        await self._server.close()
        if not self._shares:
            self._feed.close()
            self.clock.close()

    def events(self) -> AsyncIterator[MediaEvent]:
        """Everything that happens from now on."""
        return self._feed.subscribe()

    # --- MediaMTX' hook ---------------------------------------------------------------------------

    async def authorize(self, question: AuthQuestion) -> None:
        """Answer MediaMTX: returns where it may go on. Anybody reads; publishing needs a granted
        key, or a token.

        Raises UnauthorizedError, ForbiddenError, ConflictError, BadRequestError.
        """
        if question.action in ("read", "playback"):
            return
        if question.action != "publish" or not is_room_id(question.path):
            raise BadRequestError("not for us to allow", code="bad_action")
        token = question.token or question.password
        granted = self._grants.redeem(question.path, token)
        if granted is not None:
            publisher, session = granted
        else:
            publisher = await self._authorize(question.path, token, question.ip)
            session = new_session_id("whip")
        self._check_free(question.path, publisher)
        self._admitted[question.path] = _Admitted(publisher, session)

    # --- for the API and metrics ------------------------------------------------------------------

    @property
    def events_dropped(self) -> int:
        """Events that readers were too slow for."""
        return self._feed.dropped

    def publishing(self) -> list[str]:
        """Rooms with a publisher."""
        return list(self._live)

    def estimator(self, room: str) -> MediaClockEstimator:
        """The clock of a room. Raises NotFoundError."""
        if room not in self._estimators:
            raise NotFoundError(f"{room} has no stream", code="stream_not_found")
        return self._estimators[room]

    def holds(self, session: SessionId) -> bool:
        """Whether it is one of ours."""
        return session in self._sessions

    def room_and_owner(self, session: SessionId) -> tuple[str, str]:
        """Whose session it is, in which room. Raises NotFoundError."""
        room, owner, _ = self._held(session)
        return room, owner

    def publisher_of(self, room: str) -> str | None:
        """Who publishes in a room, if anybody does."""
        return self._live[room].publisher if room in self._live else None

    def hand_over(self, room: str) -> None:
        """Another engine takes the room; its publisher is kicked."""
        live = self._live.get(room)
        if live is not None:
            self._left(room, "engine_switch")
            task = asyncio.create_task(_without_errors(self._server.kick(live.source)))
            self._kicking.add(task)
            task.add_done_callback(self._kicking.discard)

    # --- how ------------------------------------------------------------------------------------

    def _hold(self, session: SessionId, room: str, owner: str, url: str) -> None:
        while len(self._sessions) >= bounds.SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[session] = (room, owner, url)

    def _held(self, session: SessionId) -> tuple[str, str, str]:
        if session not in self._sessions:
            raise NotFoundError("no such session", code="session_not_found")
        return self._sessions[session]

    def _check_free(self, room: str, publisher: str) -> None:
        live = self._live.get(room)
        holder = self._publisher_elsewhere(room) if live is None else live.publisher
        if holder not in (None, publisher):
            raise ConflictError(f"{room} has a publisher already", code="already_publishing")
        if live is None and len(self._live) >= bounds.PUBLISHERS_MAX:
            raise UnavailableError("no more publishers", code="full", retry_after_s=10)

    async def _watch(self) -> None:
        """Look at who publishes, again and again."""
        while True:
            try:
                self._see(await self._server.publishers())
                self._is_lost = False
            except UnavailableError as error:
                self._lose(error.detail)
            now_ms = self._now_ms()
            for live in list(self._live.values()):
                live.clock.check(now_ms)
            await asyncio.sleep(bounds.POLL_S)

    def _see(self, publishers: dict[str, Source]) -> None:
        for room, live in list(self._live.items()):
            if publishers.get(room) != live.source:
                is_anew = room in publishers
                self._left(room, "republish" if is_anew else "publisher_left")
        for room, source in publishers.items():
            # Who was stopped may be listed a while longer: without another answer of the hook's
            # nobody begins again.
            if room not in self._live and room in self._admitted:
                self._begin(room, self._admitted.pop(room), source)

    def _begin(self, room: str, admitted: _Admitted, source: Source) -> None:
        self._taking_over(room)
        newest = max(self._epochs.get(room, 0), self.clock.newest_epoch(room))
        estimator = self._estimators[room] = MediaClockEstimator(room, newest + 1)
        clock = PlaylistClock(
            self._server, room, next(self._sources), estimator, self._announce, self._now_ms
        )
        task = asyncio.create_task(clock.follow(), name=f"mediamtx-{room}")
        self._live[room] = _Live(admitted, source, clock, task)
        log.info("mediamtx.publishing", room=room, publisher=admitted.publisher)

    def _left(self, room: str, reason: Reason) -> None:
        """A publisher's stream is over."""
        live = self._live[room]
        live.task.cancel()
        self._announce(room, self._estimators.pop(room).end(self._now_ms(), reason))
        del self._live[room]
        if live.has_started:
            self._feed.publish(StreamEnded(room, live.session, reason))

    def _lose(self, why: str) -> None:
        """MediaMTX is away, and with it every stream."""
        if not self._is_lost:
            self._is_lost = True
            log.warning("mediamtx.lost", why=why)
            for room in list(self._live):
                self._left(room, "publisher_left")
            self._sessions.clear()
            self._feed.publish(EngineLost(why))

    def _announce(self, room: str, events: list[ClockEvent]) -> None:
        live = self._live.get(room)
        if events and live is not None and not live.has_started:
            live.has_started = True
            ingest = _INGESTS.get(live.source.kind, "whip")
            self._feed.publish(StreamStarted(room, live.session, ingest))
        for event in events:
            self.clock.add(room, event.anchor)
            self._feed.publish(ClockMoved(room, event, self.capabilities.name))


_PLAYLISTS: frozenset[Egress] = frozenset({"llhls", "hls"})


async def _without_errors(work: Awaitable[None]) -> None:
    with suppress(EngagementError):
        await work
