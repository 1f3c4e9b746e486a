"""Battles as a decider: states out of SQL, decisions into it, and what they tell to every room.

Everything that is decided is decided by `engagement.domain.battle_decisions`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from engagement.domain.battle_batch import (
    BattleBatch,
    PointsKey,
    points_asked_about,
    rooms_asked_about,
)
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.battles import BattleState, takes_rooms
from engagement.domain.media_time import RoomClock
from engagement.log.battle_codec import decode_battle_envelope
from engagement.log.codec import PoisonError
from engagement.log.dead_letters import dead_letter
from engagement.log.topics import BATTLE_REQUESTS_TOPIC, partition_of
from engagement.processors.battle_telling import BattleTelling
from engagement.processors.battle_timers import BattleTimers
from engagement.processors.outbox import OutRecord, letter_record
from engagement.processors.transacted import Record, Transaction

log = structlog.get_logger()


class BattlesStore(Protocol):
    """Where battles are. `connection` is that of the transaction."""

    async def load(self, connection: Any, names: Iterable[str]) -> dict[str, BattleState]:
        """These battles; one that nobody has heard of is a new state."""
        ...

    async def points(self, connection: Any, keys: Iterable[PointsKey]) -> dict[PointsKey, int]:
        """What these supporters have given so far, those who have given nothing left out."""
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
        battles: Mapping[str, BattleState],
        homes: Mapping[str, int],
        taking: Mapping[str, bool],
        given: Mapping[PointsKey, int],
    ) -> None:
        """Write battles into their partitions (`homes`), and all points of whoever gave; `taking`
        says which of the battles held their rooms before."""
        ...


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
        self, transaction: Transaction, by_partition: Mapping[int, Sequence[Record]]
    ) -> Mapping[int, Sequence[OutRecord]]:
        """Decide about all requests of these envelopes, each partition's in order."""
        connection, store = transaction.connection, self._store
        tellings = {
            partition: BattleTelling(partition, self._partitions, self._clock)
            for partition in by_partition
        }
        asked = [
            (partition, self._read(record, tellings[partition]))
            for partition, records in by_partition.items()
            for record in records
        ]
        every = [each for _, of_record in asked for each in of_record]
        homes = {each.battle: partition for partition, of_record in asked for each in of_record}
        battles = await store.load(connection, homes)
        taking = {name: takes_rooms(state) for name, state in battles.items()}
        rooms = rooms_asked_about(every, battles)
        taken = await store.taken_rooms(connection, rooms) if rooms else {}
        points = await store.points(connection, points_asked_about(every))
        batch = BattleBatch(battles, taken, points)
        for partition, of_record in asked:
            for state, decision in batch.take(of_record, self._now_us()):
                tellings[partition].take(state, decision)
        await store.save(connection, battles, homes, taking, batch.points)
        for partition in by_partition:
            self._changed[partition] = [
                state for name, state in battles.items() if homes[name] == partition
            ]
        return {partition: telling.records() for partition, telling in tellings.items()}

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

    def _read(self, record: Record, telling: BattleTelling) -> list[BattleAsked]:
        """The requests of a record; what cannot be decided here goes to the dead letters."""
        try:
            envelope, poison = decode_battle_envelope(record.value)
        except PoisonError as error:
            asked: list[BattleAsked] = []
            reasons = [error.reason]
        else:
            asked = [each for each in envelope.asks if self._is_here(each, record)]
            reasons = [error.reason for error in poison]
            if len(asked) < len(envelope.asks):
                reasons.append("a battle of another partition")
        if reasons:
            told = "; ".join(reasons[:10])
            telling.set_aside(letter_record(dead_letter(record, told)))
            log.warning("battles.poison", offset=record.offset, reasons=told)
        return asked

    def _is_here(self, asked: BattleAsked, record: Record) -> bool:
        """Whether it is in the partition of its battle; elsewhere it would have another owner."""
        return partition_of(asked.battle, self._partitions) == record.partition
