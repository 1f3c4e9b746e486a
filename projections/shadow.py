"""Shadow tables: a projection folded again beside the live one, up to the very same positions.

Rebuild swaps them in, verify compares and drops them. The live tables are never locked while the
shadow catches up; only for the last few records the live projector waits, so that both sides
stand at equal positions when they are compared.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC
from engagement.errors import ConflictError
from engagement.log.codec import PoisonError
from projections.projection import Projection
from projections.room_facts import FactReader
from projections.store import fold_into
from projections.tables import OWNERS, POSITIONS

SUFFIX: Final = "__shadow"
CLOSE_ENOUGH_RECORDS: Final = 2_000
"""From here on the live projector may wait: it is a few hundredths of a second."""
SHADOW_LOCK: Final = 0x73686164
"""Advisory lock: one rebuild or verify at a time."""

Tell = Callable[[int, int], None]
"""Called with (records folded, records to fold)."""


class Difference(Struct, frozen=True):
    """The first row in which the fold of the log and the live table are not the same."""

    table: str
    partition: int | None
    offset: int
    what: str


def shadow_name(table: Table) -> str:
    """The physical name of a table's shadow."""
    return table.name + SUFFIX


class Shadow:
    """The shadows of some projections, and how far they are folded."""

    def __init__(
        self, engine: AsyncEngine, bootstrap: str, projections: Sequence[Projection]
    ) -> None:
        self._engine = engine
        self._bootstrap = bootstrap
        self._projections = projections
        self._reader = FactReader()
        self._next: dict[int, int] = {}
        self.folded = 0

    @property
    def tables(self) -> list[Table]:
        """The declared tables that have a shadow."""
        return [table for projection in self._projections for table in projection.tables]

    @asynccontextmanager
    async def caught_up(self, tell: Tell) -> AsyncIterator[AsyncConnection]:
        """Fold from offset 0, then yield a transaction in which live and shadow stand equal.

        The live projector waits while it is open. The shadows are gone afterwards, unless they
        were swapped in. Raises ConflictError when another rebuild or verify runs.
        """
        async with self._engine.connect() as guard:
            held = await guard.execute(text(f"SELECT pg_try_advisory_lock({SHADOW_LOCK})"))
            if not held.scalar_one():
                raise ConflictError("another rebuild or verify is running", code="shadow_in_use")
            await guard.commit()
            try:
                async with self._held(tell) as connection:
                    yield connection
            finally:
                # The lock is the session's, and the pool keeps the session.
                await guard.execute(text(f"SELECT pg_advisory_unlock({SHADOW_LOCK})"))

    @asynccontextmanager
    async def _held(self, tell: Tell) -> AsyncIterator[AsyncConnection]:
        await self._create()
        consumer = AIOKafkaConsumer(
            auto_offset_reset="earliest",
            bootstrap_servers=self._bootstrap,
            fetch_max_bytes=16 * 1024 * 1024,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        await consumer.start()
        try:
            await self._catch_up(consumer, tell)
            async with self._engine.begin() as connection:
                goal = await self._hold_live(connection)
                await self._fold_to(consumer, goal, lambda *_: None, connection)
                yield connection
        finally:
            await consumer.stop()
            await self._drop()

    async def difference(self, connection: AsyncConnection) -> Difference | None:
        """The first difference, table by table, in the order of the log."""
        for table in self.tables:
            found = await _first_difference(connection, table)
            if found is not None:
                return found
        return None

    async def swap(self, connection: AsyncConnection) -> None:
        """Put the shadows in the place of the live tables; readers see one or the other."""
        for table in self.tables:
            await connection.execute(text(f'DROP TABLE "{table.name}"'))
            shadow = shadow_name(table)
            await connection.execute(text(f'ALTER TABLE "{shadow}" RENAME TO "{table.name}"'))
            for index in _index_names(table):
                await connection.execute(text(f'ALTER INDEX "{index}{SUFFIX}" RENAME TO "{index}"'))

    async def _create(self) -> None:
        await self._drop()
        async with self._engine.begin() as connection:
            for table in self.tables:
                shadow = shadow_name(table)
                await connection.execute(
                    text(
                        f'CREATE TABLE "{shadow}" '
                        f'(LIKE "{table.name}" INCLUDING ALL EXCLUDING INDEXES)'
                    )
                )
                for statement in _index_statements(table):
                    await connection.execute(text(statement))

    async def _drop(self) -> None:
        async with self._engine.begin() as connection:
            for table in self.tables:
                await connection.execute(text(f'DROP TABLE IF EXISTS "{shadow_name(table)}"'))

    async def _catch_up(self, consumer: AIOKafkaConsumer, tell: Tell) -> None:
        goal = await self._live_positions()
        assigned = [TopicPartition(ROOM_TOPIC, number) for number in goal]
        consumer.assign(assigned)
        for tp in assigned:
            consumer.seek(tp, 0)
        self._next = dict.fromkeys(goal, 0)
        while self._left(goal) > 0:
            await self._fold_to(consumer, goal, tell)
            goal = await self._live_positions()
            if self._left(goal) < CLOSE_ENOUGH_RECORDS:
                return

    async def _fold_to(
        self,
        consumer: AIOKafkaConsumer,
        goal: Mapping[int, int],
        tell: Tell,
        connection: AsyncConnection | None = None,
    ) -> None:
        for number, offset in goal.items():
            if number not in self._next and offset > 0:
                self._next[number] = 0
                consumer.assign([TopicPartition(ROOM_TOPIC, known) for known in self._next])
        for number, offset in self._next.items():
            consumer.seek(TopicPartition(ROOM_TOPIC, number), offset)
        total = sum(goal.values())
        while self._left(goal) > 0:
            fetched = await consumer.getmany(
                timeout_ms=500, max_records=limits.PROJECTION_BATCH_RECORDS
            )
            batch = [
                record
                for tp, records in fetched.items()
                for record in records
                if record.offset < goal[tp.partition]
            ]
            await self._fold(batch, connection)
            tell(sum(self._next.values()), total)
            for tp in fetched:
                if self._next[tp.partition] >= goal[tp.partition]:
                    consumer.pause(tp)
        consumer.resume(*consumer.assignment())

    async def _fold(self, records: Sequence[Any], connection: AsyncConnection | None) -> None:
        batch = []
        for record in records:
            self._next[record.partition] = record.offset + 1
            try:
                placed = self._reader.read(record)
            except PoisonError:
                continue  # The live projector has set it aside.
            if placed is not None:
                batch.append(placed)
        self.folded += len(batch)
        if connection is not None:
            await fold_into(connection, self._projections, batch, shadow_name)
            return
        async with self._engine.begin() as own:
            # Core first: it sends BEGIN (see projections.store).
            await own.execute(text("SET LOCAL synchronous_commit = off"))
            await fold_into(own, self._projections, batch, shadow_name)

    def _left(self, goal: Mapping[int, int]) -> int:
        return sum(max(0, offset - self._next.get(number, 0)) for number, offset in goal.items())

    async def _live_positions(self) -> dict[int, int]:
        async with self._engine.connect() as connection:
            return await _positions(connection)

    async def _hold_live(self, connection: AsyncConnection) -> dict[int, int]:
        """Lock the owner's row, which every transaction of the live projector updates first."""
        await connection.execute(
            select(OWNERS).where(OWNERS.c.topic == ROOM_TOPIC).with_for_update()
        )
        return await _positions(connection)


async def _positions(connection: AsyncConnection) -> dict[int, int]:
    rows = await connection.execute(
        select(POSITIONS.c.partition, POSITIONS.c.next_offset).where(
            POSITIONS.c.topic == ROOM_TOPIC
        )
    )
    return {row.partition: row.next_offset for row in rows}


def _index_names(table: Table) -> list[str]:
    return [str(table.primary_key.name), *(str(index.name) for index in table.indexes)]


def _index_statements(table: Table) -> list[str]:
    """The primary key and the indexes of a shadow, under names of their own."""
    shadow = shadow_name(table)
    key = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
    statements = [
        f'ALTER TABLE "{shadow}" ADD CONSTRAINT "{table.primary_key.name}{SUFFIX}" '
        f"PRIMARY KEY ({key})"
    ]
    for index in table.indexes:
        columns = ", ".join(f'"{column.name}"' for column in index.columns)
        where = index.dialect_options["postgresql"]["where"]
        suffix = "" if where is None else f" WHERE {where}"
        statements.append(f'CREATE INDEX "{index.name}{SUFFIX}" ON "{shadow}" ({columns}){suffix}')
    return statements


async def _first_difference(connection: AsyncConnection, table: Table) -> Difference | None:
    """Compare whole rows by key; order by the place on the log that the row came from."""
    key = [column.name for column in table.primary_key.columns]
    using = ", ".join(f'"{name}"' for name in key)
    partition = "partition" in table.columns
    order = 'coalesce(l."offset", s."offset")'
    place = "coalesce(l.partition, s.partition)" if partition else "NULL::int"
    statement = text(
        f"SELECT {place} AS partition, {order} AS at, l IS NULL AS missing, s IS NULL AS extra, "  # noqa: S608
        f"l::text AS live, s::text AS fold "
        f'FROM "{table.name}" l FULL JOIN "{shadow_name(table)}" s USING ({using}) '
        f"WHERE l IS DISTINCT FROM s ORDER BY 1 NULLS FIRST, 2 LIMIT 1"
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    if row.live is None:
        what = f"missing in the projection: {row.fold[:300]}"
    elif row.fold is None:
        what = f"not on the log: {row.live[:300]}"
    else:
        what = f"is {row.live[:200]}, should be {row.fold[:200]}"
    return Difference(table.name, row.partition, row.at, what)
