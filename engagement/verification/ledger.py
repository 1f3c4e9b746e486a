"""The whole ledger once more, from `live.gift-requests.v1` alone, and everything that follows.

One snapshot of the database, up to the position that it names; what is decided meanwhile is left
out. Nothing is written.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from msgspec import Struct, field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engagement.domain.catalogue import PricedGift
from engagement.domain.events import (
    BATTLE_TOPIC,
    CATALOGUE_TOPIC,
    LEDGER_TOPIC,
    ROOM_TOPIC,
    TOPIC_OF_TYPE,
)
from engagement.domain.ledger import HOUSE, BrokenInvariantError, earnings
from engagement.log.reader import LogReader
from engagement.log.topics import GIFT_REQUESTS_TOPIC
from engagement.processors.outbox import decode_records
from engagement.verification import ledger_rows
from engagement.verification.derivation import Derivation, Derived
from engagement.verification.difference import Difference, first
from engagement.verification.gifts_in_battles import BattleSums, GiftsInBattles
from engagement.verification.gifts_in_rooms import GiftsInRooms, RoomSums
from engagement.verification.ledger_rows import TransferCheck
from engagement.verification.once import read_until_told
from engagement.verification.told_facts import CatalogueCheck, ToldCheck, TopicText

Tell = Callable[[int, int], None]
"""Told (records read, records that there are to read) as often as one likes."""

_TOLD_TOPICS: Final = (LEDGER_TOPIC, CATALOGUE_TOPIC, ROOM_TOPIC, BATTLE_TOPIC)
_RECORDS_PER_FETCH: Final = 1_000

_POSITIONS: Final = text("""
    SELECT "partition", next_offset FROM decider_positions WHERE topic = :topic
    ORDER BY "partition"
""")
_OUTBOX: Final = text("""
    SELECT "partition", records FROM outbox WHERE topic = :topic ORDER BY "partition", number
""")


class Verified(Struct):
    """What was derived again, and the first difference."""

    records: int = 0
    requests: int = 0
    entries: int = 0
    facts: int = 0
    """Of `live.ledger.v1`, repeats included."""
    poison: int = 0
    """Requests that cannot be read; they are in the dead letters."""
    rooms: RoomSums = field(default_factory=RoomSums)
    battles: BattleSums = field(default_factory=BattleSums)
    difference: Difference | None = None


class _Snapshot(Struct):
    """Up to where everything is looked at."""

    driver: Any
    positions: dict[int, int]
    texts: dict[str, dict[int, TopicText]]
    """Topic → partition → its ends."""
    outbox: dict[int, list[bytes]]
    """Ledger partition → records that are decided and may not be told yet, encoded rows."""

    def untold(self, partition: int, topic: str) -> list[bytes]:
        """What of a ledger partition's outbox goes to a topic."""
        return [
            record.value
            for row in self.outbox.get(partition, ())
            for record in decode_records(row)
            if record.topic == topic
        ]


async def verify_ledger(engine: AsyncEngine, bootstrap: str, tell: Tell) -> Verified:
    """Compare tables, topics, rooms and battles with what the requests make; stops at the first
    partition with a difference."""
    async with _readers(bootstrap) as readers, engine.connect() as fresh:
        connection = await fresh.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            snapshot = await _take_snapshot(connection, readers)
            return await _Verification(snapshot, readers, tell).run()


@asynccontextmanager
async def _readers(bootstrap: str) -> AsyncIterator[dict[str, LogReader]]:
    topics = (GIFT_REQUESTS_TOPIC, *_TOLD_TOPICS)
    readers = {topic: LogReader(bootstrap, topic) for topic in topics}
    try:
        for reader in readers.values():
            await reader.start()
        yield readers
    finally:
        for reader in readers.values():
            await reader.stop()


async def _take_snapshot(
    connection: AsyncConnection, readers: Mapping[str, LogReader]
) -> _Snapshot:
    before = await _ends(readers)
    # A command that waits for its log is no sleeper.
    await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    topic = {"topic": GIFT_REQUESTS_TOPIC}
    positions = {
        row.partition: row.next_offset for row in await connection.execute(_POSITIONS, topic)
    }
    outbox: dict[int, list[bytes]] = {}
    for row in await connection.execute(_OUTBOX, topic):
        outbox.setdefault(row.partition, []).append(row.records)
    after = await _ends(readers)
    texts = {
        topic: {
            number: TopicText(before[topic][number], end) for number, end in after[topic].items()
        }
        for topic in _TOLD_TOPICS
    }
    pooled = await connection.get_raw_connection()
    return _Snapshot(pooled.driver_connection, positions, texts, outbox)


async def _ends(readers: Mapping[str, LogReader]) -> dict[str, dict[int, int]]:
    return {
        topic: await reader.ends(await reader.partitions()) for topic, reader in readers.items()
    }


