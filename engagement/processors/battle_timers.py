"""What happens to battles by itself: time passes, rooms close, hosts go away.

Nothing is decided here. What is due is written to the battles' own topic as a request, under an id
that derives from what it is about; it is written again until the battle has changed by it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
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
from engagement.domain.battles import BattleState, SideState, is_over, next_moment_us
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
_GONE_US: Final = int(limits.HOST_GONE_S * 1_000_000)
_LOSABLE: Final = ("invited", "running")


class ClosedRooms(Protocol):
    """Who knows which rooms have closed."""

    def __call__(self, rooms: Iterable[str]) -> Awaitable[Mapping[str, int]]:
        """Those of these rooms that have closed, and when, Unix µs."""
        ...


class _Watched(Struct):
    state: BattleState
    settle_tries: int
    settling_since_us: int = 0
    """When this process first saw it settle, or try again to, committed: the log was well then."""
    told: dict[str, int] = field(default_factory=dict)
    """Request id → when it was last written, Unix µs."""


class BattleTimers:
    """The open battles of the partitions that this process owns."""

    def __init__(self, clock: Callable[[str], RoomClock | None], closed_rooms: ClosedRooms) -> None:
        self._clock = clock
        self._closed_rooms = closed_rooms
        self._watched: dict[int, dict[str, _Watched]] = {}
        self._closed: Mapping[str, int] = {}
        self._looked_us = 0

    def watch(self, partition: int, states: Iterable[BattleState]) -> None:
        """These battles are as they are told here, committed."""
        battles = self._watched.setdefault(partition, {})
        for state in states:
            if is_over(state) or state.status == "none":
                battles.pop(state.battle, None)
                continue
            known = battles.get(state.battle)
            if known is None:
                battles[state.battle] = _Watched(state, state.settle_tries)
                continue
            if known.settle_tries != state.settle_tries:
                known.settle_tries, known.settling_since_us = state.settle_tries, 0
            known.state = state

    def forget(self, partition: int) -> None:
        """Somebody else owns this partition."""
        self._watched.pop(partition, None)

    async def due(self, partition: int, now_us: int) -> list[OutRecord]:
        """Requests that are to be written now."""
        if not 0 <= now_us - self._looked_us < _LOOK_EVERY_US:
            self._looked_us = now_us
            self._closed = await self._closed_rooms(self._rooms())
        asked: list[BattleAsked] = []
        for watched in self._watched.get(partition, {}).values():
            timer = _timer(watched, now_us)
            requests = self._losses(watched.state, now_us) if timer is None else [timer]
            asked += [
                BattleAsked(watched.state.battle, "battles", "service", now_us, request)
                for request in requests
                if _is_news(watched, request, now_us)
            ]
        if not asked:
            return []
        value = encode_battle_envelope(BattleEnvelope(f"battles/{partition}", asked))
        return [OutRecord(BATTLE_REQUESTS_TOPIC, partition, b"battles", value)]

    def _rooms(self) -> list[str]:
        return [
            side.room
            for battles in self._watched.values()
            for watched in battles.values()
            if watched.state.status in _LOSABLE
            for side in watched.state.sides
        ]

    def _losses(self, state: BattleState, now_us: int) -> list[BattleRequest]:
        if state.status not in _LOSABLE:
            return []
        losses: list[BattleRequest] = []
        for side in state.sides:
            loss = None if side.lost else self._loss(state, side, now_us)
            if loss is not None:
                name = derived_id(state.battle, "lost", side.room, loss.reason)
                losses.append(BattleSideLost(id=name, data=loss))
        return losses

    def _loss(self, state: BattleState, side: SideState, now_us: int) -> Loss | None:
        # Its gateway saw the room open when the battle was asked for: what the projection knows of
        # an earlier session says nothing.
        if self._closed.get(side.room, 0) > state.invited_us:
            return Loss(side.room, "room_closed")
        clock = self._clock(side.room)
        anchor = None if clock is None else clock.current
        if state.status != "running" or anchor is None or not anchor.ended:
            return None
        # A host whose stream had long ended when the battle began fights without one.
        is_of_battle = anchor.at_us > state.started_us - _GONE_US
        if is_of_battle and now_us - anchor.at_us > _GONE_US:
            return Loss(side.room, "host_disconnected")
        return None


def _timer(watched: _Watched, now_us: int) -> BattleTimePassed | None:
    state = watched.state
    if state.status == "settling":
        return _settling_timer(watched, now_us)
    moment_us = next_moment_us(state)
    if moment_us is None or now_us < moment_us:
        return None
    name = derived_id(state.battle, "time", state.status, moment_us)
    return BattleTimePassed(id=name, data=Passed(now_us))


def _settling_timer(watched: _Watched, now_us: int) -> BattleTimePassed | None:
    """The barrier's, when it is due.

    Whoever was still writing gifts at the deadline must have had time to end, while the log took
    what it was given: our own decision to settle went through it.
    """
    state = watched.state
    if not 0 < watched.settling_since_us <= now_us:
        watched.settling_since_us = now_us
    wait_us = _BARRIER_AGAIN_US if state.barrier else limits.BATTLE_SETTLE_MS * 1000
    if now_us - watched.settling_since_us < wait_us:
        return None
    number = state.barrier + 1
    name = derived_id(state.battle, "barrier", number, state.settle_tries)
    return BattleTimePassed(id=name, data=Passed(now_us, number))


def _is_news(watched: _Watched, request: BattleRequest, now_us: int) -> bool:
    """Whether it is to be written, for the first time or once more."""
    last_us = watched.told.get(request.id)
    if last_us is not None and 0 <= now_us - last_us < _TOLD_AGAIN_US:
        return False
    watched.told[request.id] = now_us
    return True
