"""Rooms that this gateway does not keep in memory, and when it stops keeping one.

Rooms that were closed a while ago are let go: state, ring, clock and snapshot. Asked for again,
they are answered from the projection; opened again, the log tells of them. What must not be
forgotten, who is banned or muted, keeps its room here.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Final, Protocol

import structlog

from engagement.domain import limits
from engagement.domain.rooms import RoomState
from engagement.errors import EngagementError
from engagement.gateway import metrics
from engagement.gateway.clock_follower import ClockFollower
from engagement.gateway.database_reads import AWAY
from engagement.gateway.hub import Hub
from engagement.gateway.recent_comments import RecentComments
from engagement.gateway.room_directory import RoomDirectory

log = structlog.get_logger()

_NOW_MS: Final = 2**53
"""Later than any media time."""
_SLICE: Final = 1_000
"""Rooms that are looked at before sockets have their turn."""


class RoomStates(Protocol):
    """Who has the rooms of the past."""

    def state(
        self, room: str, *, at_ms: int, epoch: int | None = None
    ) -> Awaitable[dict[str, Any] | None]:
        """The room as it was at a media time; None when it was not there yet."""


class RoomArchive:
    """Finds rooms: in memory, on their way, or in the past; and lets idle ones go."""

    def __init__(
        self,
        states: RoomStates,
        directory: RoomDirectory,
        hub: Hub,
        clocks: ClockFollower,
        recent: RecentComments,
    ) -> None:
        self._states = states
        self._directory = directory
        self._hub = hub
        self._clocks = clocks
        self._recent = recent
        self._reads = asyncio.Semaphore(limits.ARCHIVE_READS_MAX)
        self._completing: set[asyncio.Task[None]] = set()

    async def find(self, room: str) -> RoomState | None:
        """The room, or None when nobody has heard of it."""
        state = await self._directory.find(room, limits.ROOM_WAIT_S)
        if state is not None:
            return state
        past = await self._past(room)
        # A room that is open is told by the log; the projection may be behind it.
        if past is None or past["status"] != "closed":
            return self._directory.known(room)
        if self._directory.known(room) is None:
            self._directory.restore(
                RoomState(
                    room,
                    status="closed",
                    title=past["title"],
                    host=past["host"],
                    likes_counted=past["likes"],
                    last_at_us=time.time_ns() // 1000,
                )
            )
        return self._directory.known(room)

    def opened(self, state: RoomState) -> None:
        """A session began: a room that comes back after a long time has its likes from then."""
        if state.likes_counted == 0:
            task = asyncio.create_task(self._complete(state))
            self._completing.add(task)
            task.add_done_callback(self._completing.discard)

    async def _complete(self, state: RoomState) -> None:
        past = await self._past(state.room)
        if past is not None:
            state.likes_counted = max(state.likes_counted, past["likes"])

    async def _past(self, room: str) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(limits.QUERY_TIMEOUT_S), self._reads:
                return await self._states.state(room, at_ms=_NOW_MS)
        except (*AWAY, EngagementError) as error:
            log.warning("archive.unavailable", error=repr(error)[:300])
            return None

    # --- letting go -----------------------------------------------------------------------------

    def may_go(self, state: RoomState, now_us: int) -> bool:
        """Whether nobody misses this room's state."""
        return (
            state.status == "closed"
            and now_us - state.last_at_us > limits.ROOM_IDLE_S * 1_000_000
            and not state.banned
            and not any(until_us > now_us for until_us in state.muted_until_us.values())
        )

    async def let_go(self, now_us: int) -> int:
        """Let go of the rooms that are idle; how many."""
        gone = 0
        for number, room in enumerate(list(self._directory.rooms)):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            state = self._directory.rooms.get(room)
            if state is not None and self.may_go(state, now_us) and self._hub.forget(room):
                self._directory.forget(room)
                self._clocks.forget(room)
                self._recent.forget(room)
                gone += 1
        return gone

    async def let_go_forever(self) -> None:
        """Do so now and then, until cancelled."""
        while True:
            await asyncio.sleep(limits.ROOM_SCAN_S)
            gone = await self.let_go(time.time_ns() // 1000)
            metrics.ROOMS_LET_GO.inc(gone)

    async def stop(self) -> None:
        """Complete nothing more."""
        for task in list(self._completing):
            task.cancel()
