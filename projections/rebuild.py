"""Rebuilding: the same tables, folded from offset 0 in a schema of their own, compared, moved over.

The live tables are read and written all the while. Only for the last records the live positions
are locked, so that both sides stand at the same place when they are compared and exchanged; what
was compared before that is not compared again. Readers see the old tables or the new ones, which
hold the same.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct
from sqlalchemy import Delete, Index, delete, func, insert, select, text, tuple_
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateIndex, CreateTable

from engagement.domain.events import ROOM_TOPIC
from engagement.errors import ConflictError, UnavailableError
from engagement.log.reader import LogReader
from projections.compare import Difference, first_difference, same_history, same_since
from projections.projection import Projection
from projections.rebuild_fold import SCHEMA, Folded, fold_up_to
from projections.rebuild_share import SHARED_RECORDS_MIN, RebuildShare
from projections.room_facts import FactReader
from projections.tables import POSITIONS, TIMELINE

RETIRED: Final = "engagement_retired"
"""Where the old ones go for the moment between the exchange and their end."""
_LOCK_KEY: Final = 0x72656264
"""Advisory lock: one rebuild at a time."""
_CLOSE_RECORDS: Final = 2_000
"""From here on the live projector may wait: half a batch, some hundredths of a second."""
_ROUNDS_MAX: Final = 50
"""A rebuild that does not come close in so many rounds is slower than the live flow."""
_SWAP_TRIES_MAX: Final = 50
_LOCK_TIMEOUT_MS: Final = 500
"""Below PostgreSQL's `deadlock_timeout`: it is the exchange that gives way, never a reader."""
_SWAP_PAUSE_S: Final = 0.1
_INDEX_MEMORY_MB: Final = 128
"""For sorting; three times the server's default."""
_INDEXES_AT_ONCE: Final = 2
"""Each is one core's work."""


def _forget_repeats() -> Delete:
    """Of facts that are on the log more than once, all but the first."""
    number = func.row_number().over(
        partition_by=[TIMELINE.c.room, TIMELINE.c.event_id],
        order_by=[TIMELINE.c.partition, TIMELINE.c.offset],
    )
    ranked = select(TIMELINE.c.partition, TIMELINE.c.offset, number.label("number")).subquery()
    repeats = select(ranked.c.partition, ranked.c.offset).where(ranked.c.number > 1)
    return delete(TIMELINE).where(tuple_(TIMELINE.c.partition, TIMELINE.c.offset).in_(repeats))


_FORGET_REPEATS: Final = _forget_repeats()


class Rebuilt(Struct, frozen=True):
    """What a rebuild did."""

    records: int
    facts: int
    difference: Difference | None
    """Between the live tables and the fold of the log, before the exchange."""
    pause_s: float
    """How long the live projector had to wait."""


Tell = Callable[[int, int], None]
"""Told (records folded, records that the live projections stand at) as often as one likes."""


async def rebuild(
    engine: AsyncEngine,
    bootstrap: str,
    projections: Sequence[type[Projection]],
    tell: Tell,
    share: RebuildShare | None = None,
) -> Rebuilt:
    """Replace the tables of these projections by the fold of the log, up to the live position.

    With `share`, another process folds half of a long log.

    Raises ConflictError when another rebuild runs, UnavailableError when it cannot catch up.
    """
    async with (
        engine.connect() as connection,
        LogReader(bootstrap, ROOM_TOPIC) as reader,
        _alone(connection),
    ):
        folding = _Rebuild(engine, connection, reader, projections, tell)
        try:
            await folding.prepare()
            await folding.catch_up(share)
            return await folding.exchange()
        finally:
            await connection.rollback()
            await _drop_schemas(connection)


@asynccontextmanager
async def _alone(connection: AsyncConnection) -> AsyncIterator[None]:
    locked = await connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK_KEY})"))
    held = locked.scalar_one()
    await connection.commit()
    if not held:
        raise ConflictError("another rebuild is running", code="rebuild_running")
    try:
        yield
    finally:
        await connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK_KEY})"))
        await connection.commit()


async def _drop_schemas(connection: AsyncConnection) -> None:
    for schema in (SCHEMA, RETIRED):
        await connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
    await connection.commit()


