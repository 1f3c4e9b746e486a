"""The embedded engine: WHIP in, WHEP out, packets forwarded as they are, in this process.

Nothing is decoded. A room has one publisher; whoever it is may publish anew at any time, which
ends the epoch and begins the next, and its viewers stay. Viewers are bounded in number and in the
rate at which they join; beyond that they are refused, and told of another way to watch.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import structlog

from engagement.errors import BadRequestError, ConflictError, NotFoundError, UnavailableError
from media.anchor_book import AnchorBook, wall_ms
from media.clock import ClockEvent, MediaClockEstimator
from media.engine import (
    Capabilities,
    ClockMoved,
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
    ViewerJoined,
    ViewerLeft,
)
from media.event_feed import EventFeed
from media.frames import EncodedFrame, FrameSink
from media.rtp.retransmission import total_budget
from media.running_epoch import Reason
from media.transcode import SoundThreads
from media.webrtc import bounds, metrics
from media.webrtc.admission import Admission
from media.webrtc.aiortc_private import PeerFactory
from media.webrtc.frame_source import FrameSource
from media.webrtc.frame_taps import RoomTap
from media.webrtc.offer import Offer, parse_fragment, parse_offer
from media.webrtc.publisher import (
    PUBLISHER_EXTENSIONS,
    PublishedTrack,
    PublisherSession,
    new_session_id,
)
from media.webrtc.room import ForwardingRoom
from media.webrtc.viewer import VIEWER_EXTENSIONS, ViewerSession, ViewerTrack

log = structlog.get_logger()

VIEWERS_MAX: Final = 100
JOINS_PER_S: Final = 20.0

Session = PublisherSession | ViewerSession


class EmbeddedEngine:
    """A `MediaEngine` of WebRTC sessions."""

    def __init__(
        self,
        *,
        viewers_max: int = VIEWERS_MAX,
        joins_per_s: float = JOINS_PER_S,
        addresses: tuple[str, ...] = (),
        ice_servers: tuple[dict[str, str], ...] = (),
        now_ms: Callable[[], float] = wall_ms,
        clock: AnchorBook | None = None,
        feed: EventFeed[MediaEvent] | None = None,
        taking_over: Callable[[str], None] = lambda room: None,
        publisher_elsewhere: Callable[[str], str | None] = lambda room: None,
        sink: FrameSink | None = None,
    ) -> None:
        """`addresses` and `ice_servers` are as in :class:`PeerFactory`. `clock` and `feed` may be
        shared with other engines; who made them closes them. `taking_over` is told of a room
        before its publisher's first frame; `publisher_elsewhere` knows who publishes in a room
        by other engines. `sink` gets every room's frames; without one no frame is put
        together."""
        self.capabilities = Capabilities(
            name="embedded",
            ingest=frozenset({"whip"}),
            egress=frozenset({"whep"}),
            preserves_rtp=True,
            capture_times="frames",
            date_time="none",
            offers=frozenset({"client"}),
            marks=False,
            publishers_max=bounds.PUBLISHERS_MAX,
            viewers_max=viewers_max,
        )
        self.clock = AnchorBook(now_ms) if clock is None else clock
        self._peers = PeerFactory(addresses, ice_servers, now_ms)
        self._admission = Admission(joins_per_s)
        self._resends = total_budget()
        self._now_ms = now_ms
        self._rooms: dict[str, ForwardingRoom] = {}
        self._epochs: dict[str, int] = {}
        """Newest epoch of rooms that are not here."""
        self._sessions: dict[SessionId, tuple[ForwardingRoom, Session]] = {}
        self._feed: EventFeed[MediaEvent] = EventFeed() if feed is None else feed
        self._shares = feed is not None
        self._taking_over = taking_over
        self._sink = sink
        self._taps: dict[str, RoomTap] = {}
        self._sound = SoundThreads()
        self._publisher_elsewhere = publisher_elsewhere
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None

    # --- the port -------------------------------------------------------------------------------

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Begin; epochs of a room continue after the given ones."""
        self._epochs = dict(newest_epochs)
        self._ticking = asyncio.create_task(self._tick_always(), name="webrtc-ticks")

    async def publish(self, request: PublishRequest) -> PublishGrant:
        """Answer a WHIP offer. The stream begins with its first frame."""
        if request.ingest not in self.capabilities.ingest:
            raise BadRequestError(
                f"{self.capabilities.name} takes no {request.ingest}", code="ingest_not_supported"
            )
        offer = _offer(request.offer_sdp)
        video = offer.track("video")
        if video is None or video.direction not in ("sendonly", "sendrecv"):
            raise BadRequestError("a stream needs a video that is sent", code="no_video")
        self._check_publisher(request)
        publishers = sum(isinstance(held, PublisherSession) for _, held in self._sessions.values())
        self._admission.admit(self._now_ms(), publishers, bounds.PUBLISHERS_MAX)
        async with self._admission.negotiation():
            self._check_publisher(request)
            return await self._publish(request, offer)

    async def play(self, request: PlayRequest) -> PlayGrant:
        """Answer a WHEP offer. The picture begins with the next key frame."""
        if "whep" not in request.egress:
            raise BadRequestError("viewers come by WHEP here", code="egress_not_supported")
        room = self._rooms.get(request.room)
        if room is None or room.codecs is None:
            raise NotFoundError(f"{request.room} has no stream", code="stream_not_found")
        if room.source is not None and room.source.refusal is not None:
            raise room.source.refusal
        offer = _offer(request.offer_sdp)
        if not any(track.direction in ("recvonly", "sendrecv") for track in offer.tracks):
            raise BadRequestError("nothing is to be received", code="bad_sdp")
        viewers = sum(isinstance(held, ViewerSession) for _, held in self._sessions.values())
        self._admission.admit(self._now_ms(), viewers, self.capabilities.viewers_max)
        async with self._admission.negotiation():
            return await self._play(room, request, offer)

    async def negotiate(self, session: SessionId, message: Negotiation) -> Negotiation | None:
        """Take in trickled candidates (RFC 8840); None: there is nothing to say to them.

        Raises NotFoundError for no such session, ConflictError for an ICE restart, which is
        not done: publish or play anew.
        """
        _, held = self._held(session)
        if message.kind != "fragment":
            raise BadRequestError("this engine makes no offers to answer", code="no_offer")
        fragment = parse_fragment(message.sdp)
        if fragment.ice_ufrag and fragment.ice_ufrag != held.ice_ufrag:
            raise ConflictError("ICE restarts are not supported", code="no_ice_restart")
        await held.peer.add_candidates(fragment.candidates)
        return None

    async def mark(self, mark: TimedMark) -> None:
        """Forwarded packets have no place for marks."""
        raise BadRequestError("forwarded streams take no marks", code="marks_not_supported")

    async def stop(self, session: SessionId) -> None:
        """End a session; one that has ended already is no error."""
        _, held = self._sessions.get(session, (None, None))
        if held is not None:
            await held.peer.close()

    async def close(self) -> None:
        """End all sessions and every epoch, then the event streams."""
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        for room in self._rooms.values():
            self._end_stream(room, "engine_stopped")
            room.end_source(self._now_ms())
        sessions = [held for _, held in self._sessions.values()]
        await asyncio.gather(*(held.peer.close() for held in sessions))
        await asyncio.gather(*self._tasks)
        self._sound.close()
        if not self._shares:
            self._feed.close()
            self.clock.close()

    def events(self) -> AsyncIterator[MediaEvent]:
        """Everything that happens from now on."""
        return self._feed.subscribe()

    # --- frames of other engines' publishers -----------------------------------------------------

    def feed(self, frame: EncodedFrame) -> None:
        """A frame of a publisher who came by another engine, for this one's viewers."""
        room = self._room(frame.room)
        source = room.source
        if source is None or source.epoch < frame.epoch:
            room.end_source(self._now_ms())
            source = FrameSource(
                frame.epoch, room.fan_outs, self._sound, lambda: bool(room.viewers), self._now_ms
            )
            room.begin_source(source)
        source.feed(frame)
        if source.refusal is not None and room.viewers:
            log.info("webrtc.not_forwarded", room=room.name, why=source.refusal.detail)
            for viewer in list(room.viewers.values()):
                self._spawn(viewer.peer.close())

    def end_epoch(self, room: str, epoch: int) -> None:
        """No more of it; the viewers stay for the next."""
        held = self._rooms.get(room)
        if held is not None and held.source is not None and held.source.epoch == epoch:
            held.end_source(self._now_ms())
            self._forget_if_empty(held)

    # --- for the API and metrics ----------------------------------------------------------------

    @property
    def events_dropped(self) -> int:
        """Events that readers were too slow for."""
        return self._feed.dropped

    def publishing(self) -> list[str]:
        """Rooms with a publisher."""
        return [name for name, room in self._rooms.items() if room.publisher is not None]

    def estimator(self, room: str) -> MediaClockEstimator:
        """The clock of a room. Raises NotFoundError."""
        if room not in self._rooms:
            raise NotFoundError(f"{room} has no stream", code="stream_not_found")
        return self._rooms[room].estimator

    def request_key_frame(self, room: str) -> None:
        """The packager wants to cut; nothing happens in a room of another engine."""
        if room in self._rooms:
            self._rooms[room].fan_outs["video"].key_frames.want()

    def holds(self, session: SessionId) -> bool:
        """Whether it is one of ours."""
        return session in self._sessions

    def room_and_owner(self, session: SessionId) -> tuple[str, str]:
        """Whose session it is, in which room. Raises NotFoundError."""
        room, held = self._held(session)
        owner = held.publisher if isinstance(held, PublisherSession) else held.viewer
        return room.name, owner

    def publisher_of(self, room: str) -> str | None:
        """Who publishes in a room, if anybody does."""
        held = self._rooms.get(room)
        return None if held is None or held.publisher is None else held.publisher.publisher

    def hand_over(self, room: str) -> None:
        """Another engine takes the room; its publisher's connection ends, its viewers stay."""
        held = self._rooms.get(room)
        if held is not None and held.publisher is not None:
            peer = held.publisher.peer
            self._end_stream(held, "engine_switch")
            self._spawn(peer.close())

    # --- sessions ---------------------------------------------------------------------------------

    def _check_publisher(self, request: PublishRequest) -> None:
        """A room has one publisher, who may publish anew."""
        room = self._rooms.get(request.room)
        held = (room.publisher, room.pending) if room is not None else ()
        publishers = [session.publisher for session in held if session is not None]
        elsewhere = self._publisher_elsewhere(request.room)
        if any(name not in (None, request.publisher) for name in (*publishers, elsewhere)):
            raise ConflictError(
                f"{request.room} has a publisher already", code="already_publishing"
            )

    async def _publish(self, request: PublishRequest, offer: Offer) -> PublishGrant:
        session = PublisherSession(
            new_session_id("whip"), request.publisher, self._now_ms, self._take_over, self._ended
        )
        session.peer = peer = self._peers.peer(session)
        session.ice_ufrag = offer.ice_ufrag
        try:
            tracks, answer = await peer.answer(offer, sends=False, extensions=PUBLISHER_EXTENSIONS)
        except BadRequestError:
            await peer.close()
            raise
        room = self._room(request.room)
        for track in tracks:
            session.add_track(PublishedTrack(peer, track, room.fan_outs[track.kind], room))
        replaced, room.pending = room.pending, session
        self._sessions[session.session] = (room, session)
        if replaced is not None:
            self._spawn(replaced.peer.close())
        return PublishGrant(session.session, answer_sdp=answer)

    async def _play(self, room: ForwardingRoom, request: PlayRequest, offer: Offer) -> PlayGrant:
        session = ViewerSession(
            new_session_id("whep"), request.viewer, self._now_ms, self._ended, self._joined
        )
        session.peer = peer = self._peers.peer(session)
        session.ice_ufrag = offer.ice_ufrag
        try:
            tracks, answer = await peer.answer(offer, sends=True, extensions=VIEWER_EXTENSIONS)
            for track in tracks:
                fan_out = room.fan_outs[track.kind]
                session.add_track(ViewerTrack(peer, track, fan_out, self._resends))
            if room.codecs is not None:
                session.number_codecs(room.codecs)
        except BadRequestError:
            await peer.close()
            raise
        if len(self._sessions) >= self.capabilities.viewers_max + bounds.PUBLISHERS_MAX:
            await peer.close()  # Others were being answered at the same time.
            raise UnavailableError("this server is full", code="full", retry_after_s=10)
        room.viewers[session.session] = session
        self._sessions[session.session] = (room, session)
        return PlayGrant(session.session, "whep", answer_sdp=answer)

    def _take_over(self, session: PublisherSession) -> None:
        """A publisher has connected: its packets are the room's."""
        room, _ = self._held(session.session)
        if room.pending is not session:
            return
        replaced = room.publisher
        if replaced is not None:
            self._end_stream(room, "republish")
            self._spawn(replaced.peer.close())
        self._taking_over(room.name)
        estimator = room.estimator
        estimator.next_epoch = max(estimator.next_epoch, self.clock.newest_epoch(room.name) + 1)
        room.begin(session)
        log.info("webrtc.publisher_connected", room=room.name, codecs=session.codecs)

    def _joined(self, session: ViewerSession) -> None:
        room, _ = self._held(session.session)
        self._feed.publish(ViewerJoined(room.name, session.session, "whep"))

    def _ended(self, session: Session) -> None:
        """A session's connection is over, whoever ended it."""
        room, held = self._sessions.pop(session.session, (None, None))
        if room is None or held is None:
            return
        if isinstance(session, ViewerSession):
            room.viewers.pop(session.session, None)
            if session.is_connected:
                self._feed.publish(ViewerLeft(room.name, session.session, "left"))
        else:
            if room.pending is session:
                room.pending = None
            if room.publisher is session:
                self._end_stream(room, "publisher_left")
        self._spawn(session.peer.close())
        self._forget_if_empty(room)

    def _end_stream(self, room: ForwardingRoom, reason: Reason) -> None:
        publisher = room.publisher
        if publisher is None:
            return
        room.end(self._now_ms(), reason)
        if room.has_started:
            self._feed.publish(StreamEnded(room.name, publisher.session, reason))

    # --- how ------------------------------------------------------------------------------------

    def _held(self, session: SessionId) -> tuple[ForwardingRoom, Session]:
        held = self._sessions.get(session)
        if held is None:
            raise NotFoundError("no such session", code="session_not_found")
        return held

    def _room(self, name: str) -> ForwardingRoom:
        room = self._rooms.get(name)
        if room is None:
            next_epoch = self._epochs.get(name, 0) + 1
            room = ForwardingRoom(name, next_epoch, self._announce, self._started)
            self._rooms[name] = room
            if self._sink is not None:
                self._taps[name] = RoomTap(room, self._sink)
        return room

    def _forget_if_empty(self, room: ForwardingRoom) -> None:
        if room.is_empty and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._taps.pop(room.name, None)
            self._epochs[room.name] = room.estimator.next_epoch - 1

    def _announce(self, room: str, events: list[ClockEvent]) -> None:
        for event in events:
            self.clock.add(room, event.anchor)
            self._feed.publish(ClockMoved(room, event, self.capabilities.name))
            if event.kind == "clock.epoch.closed" and self._sink is not None:
                self._sink.end_epoch(room, event.anchor.epoch)

    def _started(self, room: ForwardingRoom) -> None:
        if room.publisher is not None:
            self._feed.publish(StreamStarted(room.name, room.publisher.session, "whip"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick_always(self) -> None:
        while True:
            await asyncio.sleep(bounds.TICK_MS / 1000)
            self._tick(self._now_ms())

    def _tick(self, now_ms: float) -> None:
        """Repair, reports, clocks, and sessions that came to nothing."""
        publishers = 0
        for room, session in list(self._sessions.values()):
            is_late = now_ms - session.began_ms > bounds.CONNECT_S_MAX * 1000
            if not session.is_connected and is_late:
                self._spawn(session.peer.close())
            elif isinstance(session, PublisherSession):
                publishers += 1
                session.tick(now_ms)
                room.check_clock(now_ms)
        for tap in self._taps.values():
            tap.tick(now_ms)
        metrics.PUBLISHERS.set(publishers)
        metrics.VIEWERS.set(len(self._sessions) - publishers)
        for room in list(self._rooms.values()):
            is_over = now_ms - room.left_ms > bounds.SESSION_LINGER_S * 1000
            if room.codecs is None and room.pending is None and is_over:
                for viewer in list(room.viewers.values()):
                    self._spawn(viewer.peer.close())


def _offer(sdp: str | None) -> Offer:
    if sdp is None:
        raise BadRequestError("an SDP offer is needed", code="bad_sdp", field="$")
    return parse_offer(sdp)
