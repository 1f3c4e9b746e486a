"""An external Janus as a media engine: WHIP in, WHEP out by Janus' own offer, clock and HLS by us.

Janus forwards every publisher's packets to us as well: their RTP timestamps are the publisher's
and draw the room's clock as in the embedded engine. Viewers get theirs from Janus, which re-bases
RTP timestamps: `preserves_rtp` is false, and players go by the sender reports that Janus makes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import structlog

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
    EngineLost,
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
    Track,
    ViewerJoined,
    ViewerLeft,
)
from media.event_feed import EventFeed
from media.frames import FrameSink
from media.janus import bounds
from media.janus.connection import JanusLine
from media.janus.forwarded import ForwardedTrack, ForwardPort
from media.janus.rooms import JanusPublisher, JanusRoom, JanusViewer
from media.janus.sdp import (
    answer_with_capture_times,
    capture_time_ids,
    mids_and_codecs,
    rebuilt_answer,
)
from media.rtp.packet import RtpPacket
from media.running_epoch import Reason
from media.webrtc.offer import Offer, parse_fragment, parse_offer
from media.webrtc.publisher import new_session_id

log = structlog.get_logger()

Session = JanusPublisher | JanusViewer
PAYLOAD_TYPES: dict[Track, int] = {"video": 96, "audio": 111}
"""Of what is forwarded to us; nobody else sees them."""


class ServerOffersError(BadRequestError):
    """A viewer's offer, where the engine makes it."""

    status = 406
    code = "server_offers"
    title = "The server makes the offer"