class _Rebuild:
    """One rebuild: the tables, and how far they are folded."""

    def __init__(
        self,
        engine: AsyncEngine,
        connection: AsyncConnection,
        reader: LogReader,
        projections: Sequence[type[Projection]],
        tell: Tell,
    ) -> None:
        self._engine = engine
        self._connection = connection
        self._reader = reader
        self._projections = projections
        self._tell = tell
        self._tables = [table for each in projections for table in each.tables]
        self._next: dict[int, int] = {}
        self._facts: FactReader
        self._records = self._folded_facts = 0
        self._live_schema = ""

    async def prepare(self) -> None:
        """Make the tables; begin at offset 0."""
        partitions = await self._reader.partitions()
        self._facts = FactReader(partitions)
        self._next = dict.fromkeys(range(partitions), 0)
        await _drop_schemas(self._connection)
        named = await self._connection.execute(text("SELECT current_schema()"))
        self._live_schema = named.scalar_one()
        await self._connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await self._connection.commit()
        # From here on the connection's tables are those of the schema.
        self._connection = await self._connection.execution_options(
            schema_translate_map={None: SCHEMA}
        )
        for table in (POSITIONS, *self._tables):
            await self._connection.execute(CreateTable(table))
        await self._connection.execute(
            insert(POSITIONS),
            [{"topic": ROOM_TOPIC, "partition": number, "next_offset": 0} for number in self._next],
        )
        await self._connection.commit()

    async def catch_up(self, share: RebuildShare | None) -> None:
        """Fold until the live positions are close; make the indexes when most of it is there."""
        goal = await self._live_positions()
        is_long = self._left(goal) >= SHARED_RECORDS_MIN and len(goal) > 1
        if share is not None and is_long:
            await self._fold_shared(goal, share)
        else:
            await self._fold_to(goal)
        await self._index()
        for _ in range(_ROUNDS_MAX):
            goal = await self._live_positions()
            if self._left(goal) <= _CLOSE_RECORDS:
                return
            await self._fold_to(goal)
        raise UnavailableError("the live projections are faster than the rebuild", code="too_slow")

    async def exchange(self) -> Rebuilt:
        """Compare, and put the new tables in the place of the live ones."""
        compared = dict(self._next)
        same, _ = await asyncio.gather(self._same_history(compared), self._analyze())
        loop = asyncio.get_running_loop()
        for _ in range(_SWAP_TRIES_MAX):
            async with self._engine.connect() as live:
                began_s = loop.time()
                try:
                    difference = await self._swap(live, compared, same)
                except DBAPIError as error:
                    if not _is_lock_timeout(error):
                        raise
                    await live.rollback()
                else:
                    pause_s = loop.time() - began_s
                    return Rebuilt(self._records, self._folded_facts, difference, pause_s)
            await asyncio.sleep(_SWAP_PAUSE_S)
        raise UnavailableError(
            "long-running reads of the projections do not end", code="tables_in_use"
        )

    async def _analyze(self) -> None:
        async with self._engine.connect() as connection:
            for table in self._tables:
                await connection.execute(text(f'ANALYZE {SCHEMA}."{table.name}"'))
            await connection.commit()

    async def _same_history(self, end: Mapping[int, int]) -> bool:
        async with self._engine.connect() as live, live.begin(), self._connection.begin():
            for each in (live, self._connection):
                # All of it is read: not the way by the index that sessions here are told to go.
                await each.execute(text("SET LOCAL enable_seqscan = on"))
            return await same_history(live, self._connection, self._tables, SCHEMA, end)

    async def _swap(
        self, live: AsyncConnection, compared: Mapping[int, int], same: bool
    ) -> Difference | None:
        async with live.begin():
            await live.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
            # Whoever folds takes this lock first, too: the live projector waits from here on.
            goal = await _positions(live, lock=True)
            await self._fold_to(goal)
            if same and await same_since(live, self._tables, SCHEMA, compared, goal):
                difference = None
            else:
                difference = await first_difference(live, self._tables, SCHEMA)
            names = ", ".join(f'"{table.name}"' for table in self._tables)
            await live.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
            await live.execute(text(f"CREATE SCHEMA {RETIRED}"))
            for table in self._tables:
                await live.execute(text(f'ALTER TABLE "{table.name}" SET SCHEMA {RETIRED}'))
                await live.execute(
                    text(f'ALTER TABLE {SCHEMA}."{table.name}" SET SCHEMA "{self._live_schema}"')
                )
        return difference

    async def _index(self) -> None:
        """Make the indexes: sorting once is half the work of inserting row by row."""
        indexes = [
            index
            for table in self._tables
            for index in sorted(table.indexes, key=lambda each: (not each.unique, str(each.name)))
        ]
        # The unique ones first and alone: repeats are taken out before others count them.
        for index in (index for index in indexes if index.unique):
            await self._make_unique(index)
        waiting = iter([index for index in indexes if not index.unique])

        async def make() -> None:
            async with self._engine.connect() as plain:
                connection = await plain.execution_options(schema_translate_map={None: SCHEMA})
                for index in waiting:
                    async with connection.begin():
                        await _sort_in_memory(connection)
                        await connection.execute(CreateIndex(index))

        await asyncio.gather(*(make() for _ in range(_INDEXES_AT_ONCE)))

    async def _make_unique(self, index: Index) -> None:
        async with self._connection.begin():
            await _sort_in_memory(self._connection)
            try:
                async with self._connection.begin_nested():
                    await self._connection.execute(CreateIndex(index))
            except IntegrityError:
                # Repeats are rare: looked for only when the index has found one.
                await self._connection.execute(_FORGET_REPEATS)
                await self._connection.execute(CreateIndex(index))

    async def _live_positions(self) -> dict[int, int]:
        async with self._engine.connect() as live:
            return await _positions(live)

    def _left(self, goal: Mapping[int, int]) -> int:
        return sum(max(0, goal.get(number, 0) - at) for number, at in self._next.items())

    async def _fold_to(self, goal: Mapping[int, int]) -> None:
        total = sum(goal.values())
        done = Folded(self._records, self._folded_facts)

        def told(folded: Folded) -> None:
            self._count(done, folded)
            self._tell(sum(self._next.values()), total)

        await fold_up_to(
            *(self._connection, self._reader, self._projections, self._facts),
            self._next,
            goal,
            told,
        )

    async def _fold_shared(self, goal: Mapping[int, int], share: RebuildShare) -> None:
        """The first and long way: half of it in another process."""
        mine, theirs = _halves(goal)
        total, elsewhere = sum(goal.values()), 0
        own = {number: self._next[number] for number in mine}
        done = Folded(self._records, self._folded_facts)

        def told(folded: Folded) -> None:
            self._count(done, folded)
            self._tell(sum(own.values()) + elsewhere, total)

        def told_elsewhere(records: int) -> None:
            nonlocal elsewhere
            elsewhere = records

        names = [projection.name for projection in self._projections]
        other = asyncio.create_task(share.fold(theirs, len(self._next), names, told_elsewhere))
        try:
            await fold_up_to(
                *(self._connection, self._reader, self._projections, self._facts), own, mine, told
            )
            folded = await other
        finally:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
        self._next.update(mine)
        self._next.update(theirs)
        self._count(Folded(self._records, self._folded_facts), folded)

    def _count(self, before: Folded, folded: Folded) -> None:
        self._records = before.records + folded.records
        self._folded_facts = before.facts + folded.facts


def _halves(goal: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Two shares of about the same number of records."""
    halves: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for number, records in sorted(goal.items(), key=lambda item: -item[1]):
        min(halves, key=lambda half: sum(half.values()))[number] = records
    return halves


async def _sort_in_memory(connection: AsyncConnection) -> None:
    await connection.execute(text(f"SET LOCAL maintenance_work_mem = '{_INDEX_MEMORY_MB}MB'"))


async def _positions(live: AsyncConnection, *, lock: bool = False) -> dict[int, int]:
    statement = (
        select(POSITIONS.c.partition, POSITIONS.c.next_offset)
        .where(POSITIONS.c.topic == ROOM_TOPIC)
        .order_by(POSITIONS.c.partition)
    )
    found = await live.execute(statement.with_for_update() if lock else statement)
    return {row.partition: row.next_offset for row in found}


def _is_lock_timeout(error: DBAPIError) -> bool:
    """SQLSTATE lock_not_available or deadlock_detected."""
    return getattr(error.orig, "sqlstate", None) in ("55P03", "40P01")