class _Verification:
    """One run over all partitions."""

    def __init__(self, snapshot: _Snapshot, readers: Mapping[str, LogReader], tell: Tell) -> None:
        self._snapshot = snapshot
        self._readers = readers
        self._tell = tell
        self._verified = Verified()
        self._gifts = GiftsInRooms()
        self._catalogue = CatalogueCheck(CATALOGUE_TOPIC)
        self._priced: dict[str, PricedGift] = {}
        self._done = 0
        self._total = sum(snapshot.positions.values()) + sum(
            each.end
            for topic in (ROOM_TOPIC, BATTLE_TOPIC)
            for each in snapshot.texts[topic].values()
        )

    async def run(self) -> Verified:
        """Everything, in the order of the money."""
        self._verified.rooms = self._gifts.sums
        self._verified.difference = await self._difference()
        return self._verified

    async def _difference(self) -> Difference | None:
        driver = self._snapshot.driver
        requests = self._readers[GIFT_REQUESTS_TOPIC]
        ends = await requests.ends(await requests.partitions())
        for partition, end in self._snapshot.positions.items():
            if end > ends.get(partition, 0):
                what = f"the position is {end}, the log ends at {ends.get(partition, 0)}"
                return Difference("decider_positions", partition, end, what)
            found = await self._partition(partition, end)
            if found is not None:
                return found
        return (
            await ledger_rows.strays(driver, self._snapshot.positions)
            or await ledger_rows.compare_catalogue(
                driver, self._catalogue.partition, self._priced, self._catalogue.offsets
            )
            or await self._catalogue.compare(
                self._readers[CATALOGUE_TOPIC],
                self._snapshot.texts[CATALOGUE_TOPIC],
                [
                    value
                    for partition in self._snapshot.positions
                    for value in self._snapshot.untold(partition, CATALOGUE_TOPIC)
                ],
            )
            or await self._arrived()
        )

    async def _partition(self, partition: int, end: int) -> Difference | None:
        """The first difference of one ledger partition: its tables, and what it told."""
        driver = self._snapshot.driver
        derivation = Derivation(partition, len(self._snapshot.texts[LEDGER_TOPIC]))
        transfers = TransferCheck(driver, partition)
        told = ToldCheck(
            LEDGER_TOPIC,
            partition,
            self._readers[LEDGER_TOPIC],
            self._snapshot.texts[LEDGER_TOPIC][partition],
            self._snapshot.untold(partition, LEDGER_TOPIC),
        )
        last_offset = -1
        async for record in self._requests(partition, end):
            last_offset = record.offset
            try:
                for derived in derivation.take(record):
                    found = await self._compare(partition, derived, transfers, told)
                    if found is not None:
                        return found
            except BrokenInvariantError as error:
                return Difference(GIFT_REQUESTS_TOPIC, partition, record.offset, str(error))
        self._count(derivation, told)
        return first(
            [
                await transfers.end(driver, last_offset),
                await ledger_rows.compare_books(driver, derivation),
                await told.end(),
                _imbalance(derivation, last_offset),
            ]
        )

    async def _requests(self, partition: int, end: int) -> AsyncIterator[Any]:
        reader = self._readers[GIFT_REQUESTS_TOPIC]
        await reader.assign({partition: 0})
        async for records in reader.read_to({partition: end}, _RECORDS_PER_FETCH):
            for record in records:
                yield record
            self._verified.records += len(records)
            self._advance(len(records))

    async def _compare(
        self, partition: int, derived: Derived, transfers: TransferCheck, told: ToldCheck
    ) -> Difference | None:
        offset, decision = derived.offset, derived.decision
        found = await transfers.take(offset, decision)
        if found is not None:
            return found
        for fact in derived.told.facts:
            if TOPIC_OF_TYPE[fact.kind] == CATALOGUE_TOPIC:
                self._catalogue.expect(partition, offset, fact)
                continue
            found = await told.take(offset, fact)
            if found is not None:
                return found
        self._gifts.expect(partition, offset, decision)
        return None

    def _count(self, derivation: Derivation, told: ToldCheck) -> None:
        verified = self._verified
        verified.requests += derivation.requests
        verified.entries += derivation.books.next_entry - 1
        verified.poison += derivation.poison
        verified.facts += told.records
        self._priced.update(derivation.books.catalogue)

    async def _arrived(self) -> Difference | None:
        """Debits = gifts in rooms = coins that scored or were late in battles."""
        for topic, taker in (
            (ROOM_TOPIC, self._gifts),
            (BATTLE_TOPIC, GiftsInBattles(self._gifts.in_battles, self._verified.battles)),
        ):
            texts = self._snapshot.texts[topic]
            found = await read_until_told(self._readers[topic], texts, taker, self._advance)
            if found is not None:
                return found
        return None

    def _advance(self, records: int) -> None:
        self._done += records
        self._tell(self._done, max(self._done, self._total))


def _imbalance(derivation: Derivation, offset: int) -> Difference | None:
    """Debits = credits, and what wallets paid is what hosts and the house have."""
    books = derivation.books
    balances = {name: account.balance for name, account in books.accounts.items()}
    received = sum(
        coins for name, coins in balances.items() if name == HOUSE or name.startswith(earnings(""))
    )
    if sum(balances.values()) != 0:
        what = f"all balances add up to {sum(balances.values())}"
    elif received != derivation.spent:
        what = f"wallets paid {derivation.spent}, hosts and the house received {received}"
    else:
        return None
    return Difference("ledger_accounts", books.partition, offset, what)
