"""What happens to battles by itself: time passes, rooms close, hosts go away.

Nothing is decided here. What is due is written to the battles' own topic as a request, under an id
that derives from what it is about, so a replay decides the same; it is written again until the
battle has changed by it.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from msgspec import Struct, field

from engagement.domain import limits
from engagement.domain.battle_requests import (
    BattleAsked,
    BattleEnvelope,
    BattleRequest,
    BattleSideLost,
    BattleTimePassed,
    Loss,
    Passed,
)
from engagement.domain.battles import OPEN, BattleState, is_over, next_moment_us
from engagement.domain.media_time import RoomClock
from engagement.domain.names import derived_id
from engagement.log.battle_codec import encode_battle_envelope
from engagement.log.topics import BATTLE_REQUESTS_TOPIC
from engagement.processors.outbox import OutRecord

_TOLD_AGAIN_US: Final = 2_000_000
"""A request that has not changed its battle by then is written again."""
_BARRIER_AGAIN_US: Final = 5_000_000
"""A barrier that has not come back by then is sent again: a ledger partition may be without an
owner for as long as a lease lasts."""
_LOOK_EVERY_US: Final = 1_000_000
"""How often rooms and hosts are looked at."""


class ClosedRooms(Protocol):
    """Who knows which rooms have closed."""

    def __call__(self, rooms: Iterable[str]) -> Awaitable[set[str]]:
        """Those of these rooms that have closed."""
        ...


class _Watched(Struct):
    state: BattleState
    settling_since_us: int = 0
    """When this process first saw it settle, committed: the log was well then."""
    told: dict[str, int] = field(default_factory=dict)
    """Request id → when it was last written, Unix µs."""


class BattleTimers:
    """The open battles of the partitions that this process owns."""

    def __init__(self, clock: Callable[[str], RoomClock | None], closed_rooms: ClosedRooms) -> None:
        self._clock = clock
        self._closed_rooms = closed_rooms
        self._watched: dict[int, dict[str, _Watched]] = {}
        self._looked_us: dict[int, int] = {}

    def watch(self, partition: int, states: Iterable[BattleState]) -> None:
        """These battles are as they are told here, committed."""
        battles = self._watched.setdefault(partition, {})
        for state in states:
            if is_over(state) or state.status == "none":
                battles.pop(state.battle, None)
                continue
            known = battles.get(state.battle)
            if known is None:
                battles[state.battle] = _Watched(state)
            else:
                known.state = state

    def forget(self, partition: int) -> None:
        """Somebody else owns this partition."""
        self._watched.pop(partition, None)
        self._looked_us.pop(partition, None)

    async def due(self, partition: int, now_us: int) -> list[OutRecord]:
        """Requests that are to be written now."""
        battles = self._watched.get(partition)
        if not battles:
            return []
        asked: list[BattleAsked] = []
        for watched in battles.values():
            request = _timer(watched, now_us)
            if request is not None and _is_news(watched, request, now_us):
                asked.append(_asked(watched.state, request, now_us))
        if now_us - self._looked_us.get(partition, 0) >= _LOOK_EVERY_US:
            self._looked_us[partition] = now_us
            asked += await self._losses(battles.values(), now_us)
        if not asked:
            return []
        value = encode_battle_envelope(BattleEnvelope(f"battles/{partition}", asked))
        return [OutRecord(BATTLE_REQUESTS_TOPIC, partition, b"battles", value)]

    async def _losses(self, battles: Iterable[_Watched], now_us: int) -> list[BattleAsked]:
        open_ones = [watched for watched in battles if watched.state.status in OPEN]
        rooms = [side.room for each in open_ones for side in each.state.sides if not side.lost]
        if not rooms:
            return []
        closed = await self._closed_rooms(rooms)
        asked: list[BattleAsked] = []
        for watched in open_ones:
            state = watched.state
            for side in state.sides:
                loss = self._loss(side.room, closed, now_us)
                if side.lost or loss is None or state.status == "settling":
                    continue
                name = derived_id(state.battle, "lost", side.room, loss.reason)
                request = BattleSideLost(id=name, data=loss)
                if _is_news(watched, request, now_us):
                    asked.append(_asked(state, request, now_us))
        return asked

    def _loss(self, room: str, closed: set[str], now_us: int) -> Loss | None:
        if room in closed:
            return Loss(room, "room_closed")
        clock = self._clock(room)
        anchor = None if clock is None else clock.current
        gone_us = limits.HOST_GONE_S * 1_000_000
        if anchor is not None and anchor.ended and now_us - anchor.at_us > gone_us:
            return Loss(room, "host_disconnected")
        return None


def _timer(watched: _Watched, now_us: int) -> BattleTimePassed | None:
    state = watched.state
    if state.status == "settling":
        if not watched.settling_since_us:
            watched.settling_since_us = now_us
        # Whoever was still writing gifts at the deadline has had this long to end, while the log
        # took what it was given: our own decision to settle is on it.
        wait_us = limits.BATTLE_SETTLE_MS * 1000 + state.barrier * _BARRIER_AGAIN_US
        if now_us - watched.settling_since_us < wait_us:
            return None
        name = derived_id(state.battle, "barrier", state.barrier + 1)
        return BattleTimePassed(id=name, data=Passed(now_us))
    moment_us = next_moment_us(state)
    if moment_us is None or now_us < moment_us:
        return None
    name = derived_id(state.battle, "time", state.status, moment_us)
    return BattleTimePassed(id=name, data=Passed(now_us))


def _is_news(watched: _Watched, request: BattleRequest, now_us: int) -> bool:
    """Whether it is to be written, for the first time or once more."""
    last_us = watched.told.get(request.id)
    if last_us is not None and 0 <= now_us - last_us < _TOLD_AGAIN_US:
        return False
    watched.told[request.id] = now_us
    return True


def _asked(state: BattleState, request: BattleRequest, now_us: int) -> BattleAsked:
    return BattleAsked(state.battle, "battles", "service", now_us, request)
