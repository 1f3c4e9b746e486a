"""The ledger as a decider: books out of SQL, decisions into it, and what they tell into the outbox.

Everything that is decided is decided by `engagement.domain.ledger`; this loads, saves and encodes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog
from msgspec import UNSET, Struct, field
from msgspec.structs import replace

from engagement.domain import limits
from engagement.domain.battle_requests import BattleAsked, BattleEnvelope
from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import SubjectFact
from engagement.domain.ledger import Books, Changed, Decision, Wanted, decide, post, wanted
from engagement.domain.ledger_requests import Moment, MoneyAsked, MoneyEnvelope, TimePassed
from engagement.domain.ledger_telling import tell
from engagement.domain.names import derived_id
from engagement.log.battle_codec import encode_battle_envelope
from engagement.log.codec import encode_envelope
from engagement.log.dead_letters import dead_letter
from engagement.log.money_codec import encode_money_envelope, read_money_requests
from engagement.log.topics import (
    BATTLE_REQUESTS_TOPIC,
    GIFT_REQUESTS_TOPIC,
    REQUESTS_TOPIC,
    partition_of,
)
from engagement.processors import metrics
from engagement.processors.outbox import OutRecord, letter_record
from engagement.processors.subject_records import fact_record
from engagement.processors.transacted import Record, Transaction

log = structlog.get_logger()

_T = TypeVar("_T")

_TOLD_AGAIN_US: Final = 2_000_000
"""A timer that was not decided by then is written again, under the same id."""


class _Hold(Struct):
    """The next hold of a partition to end, as far as this process knows."""

    due_us: int | None = None
    told_us: int = 0
    """When it was last written, Unix µs."""


class BooksStore(Protocol):
    """Where the books are. `connection` is that of the transaction."""

    async def load(self, connection: Any, want: Mapping[int, Wanted]) -> dict[int, Books]:
        """As much of each partition's books as these requests need."""
        ...

    async def save(self, connection: Any, changed: Sequence[Changed]) -> None:
        """Write what the decisions have changed."""

    async def battles_of(self, connection: Any, rooms: Iterable[str]) -> dict[str, str]:
        """The battles that have taken these rooms."""
        ...

    async def next_hold_us(self, connection: Any, partition: int) -> int | None:
        """When the next pending hold of a partition ends."""


class LedgerDecider:
    """Decides about `live.gift-requests.v1`."""

    topic = GIFT_REQUESTS_TOPIC

    def __init__(self, store: BooksStore, partitions: int) -> None:
        self._store = store
        self._partitions = partitions
        self._holds: dict[int, _Hold] = {}

    async def apply(
        self, transaction: Transaction, by_partition: Mapping[int, Sequence[Record]]
    ) -> Mapping[int, Sequence[OutRecord]]:
        """Decide about all requests of these envelopes, each partition's in order."""
        connection = transaction.connection
        tellings = {each: _Telling(each, self._partitions) for each in by_partition}
        envelopes = {
            partition: [found for record in records if (found := tellings[partition].read(record))]
            for partition, records in by_partition.items()
        }
        want = {partition: wanted(_asks(of_it)) for partition, of_it in envelopes.items()}
        books = await self._store.load(connection, want)
        rooms = {asked.room for of_it in envelopes.values() for asked in _asks(of_it) if asked.room}
        battles = await self._store.battles_of(connection, rooms)
        changed = [
            self._decide(books[partition], of_it, battles, tellings[partition])
            for partition, of_it in envelopes.items()
        ]
        await self._store.save(connection, changed)
        for each in changed:
            if any(decision.holds for decision in each.decisions):
                await self.owned(transaction, each.books.partition)
            metrics.observe_decisions(each.decisions)
        return {partition: telling.records() for partition, telling in tellings.items()}

    def _decide(
        self,
        books: Books,
        envelopes: Sequence[MoneyEnvelope],
        battles: Mapping[str, str],
        telling: "_Telling",
    ) -> Changed:
        loaded = frozenset(books.accounts)
        decisions: list[Decision] = []
        for envelope in envelopes:
            for asked in envelope.asks:
                decision = decide(books, envelope, asked)
                post(books, decision)
                decisions.append(decision)
                telling.take(envelope, decision, battles.get(asked.room, ""))
        return Changed(books, loaded, decisions)

    async def owned(self, transaction: Transaction, partition: int) -> None:
        """Learn when the next hold ends."""
        self._holds[partition] = _Hold(
            await self._store.next_hold_us(transaction.connection, partition)
        )

    def committed(self, partition: int) -> None:
        """Nothing waits for it."""

    def forget(self, partition: int) -> None:
        """Somebody else looks after its holds."""
        self._holds.pop(partition, None)

    async def due(self, partition: int, now_us: int) -> list[OutRecord]:
        """A request to end the holds that have run out."""
        hold = self._holds.get(partition)
        if hold is None or hold.due_us is None or hold.due_us > now_us:
            return []
        if abs(now_us - hold.told_us) < _TOLD_AGAIN_US:
            return []
        hold.told_us = now_us
        # Of now, not of the hold: whatever else has run out ends with it.
        request = TimePassed(id=derived_id("holds", partition, hold.due_us), data=Moment(now_us))
        asked = MoneyAsked("", "ledger", "service", now_us, request)
        value = encode_money_envelope(MoneyEnvelope(f"ledger/{partition}", [asked]))
        return [OutRecord(GIFT_REQUESTS_TOPIC, partition, b"ledger", value)]