class JanusEngine:
    """A `MediaEngine` whose WebRTC sessions are Janus'."""

    def __init__(
        self,
        url: str,
        *,
        api_secret: str = "",
        admin_key: str = "",
        forward_host: str = "127.0.0.1",
        viewers_max: int = bounds.VIEWERS_MAX,
        now_ms: Callable[[], float] = wall_ms,
        clock: AnchorBook | None = None,
        feed: EventFeed[MediaEvent] | None = None,
        taking_over: Callable[[str], None] = lambda room: None,
        publisher_elsewhere: Callable[[str], str | None] = lambda room: None,
        sink: FrameSink | None = None,
    ) -> None:
        """`url` is that of Janus' HTTP API, `forward_host` an address of ours that Janus reaches;
        the rest is as in :class:`media.embedded.EmbeddedEngine`."""
        self.capabilities = Capabilities(
            name="janus",
            ingest=frozenset({"whip"}),
            egress=frozenset({"whep"}),
            preserves_rtp=False,
            capture_times="frames",
            date_time="none",
            offers=frozenset({"server"}),
            marks=False,
            publishers_max=bounds.PUBLISHERS_MAX,
            viewers_max=viewers_max,
        )
        self.clock = AnchorBook(now_ms) if clock is None else clock
        self._now_ms = now_ms
        self._janus_host = urlsplit(url).hostname or "127.0.0.1"
        self._line = JanusLine(url, api_secret, admin_key, told=self._told, lost=self._lost)
        self._forwards = ForwardPort(now_ms)
        self._forward_host = forward_host
        self._rooms: dict[str, JanusRoom] = {}
        self._epochs: dict[str, int] = {}
        self._sessions: dict[SessionId, tuple[JanusRoom, Session]] = {}
        self._handles: dict[int, SessionId] = {}
        self._feed: EventFeed[MediaEvent] = EventFeed() if feed is None else feed
        self._shares = feed is not None
        self._taking_over = taking_over
        self._publisher_elsewhere = publisher_elsewhere
        self._sink = sink
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None

    # --- the port -------------------------------------------------------------------------------

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Begin; epochs of a room continue after the given ones. A Janus that is not there yet is
        waited for while others are served."""
        self._epochs = dict(newest_epochs)
        await self._forwards.open(self._forward_host, self._janus_host)
        await self._line.open()
        self._ticking = asyncio.create_task(self._tick_always(), name="janus-ticks")

    async def publish(self, request: PublishRequest) -> PublishGrant:
        """Answer a WHIP offer. The stream begins with its first frame."""
        if request.ingest not in self.capabilities.ingest:
            raise BadRequestError(f"janus takes no {request.ingest}", code="ingest_not_supported")
        offer = parse_offer(request.offer_sdp or "")
        video = offer.track("video")
        if video is None or video.direction not in ("sendonly", "sendrecv"):
            raise BadRequestError("a stream needs a video that is sent", code="no_video")
        self._check_publisher(request)
        publishers = sum(isinstance(held, JanusPublisher) for _, held in self._sessions.values())
        if publishers >= bounds.PUBLISHERS_MAX:
            raise UnavailableError("no more publishers", code="full", retry_after_s=10)
        await self._line.create_room(request.room)
        session = new_session_id("whip")
        handle = await self._line.attach(session[:13])
        try:
            return await self._publish(request, offer, session, handle)
        except BaseException:
            await self._line.detach(handle)
            raise

    async def play(self, request: PlayRequest) -> PlayGrant:
        """An offer of Janus', to be answered by :meth:`negotiate`."""
        if "whep" not in request.egress:
            raise BadRequestError("viewers come by WHEP here", code="egress_not_supported")
        room = self._rooms.get(request.room)
        if room is None or room.publisher is None:
            raise NotFoundError(f"{request.room} has no stream", code="stream_not_found")
        if request.offer_sdp is not None:
            raise ServerOffersError(
                "this room's server makes the offer: POST without a body, and PATCH the answer"
            )
        viewers = sum(isinstance(held, JanusViewer) for _, held in self._sessions.values())
        if viewers >= self.capabilities.viewers_max:
            raise UnavailableError("this server is full", code="full", retry_after_s=10)
        session = new_session_id("whep")
        handle = await self._line.attach(session[:13])
        try:
            offer, streams = await self._line.watch(handle, room.name, room.publisher.feed)
        except BaseException:
            await self._line.detach(handle)
            raise
        viewer = JanusViewer(session, request.viewer, handle, offer, self._now_ms())
        viewer.mids = {each["type"]: str(each["mid"]) for each in streams if "mid" in each}
        room.viewers[session] = viewer
        self._hold(room, viewer)
        return PlayGrant(session, "whep", offer_sdp=offer)

    async def negotiate(self, session: SessionId, message: Negotiation) -> Negotiation | None:
        """Take in a viewer's answer, or trickled candidates.

        Raises NotFoundError for no such session, ConflictError for a second answer or an ICE
        restart.
        """
        _, held = self._held(session)
        if message.kind == "fragment":
            fragment = parse_fragment(message.sdp)
            if fragment.ice_ufrag and fragment.ice_ufrag != held.ice_ufrag:
                raise ConflictError("ICE restarts are not supported", code="no_ice_restart")
            candidates = [{"candidate": text, "sdpMLineIndex": 0} for text in fragment.candidates]
            if candidates:
                await self._line.trickle(held.handle, candidates)
            return None
        if not isinstance(held, JanusViewer) or held.is_answered:
            raise ConflictError("there is no offer to answer", code="no_offer")
        answer, held.ice_ufrag = rebuilt_answer(held.offer, message.sdp)
        held.is_answered = True
        await self._line.begin_watching(held.handle, answer)
        return None

    async def mark(self, mark: TimedMark) -> None:
        """Forwarded packets have no place for marks."""
        raise BadRequestError("forwarded streams take no marks", code="marks_not_supported")

    async def stop(self, session: SessionId) -> None:
        """End a session; one that has ended already is no error."""
        _, held = self._sessions.get(session, (None, None))
        if held is not None:
            self._ended(held)
            await self._line.detach(held.handle)

    async def close(self) -> None:
        """End all sessions and every epoch, then the event streams."""
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        for room in list(self._rooms.values()):
            self._end_stream(room, "engine_stopped")
        for _, held in list(self._sessions.values()):
            self._ended(held)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._line.close()
        self._forwards.close()
        if not self._shares:
            self._feed.close()
            self.clock.close()

    def events(self) -> AsyncIterator[MediaEvent]:
        """Everything that happens from now on."""
        return self._feed.subscribe()

    # --- for the API and metrics ------------------------------------------------------------------

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
        return self._rooms[room].media.estimator

    def request_key_frame(self, room: str) -> None:
        """The packager wants to cut; nothing happens in a room of another engine."""
        if room in self._rooms:
            self._rooms[room].media.fan_outs["video"].key_frames.want()

    def holds(self, session: SessionId) -> bool:
        """Whether it is one of ours."""
        return session in self._sessions

    def room_and_owner(self, session: SessionId) -> tuple[str, str]:
        """Whose session it is, in which room. Raises NotFoundError."""
        room, held = self._held(session)
        return room.name, held.publisher if isinstance(held, JanusPublisher) else held.viewer

    def publisher_of(self, room: str) -> str | None:
        """Who publishes in a room, if anybody does."""
        held = self._rooms.get(room)
        return None if held is None or held.publisher is None else held.publisher.publisher

    def hand_over(self, room: str) -> None:
        """Another engine takes the room; its publisher's connection ends."""
        held = self._rooms.get(room)
        if held is not None and held.publisher is not None:
            publisher = held.publisher
            self._end_stream(held, "engine_switch")
            self._ended(publisher)
            self._spawn(self._line.detach(publisher.handle))

    # --- publishers -------------------------------------------------------------------------------

    def _check_publisher(self, request: PublishRequest) -> None:
        """A room has one publisher, who may publish anew."""
        room = self._rooms.get(request.room)
        held = (room.publisher, room.pending) if room is not None else ()
        names = [session.publisher for session in held if session is not None]
        names.append(self._publisher_elsewhere(request.room) or request.publisher)
        if any(name != request.publisher for name in names):
            raise ConflictError(
                f"{request.room} has a publisher already", code="already_publishing"
            )

    async def _publish(
        self, request: PublishRequest, offer: Offer, session: SessionId, handle: int
    ) -> PublishGrant:
        feed = session.removeprefix("whip-")
        answer = await self._line.publish(handle, request.room, feed, offer.sdp)
        publisher = JanusPublisher(session, request.publisher, handle, feed, self._now_ms())
        publisher.ice_ufrag = offer.ice_ufrag
        tracks = mids_and_codecs(answer)
        if "video" not in tracks:
            raise BadRequestError("no video codec in common", code="codec_not_supported")
        self._check_publisher(request)  # Others were being answered at the same time.
        room = self._room(request.room)
        streams = self._expect(room, publisher, tracks, capture_time_ids(offer))
        try:
            await self._line.forward(request.room, feed, self._forward_host, streams)
        except BaseException:
            self._forwards.remove(publisher.ssrcs)
            self._forget_if_empty(room)
            raise
        replaced, room.pending = room.pending, publisher
        self._hold(room, publisher)
        if replaced is not None:
            self._ended(replaced)
            self._spawn(self._line.detach(replaced.handle))
        return PublishGrant(session, answer_sdp=answer_with_capture_times(answer, offer))

    def _expect(
        self,
        room: JanusRoom,
        publisher: JanusPublisher,
        tracks: dict[Track, tuple[str, str]],
        capture_ids: dict[Track, int],
    ) -> list[dict[str, int | str]]:
        """Be ready for a publisher's packets; what Janus has to know to send them."""
        streams: list[dict[str, int | str]] = []
        for kind, (mid, codec) in tracks.items():

            def deliver(
                packet: RtpPacket,
                capture: bytes,
                arrival_ms: float,
                kind: Track = kind,
                codec: str = codec,
            ) -> None:
                if publisher is room.pending:
                    self._take_over(room, publisher)
                if publisher.is_live:
                    room.take(kind, codec, packet, capture, arrival_ms)

            track = ForwardedTrack(kind, codec, capture_ids.get(kind, 0), deliver)
            ssrc = self._forwards.add(track)
            publisher.ssrcs.append(ssrc)
            publisher.mids[kind] = mid
            streams.append(
                {"mid": mid, "port": self._forwards.port, "pt": PAYLOAD_TYPES[kind], "ssrc": ssrc}
            )
        return streams

    def _take_over(self, room: JanusRoom, publisher: JanusPublisher) -> None:
        """A publisher's first packet is in: the room is its own."""
        replaced = room.publisher
        if replaced is not None:
            self._end_stream(room, "republish")
        self._taking_over(room.name)
        estimator = room.media.estimator
        estimator.next_epoch = max(estimator.next_epoch, self.clock.newest_epoch(room.name) + 1)
        room.begin(publisher)
        log.info("janus.publisher_connected", room=room.name)
        self._spawn(self._move_viewers(room, publisher, replaced))

    async def _move_viewers(
        self, room: JanusRoom, publisher: JanusPublisher, replaced: JanusPublisher | None
    ) -> None:
        """Viewers go on with the new publisher; those that cannot have to come again."""
        for viewer in list(room.viewers.values()):
            streams = [
                {"feed": publisher.feed, "mid": publisher.mids[kind], "sub_mid": sub_mid}
                for kind, sub_mid in viewer.mids.items()
                if kind in publisher.mids
            ]
            try:
                await self._line.watch_another(viewer.handle, streams)
            except EngagementError as error:
                log.info("janus.viewer_left_behind", room=room.name, why=error.detail)
                await self.stop(viewer.session)
        if replaced is not None:
            self._ended(replaced)
            await self._line.detach(replaced.handle)

    def _end_stream(self, room: JanusRoom, reason: Reason) -> None:
        publisher = room.publisher
        if publisher is None:
            return
        has_started = room.media.has_started
        room.end(self._now_ms(), reason)
        if has_started:
            self._feed.publish(StreamEnded(room.name, publisher.session, reason))

    # --- what Janus tells -------------------------------------------------------------------------

    def _told(self, event: dict[str, Any]) -> None:
        session = self._handles.get(int(event.get("sender", 0)))
        if session is None or session not in self._sessions:
            return
        room, held = self._sessions[session]
        kind = event.get("janus")
        if kind == "webrtcup" and isinstance(held, JanusViewer) and not held.is_connected:
            held.is_connected = True
            self._feed.publish(ViewerJoined(room.name, held.session, "whep"))
        elif kind in ("hangup", "detached"):
            self._ended(held)
            if kind == "hangup":
                self._spawn(self._line.detach(held.handle))

    def _lost(self, why: str) -> None:
        """Janus is away, and with it every session."""
        for _, held in list(self._sessions.values()):
            self._ended(held)
        self._feed.publish(EngineLost(why))

    # --- how --------------------------------------------------------------------------------------

    def _hold(self, room: JanusRoom, held: Session) -> None:
        self._sessions[held.session] = (room, held)
        self._handles[held.handle] = held.session

    def _held(self, session: SessionId) -> tuple[JanusRoom, Session]:
        held = self._sessions.get(session)
        if held is None:
            raise NotFoundError("no such session", code="session_not_found")
        return held

    def _ended(self, held: Session) -> None:
        """A session is over; nothing happens the second time."""
        room, found = self._sessions.pop(held.session, (None, None))
        self._handles.pop(held.handle, None)
        if room is None or found is None:
            return
        if isinstance(held, JanusViewer):
            room.viewers.pop(held.session, None)
            if held.is_connected:
                self._feed.publish(ViewerLeft(room.name, held.session, "left"))
        else:
            self._forwards.remove(held.ssrcs)
            if room.pending is held:
                room.pending = None
            if room.publisher is held:
                self._end_stream(room, "publisher_left")
        self._forget_if_empty(room)

    def _room(self, name: str) -> JanusRoom:
        room = self._rooms.get(name)
        if room is None:
            next_epoch = self._epochs.get(name, 0) + 1
            room = JanusRoom(name, next_epoch, self._announce, self._started, self._sink)
            self._rooms[name] = room
        return room

    def _forget_if_empty(self, room: JanusRoom) -> None:
        if room.is_empty and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._epochs[room.name] = room.media.estimator.next_epoch - 1

    def _announce(self, room: str, events: list[ClockEvent]) -> None:
        for event in events:
            self.clock.add(room, event.anchor)
            self._feed.publish(ClockMoved(room, event, self.capabilities.name))
            if event.kind == "clock.epoch.closed" and self._sink is not None:
                self._sink.end_epoch(room, event.anchor.epoch)

    def _started(self, room: JanusRoom) -> None:
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
        """Clocks, key frames, and sessions that came to nothing."""
        for room in list(self._rooms.values()):
            room.tick(now_ms)
            publisher = room.publisher
            if publisher is not None and room.media.fan_outs["video"].key_frames.is_due(now_ms):
                self._spawn(self._ask_key_frame(publisher))
            is_over = now_ms - room.media.left_ms > bounds.SESSION_LINGER_S * 1000
            if publisher is None and room.pending is None and is_over:
                for viewer in list(room.viewers.values()):
                    self._spawn(self.stop(viewer.session))
        for room, held in list(self._sessions.values()):
            is_late = now_ms - held.began_ms > bounds.CONNECT_S_MAX * 1000
            is_there = held.is_connected if isinstance(held, JanusViewer) else held.is_live
            if is_late and not is_there and held is not room.publisher:
                self._spawn(self.stop(held.session))

    async def _ask_key_frame(self, publisher: JanusPublisher) -> None:
        with suppress(EngagementError):
            await self._line.want_key_frame(publisher.handle)
