"""Battles as a decider: states out of SQL, decisions into it, and what they tell to every room.

Everything that is decided is decided by `engagement.domain.battles`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from msgspec import Struct

from engagement.domain import battle_requests as asks
from engagement.domain.battle_requests import BattleAsked, BattleEnvelope
from engagement.domain.battles import (
    BattleDecision,
    BattleState,
    evolve,
    handle,
    score_fact,
    takes_rooms,
)
from engagement.domain.media_time import RoomClock
from engagement.log.battle_codec import decode_battle_envelope
from engagement.log.codec import PoisonError
from engagement.log.dead_letters import dead_letter
from engagement.log.topics import BATTLE_REQUESTS_TOPIC
from engagement.processors.battle_telling import BattleTelling
from engagement.processors.battle_timers import BattleTimers
from engagement.processors.outbox import OutRecord
from engagement.processors.transacted import Record, Transaction

log = structlog.get_logger()


class BattlesStore(Protocol):
    """Where battles are. `connection` is that of the transaction."""

    async def load(self, connection: Any, names: Iterable[str]) -> dict[str, BattleState]:
        """These battles; one that nobody has heard of is a new state."""
        ...

    async def taken_rooms(self, connection: Any, rooms: Iterable[str]) -> dict[str, str]:
        """Which battle has taken each of these rooms; nobody else takes one before our commit."""
        ...

    async def watched(self, connection: Any, partition: int) -> list[BattleState]:
        """The battles of a partition to which something may still happen by itself."""
        ...

    async def save(
        self,
        connection: Any,
        partition: int,
        battles: Mapping[str, BattleState],
        taking: Mapping[str, bool],
    ) -> None:
        """Write battles; `taking` says which of them held their rooms before."""
        ...


class _Batch(Struct):
    """The battles of one transaction, and who holds which room in it."""

    battles: dict[str, BattleState]
    taken: dict[str, str]

    def busy(self, battle: str) -> frozenset[str]:
        """Rooms that another battle has taken."""
        return frozenset(room for room, by in self.taken.items() if by != battle)

    def note(self, state: BattleState) -> None:
        """Take or free the rooms of a battle that has just changed."""
        for side in state.sides:
            if takes_rooms(state):
                self.taken.setdefault(side.room, state.battle)
            elif self.taken.get(side.room) == state.battle:
                del self.taken[side.room]


class BattleDecider:
    """Decides about `live.battle-requests.v1`."""

    topic = BATTLE_REQUESTS_TOPIC

    def __init__(
        self,
        store: BattlesStore,
        timers: BattleTimers,
        clock: Callable[[str], RoomClock | None],
        now_us: Callable[[], int],
        partitions: int,
    ) -> None:
        self._store = store
        self._timers = timers
        self._clock = clock
        self._now_us = now_us
        self._partitions = partitions
        self._changed: dict[int, list[BattleState]] = {}

    async def apply(
        self, transaction: Transaction, partition: int, records: Sequence[Record]
    ) -> list[OutRecord]:
        """Decide about all requests of these envelopes, in order."""
        telling = BattleTelling(partition, self._partitions, self._clock)
        envelopes = [e for record in records if (e := _read(record, telling)) is not None]
        names = {asked.battle for envelope in envelopes for asked in envelope.asks}
        battles = await self._store.load(transaction.connection, names)
        taking = {name: takes_rooms(state) for name, state in battles.items()}
        rooms = _rooms_asked_about(envelopes, battles)
        taken = await self._store.taken_rooms(transaction.connection, rooms) if rooms else {}
        batch = _Batch(battles, taken)
        for envelope in envelopes:
            _decide(batch, envelope, telling, self._now_us())
        await self._store.save(transaction.connection, partition, battles, taking)
        self._changed[partition] = list(battles.values())
        return telling.records()

    async def owned(self, transaction: Transaction, partition: int) -> None:
        """Learn which battles have a timer."""
        self._timers.watch(partition, await self._store.watched(transaction.connection, partition))

    def committed(self, partition: int) -> None:
        """What was decided stands: its timers run."""
        self._timers.watch(partition, self._changed.pop(partition, []))

    def forget(self, partition: int) -> None:
        """Somebody else looks after its battles."""
        self._changed.pop(partition, None)
        self._timers.forget(partition)

    async def due(self, partition: int, now_us: int) -> list[OutRecord]:
        """What time, a closed room or a host that is gone does to battles."""
        return await self._timers.due(partition, now_us)


def _read(record: Record, telling: BattleTelling) -> BattleEnvelope | None:
    try:
        envelope, poison = decode_battle_envelope(record.value)
    except PoisonError as error:
        envelope, poison = None, [error]
    if poison:
        reasons = "; ".join(error.reason for error in poison[:10])
        telling.set_aside(OutRecord(*dead_letter(record, reasons)))
        log.warning("battles.poison", offset=record.offset, reasons=reasons)
    return envelope


def _rooms_asked_about(
    envelopes: Iterable[BattleEnvelope], battles: Mapping[str, BattleState]
) -> set[str]:
    """Rooms that must be free for what is asked."""
    rooms: set[str] = set()
    for envelope in envelopes:
        for asked in envelope.asks:
            if isinstance(asked.request, asks.BattleInvite):
                rooms |= {side.room for side in asked.request.data.sides}
            elif isinstance(asked.request, asks.BattleAccept):
                rooms |= {side.room for side in battles[asked.battle].sides}
    return rooms


def _decide(batch: _Batch, envelope: BattleEnvelope, telling: BattleTelling, now_us: int) -> None:
    """Decide about one record; the scores that it changed are told once, after it."""
    scored: dict[str, BattleAsked] = {}
    for asked in envelope.asks:
        state = batch.battles[asked.battle]
        if asked.battle in scored and not isinstance(asked.request, asks.BattleContribute):
            _score(state, scored.pop(asked.battle), telling)
        decision = handle(state, asked, batch.busy(asked.battle), now_us)
        batch.note(state)
        telling.take(state, decision)
        if any(fact.kind == "battle.contributed" for fact in decision.facts):
            scored[asked.battle] = asked
    for name, asked in scored.items():
        _score(batch.battles[name], asked, telling)


def _score(state: BattleState, asked: BattleAsked, telling: BattleTelling) -> None:
    told = score_fact(state, asked)
    evolve(state, told)
    telling.take(state, BattleDecision([told]))
