"""What battles tell: to their own topic, to every room that takes part, and to the ledger."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from engagement.domain.battle_decisions import BattleDecision
from engagement.domain.battles import BattleState, revision_of
from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import ROOM_BATTLE_TYPES, SubjectFact
from engagement.domain.ledger_requests import BattleMark, MarkedBattle, MoneyAsked, MoneyEnvelope
from engagement.domain.media_time import RoomClock
from engagement.domain.names import derived_id
from engagement.domain.requests import BattleNews, BattleTold
from engagement.log.codec import encode_envelope
from engagement.log.money_codec import encode_money_envelope
from engagement.log.topics import GIFT_REQUESTS_TOPIC, REQUESTS_TOPIC, partition_of
from engagement.processors.outbox import OutRecord
from engagement.processors.subject_records import fact_record

_ASKS_MAX: Final = 200
"""Requests of one envelope to the rooms: with the totals of nine sides far below what a record
holds."""


class _RoomEnvelope(Struct):
    asks: list[Accepted] = field(default_factory=list)
    clock: dict[ClockEntry, int] = field(default_factory=dict)


class BattleTelling:
    """Collects what one transaction tells, and makes records of it."""

    def __init__(
        self, partition: int, partitions: int, clock: Callable[[str], RoomClock | None]
    ) -> None:
        self._origin = f"battles/{partition}"
        self._partitions = partitions
        self._clock = clock
        self._rooms: dict[int, _RoomEnvelope] = {}
        self._others: list[OutRecord] = []

    def set_aside(self, letter: OutRecord) -> None:
        """A dead letter."""
        self._others.append(letter)

    def take(self, state: BattleState, decision: BattleDecision) -> None:
        """Add what a decision tells."""
        for fact in decision.facts:
            self._others.append(fact_record(fact, self._partitions))
            if fact.kind in ROOM_BATTLE_TYPES:
                for side in state.sides:
                    self._add_room(side.room, fact)
        if decision.barrier:
            self._send_barrier(state.battle, decision.barrier, decision.at_us)

    def records(self) -> list[OutRecord]:
        """Everything, the rooms first: viewers wait for it."""
        rooms = [
            OutRecord(
                REQUESTS_TOPIC,
                number,
                self._origin.encode(),
                encode_envelope(Envelope(self._origin, asks, list(target.clock))),
            )
            for number, target in self._rooms.items()
            for asks in _split(target.asks)
        ]
        return rooms + self._others

    def _add_room(self, room: str, fact: SubjectFact) -> None:
        target = self._rooms.setdefault(partition_of(room, self._partitions), _RoomEnvelope())
        revision = revision_of(fact.data)
        news = BattleNews(
            fact.kind, fact.subject, revision, msgspec.Raw(msgspec.json.encode(fact.data))
        )
        told = BattleTold(id=derived_id(room, "told", fact.kind, fact.subject, revision), data=news)
        accepted = Accepted(
            room=room,
            actor=f"battle:{fact.subject}",
            role="service",
            at_us=fact.at_us,
            request=told,
        )
        clock = self._clock(room)
        anchor = None if clock is None else clock.at(fact.at_us)
        if clock is not None and anchor is not None:
            entry = ClockEntry(anchor, clock.lag_ms)
            index = target.clock.setdefault(entry, len(target.clock))
            accepted = replace(accepted, anchor=index)
        target.asks.append(accepted)

    def _send_barrier(self, battle: str, barrier: int, at_us: int) -> None:
        for number in range(self._partitions):
            mark = BattleMark(
                id=derived_id(battle, "mark", barrier, number),
                data=MarkedBattle(battle, barrier, self._partitions),
            )
            asked = MoneyAsked("", "battles", "service", at_us, mark)
            value = encode_money_envelope(MoneyEnvelope(self._origin, [asked]))
            self._others.append(
                OutRecord(GIFT_REQUESTS_TOPIC, number, self._origin.encode(), value)
            )


def _split(asks: list[Accepted]) -> list[list[Accepted]]:
    return [asks[start : start + _ASKS_MAX] for start in range(0, len(asks), _ASKS_MAX)]
