"""The synthetic engine: hosts that are not there, with clocks that are.

No packet moves, but everything that the clock is made of is real: frames at a frame rate, a
publisher's crystal, a network's jitter, steps, stalls, wrap-around; the estimator, the anchors and
their announcement are the same as for any engine. One task serves all rooms: it sleeps until the
next frame or deadline of any of them, and never shorter than `TICK_MS`.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from engagement.domain import limits
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
from media.running_epoch import Reason
from media.virtual_publisher import PublisherTraits, StallKind, VirtualPublisher

TICK_MS: Final = limits.CLOCK_CHECK_SLACK_MS
IDLE_MS: Final = 50.0
"""A command may make something due earlier than the task has planned for."""
SKEW_TRIES: Final = 5
SKEW_ERR_MS: Final = 0.1
VIEWERS_MAX: Final = 100_000


def monotonic_ms() -> float:
    """A clock that nobody sets: what publishers run on."""
    return time.monotonic_ns() / 1e6


def clock_skew_ms(now_ms: Callable[[], float], server_ms: Callable[[], float]) -> float:
    """The server's wall clock less the monotonic one.

    A busy machine may take the processor away between the two readings, which would move every
    frame: the tightest of a few readings counts.
    """
    best_ms, skew_ms = float("inf"), 0.0
    for _ in range(SKEW_TRIES):
        before_ms = now_ms()
        wall = server_ms()
        took_ms = now_ms() - before_ms
        if took_ms < best_ms:
            best_ms, skew_ms = took_ms, wall - before_ms
        if took_ms <= SKEW_ERR_MS:
            break
    return skew_ms


class _Stream:
    """One room: its publisher while there is one, and its clock for good."""

    __slots__ = ("due_ms", "estimator", "publisher", "session")

    def __init__(self, room: str, next_epoch: int) -> None:
        self.estimator = MediaClockEstimator(room, next_epoch)
        self.publisher: VirtualPublisher | None = None
        self.session = SessionId("")
        self.due_ms = float("inf")


class SyntheticEngine:
    """A `MediaEngine` without media, and the commands that make its hosts misbehave."""

    def __init__(
        self,
        *,
        seed: int | None = None,
        now_ms: Callable[[], float] = monotonic_ms,
        server_ms: Callable[[], float] = wall_ms,
        clock: AnchorBook | None = None,
        feed: EventFeed[MediaEvent] | None = None,
    ) -> None:
        """`clock` and `feed` may be shared with other engines; who made them closes them."""
        self.capabilities = Capabilities(
            name="synthetic",
            ingest=frozenset({"synthetic"}),
            egress=frozenset({"clock"}),
            preserves_rtp=True,
            capture_times="frames",
            date_time="none",
            offers=frozenset(),
            marks=False,
            publishers_max=limits.SYNTHETIC_ROOMS_MAX,
            viewers_max=VIEWERS_MAX,
        )
        self.clock = AnchorBook(server_ms) if clock is None else clock
        self._feed: EventFeed[MediaEvent] = EventFeed() if feed is None else feed
        self._shares = feed is not None
        self._random = random.Random(seed)
        self._now_ms, self._server_ms = now_ms, server_ms
        self._streams: dict[str, _Stream] = {}
        self._viewers: dict[SessionId, str] = {}
        self._newest_epochs: dict[str, int] = {}
        self._due: list[tuple[float, int, _Stream]] = []
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._skew_ms = clock_skew_ms(now_ms, server_ms)
        """Read once per round of work, for all rooms: a wall clock is rarely set."""
        self._task: asyncio.Task[None] | None = None

    # --- the port -------------------------------------------------------------------------------

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Begin; epochs of a room continue after the given ones."""
        self._newest_epochs = dict(newest_epochs)
        self._task = asyncio.create_task(self._run(), name="synthetic-hosts")

    async def publish(self, request: PublishRequest) -> PublishGrant:
        """A host with ordinary traits."""
        if request.ingest not in self.capabilities.ingest:
            raise BadRequestError(
                f"{self.capabilities.name} takes no {request.ingest}", code="ingest_not_supported"
            )
        return PublishGrant(self.start_host(request.room, PublisherTraits()))

    async def play(self, request: PlayRequest) -> PlayGrant:
        """There is nothing to see: a viewer gets the clock."""
        if "clock" not in request.egress:
            raise BadRequestError("there is no picture here", code="egress_not_supported")
        self._stream(request.room)
        if len(self._viewers) >= VIEWERS_MAX:
            raise UnavailableError("no more viewers", code="full", retry_after_s=5)
        session = self._new_session("viewer")
        self._viewers[session] = request.room
        self._feed.publish(ViewerJoined(request.room, session, "clock"))
        return PlayGrant(session, "clock", url=f"/v1/rooms/{request.room}/clock")

    async def negotiate(self, session: SessionId, message: Negotiation) -> Negotiation | None:
        """Sessions here have no SDP."""
        raise BadRequestError("synthetic sessions have no SDP", code="no_negotiation")

    async def mark(self, mark: TimedMark) -> None:
        """Nor a stream to put marks into."""
        raise BadRequestError("synthetic streams take no marks", code="marks_not_supported")

    async def stop(self, session: SessionId) -> None:
        """End a publisher's or a viewer's session."""
        room = self._viewers.pop(session, None)
        if room is not None:
            self._feed.publish(ViewerLeft(room, session, "left"))
        for room, stream in self._streams.items():
            if stream.session == session and stream.publisher is not None:
                self._leave(room, stream, "publisher_left")

    async def close(self) -> None:
        """End every epoch and all iterations."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for room, stream in self._streams.items():
            if stream.publisher is not None:
                self._leave(room, stream, "engine_stopped")
        if not self._shares:
            self._feed.close()
            self.clock.close()

    def events(self) -> AsyncIterator[MediaEvent]:
        """Everything that happens from now on."""
        return self._feed.subscribe()

    # --- hosts and what they do ------------------------------------------------------------------

    @property
    def events_dropped(self) -> int:
        """Events that readers were too slow for."""
        return self._feed.dropped

    def publishing(self) -> list[str]:
        """Rooms with a host."""
        return [room for room, stream in self._streams.items() if stream.publisher is not None]

    def estimator(self, room: str) -> MediaClockEstimator:
        """The clock of a room, for metrics. Raises NotFoundError."""
        return self._stream(room).estimator

    def start_host(self, room: str, traits: PublisherTraits) -> SessionId:
        """A host begins. Raises ConflictError while there is one, UnavailableError when full."""
        stream = self._streams.get(room)
        if stream is None:
            if len(self._streams) >= limits.SYNTHETIC_ROOMS_MAX:
                raise UnavailableError("no more synthetic rooms", code="full", retry_after_s=5)
            stream = _Stream(room, self._newest_epochs.get(room, 0) + 1)
            self._streams[room] = stream
        if stream.publisher is not None:
            raise ConflictError(f"{room} has a host already", code="already_publishing")
        self._begin(room, stream, traits)
        return stream.session

    def republish(self, room: str) -> SessionId:
        """The host's software restarts: another source, another RTP origin, the same person."""
        stream, host = self._host(room)
        self._leave(room, stream, "republish")
        self._begin(room, stream, host.traits)
        return stream.session

    def stop_host(self, room: str) -> None:
        """The host leaves."""
        stream, _ = self._host(room)
        self._leave(room, stream, "publisher_left")

    def hand_over(self, room: str) -> None:
        """Another engine takes the room; its host, if there is one, is gone."""
        stream = self._streams.get(room)
        if stream is not None and stream.publisher is not None:
            self._leave(room, stream, "engine_switch")

    def step_clock(self, room: str, by_ms: float) -> None:
        """The host's wall clock is set."""
        stream, host = self._host(room)
        host.step_clock(by_ms)
        self._plan(stream)

    def step_media(self, room: str, by_ms: float) -> None:
        """The host's timestamps jump."""
        stream, host = self._host(room)
        host.step_media(by_ms)
        self._plan(stream)

    def set_drift(self, room: str, ppm: float) -> None:
        """The host's crystal warms up, or cools down."""
        _, host = self._host(room)
        host.drift_ppm = ppm

    def stall(self, room: str, for_ms: float, kind: StallKind) -> None:
        """No frame arrives for a time."""
        stream, host = self._host(room)
        host.stall(for_ms, kind)
        self._plan(stream)

    # --- how ------------------------------------------------------------------------------------

    def _stream(self, room: str) -> _Stream:
        stream = self._streams.get(room)
        if stream is None:
            raise NotFoundError(f"{room} has no synthetic host", code="stream_not_found")
        return stream

    def _host(self, room: str) -> tuple[_Stream, VirtualPublisher]:
        stream = self._stream(room)
        if stream.publisher is None:
            raise ConflictError(f"the host of {room} has left", code="not_publishing")
        self._advance(room, stream, self._read_clocks())
        return stream, stream.publisher

    def _read_clocks(self) -> float:
        """The instant that a round of work is about, and what the wall clock says of it."""
        self._skew_ms = clock_skew_ms(self._now_ms, self._server_ms)
        return self._now_ms()

    def _new_session(self, what: str) -> SessionId:
        return SessionId(f"synthetic-{what}-{self._random.getrandbits(64):016x}")

    def _begin(self, room: str, stream: _Stream, traits: PublisherTraits) -> None:
        now_ms = self._read_clocks()
        stream.session = self._new_session("host")
        estimator = stream.estimator
        estimator.next_epoch = max(estimator.next_epoch, self.clock.newest_epoch(room) + 1)
        stream.publisher = VirtualPublisher(traits, now_ms, self._random)
        self._feed.publish(StreamStarted(room, stream.session, "synthetic"))
        self._advance(room, stream, now_ms)
        self._plan(stream)

    def _leave(self, room: str, stream: _Stream, reason: Reason) -> None:
        now_ms = self._read_clocks()
        self._advance(room, stream, now_ms)
        stream.publisher = None
        stream.due_ms = float("inf")
        self._announce(room, stream.estimator.end(now_ms + self._skew_ms, reason))
        self._feed.publish(StreamEnded(room, stream.session, reason))

    def _advance(self, room: str, stream: _Stream, now_ms: float) -> None:
        """Let in the frames that have arrived by now, and what is overdue be said."""
        host, estimator = stream.publisher, stream.estimator
        if host is None:
            return
        if now_ms - host.next_arrival_ms > limits.CLOCK_GAP_MS:
            host.skip_to(now_ms)  # The machine slept; nobody ingested anything.
        skew_ms = self._skew_ms
        while host.next_arrival_ms <= now_ms:
            events = estimator.frame(host.pop(skew_ms))
            if events:
                self._announce(room, events)
        deadline_ms = estimator.deadline_ms
        if deadline_ms is not None and deadline_ms <= now_ms + skew_ms:
            self._announce(room, estimator.check(now_ms + skew_ms))

    def _announce(self, room: str, events: list[ClockEvent]) -> None:
        for event in events:
            self.clock.add(room, event.anchor)
            self._feed.publish(ClockMoved(room, event, self.capabilities.name))

    def _plan(self, stream: _Stream) -> None:
        host = stream.publisher
        if host is None:
            return
        due_ms = host.next_arrival_ms
        deadline_ms = stream.estimator.deadline_ms
        if deadline_ms is not None:
            due_ms = min(due_ms, deadline_ms - self._skew_ms)
        stream.due_ms = due_ms
        heapq.heappush(self._due, (due_ms, next(self._numbers), stream))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            now_ms = self._read_clocks()
            while self._due and self._due[0][0] <= now_ms:
                due_ms, _, stream = heapq.heappop(self._due)
                if due_ms == stream.due_ms:  # Otherwise it was planned anew.
                    self._advance(stream.estimator.room, stream, now_ms)
                    self._plan(stream)
            if not self._due:
                self._wake.clear()
                await self._wake.wait()
            wait_ms = min(max(self._due[0][0] - self._now_ms(), TICK_MS), IDLE_MS)
            await asyncio.sleep(wait_ms / 1000)