class _RoomEnvelope(Struct):
    """What goes to one partition of the rooms' requests."""

    asks: list[Accepted] = field(default_factory=list)
    clock: dict[ClockEntry, int] = field(default_factory=dict)


class _Telling:
    """Collects what one transaction tells, and makes records of it."""

    def __init__(self, partition: int, partitions: int) -> None:
        self._partition = partition
        self._partitions = partitions
        self._origin = f"ledger/{partition}"
        self._facts: list[SubjectFact] = []
        self._rooms: dict[int, _RoomEnvelope] = {}
        self._battles: dict[int, list[BattleAsked]] = {}
        self._dead: list[OutRecord] = []

    def read(self, record: Record) -> MoneyEnvelope | None:
        """The envelope of a record; what cannot be read goes to the dead letters."""
        envelope, poison = read_money_requests(record.value, self._partition, self._partitions)
        if poison:
            reasons = "; ".join(error.reason for error in poison[:10])
            self._dead.append(letter_record(dead_letter(record, reasons)))
            log.warning("ledger.poison", offset=record.offset, reasons=reasons)
        return envelope

    def take(self, envelope: MoneyEnvelope, decision: Decision, battle: str) -> None:
        """Add what a decision tells."""
        told = tell(self._partition, decision, battle)
        self._facts.extend(told.facts)
        if told.room is not None:
            self._add_room(told.room, envelope, decision.asked)
        if told.battle is not None:
            number = partition_of(told.battle.battle, self._partitions)
            self._battles.setdefault(number, []).append(told.battle)

    def _add_room(self, room: Accepted, envelope: MoneyEnvelope, asked: MoneyAsked) -> None:
        number = partition_of(room.room, self._partitions)
        target = self._rooms.setdefault(number, _RoomEnvelope())
        if asked.anchor is not UNSET:
            entry = envelope.clock[asked.anchor]
            room = replace(room, anchor=target.clock.setdefault(entry, len(target.clock)))
        target.asks.append(room)

    def records(self) -> list[OutRecord]:
        """Everything, the rooms first: viewers wait for it."""
        made: list[OutRecord] = []
        for number, target in self._rooms.items():
            encode = partial(self._rooms_value, list(target.clock))
            made.extend(self._envelopes(REQUESTS_TOPIC, number, _fitting(target.asks, encode)))
        for number, battles in self._battles.items():
            values = _fitting(battles, self._battles_value)
            made.extend(self._envelopes(BATTLE_REQUESTS_TOPIC, number, values))
        made.extend(fact_record(fact, self._partitions) for fact in self._facts)
        return made + self._dead

    def _envelopes(self, topic: str, partition: int, values: Iterable[bytes]) -> list[OutRecord]:
        key = self._origin.encode()
        return [OutRecord(topic, partition, key, value) for value in values]

    def _rooms_value(self, clock: list[ClockEntry], asks: Sequence[Accepted]) -> bytes:
        return encode_envelope(Envelope(self._origin, list(asks), clock))

    def _battles_value(self, asks: Sequence[BattleAsked]) -> bytes:
        return encode_battle_envelope(BattleEnvelope(self._origin, list(asks)))


def _asks(envelopes: Iterable[MoneyEnvelope]) -> Iterator[MoneyAsked]:
    return (asked for envelope in envelopes for asked in envelope.asks)


def _fitting(asks: Sequence[_T], encode: Callable[[Sequence[_T]], bytes]) -> Iterator[bytes]:
    """Record values that hold these requests in order, none larger than the log takes."""
    value = encode(asks)
    if len(value) <= limits.ENVELOPE_BYTES_MAX or len(asks) == 1:
        yield value
        return
    middle = len(asks) // 2
    yield from _fitting(asks[:middle], encode)
    yield from _fitting(asks[middle:], encode)
