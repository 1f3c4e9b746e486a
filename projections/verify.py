"""Verifying: are the live tables the fold of the log, up to the position that they name?

The log is folded once more in memory, in one snapshot of the database and while the projector goes
on. The timeline, which may be long, is compared in a stream, row by row; the other tables are
small. Nothing is written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC
from engagement.log.codec import PoisonError
from engagement.log.reader import LogReader
from projections.compare import Difference
from projections.projection import Placed, Projection, Row
from projections.rebuild import Tell
from projections.room_facts import FactReader
from projections.tables import POSITIONS, TIMELINE
from projections.timeline import EVENT_ID, OFFSET, ROOM, TimelineProjection, row_of

_PREFETCH_ROWS = 5_000
_COLUMNS = ", ".join(f'"{column.name}"' for column in TIMELINE.columns)
_ROWS_SQL = f"""
    SELECT {_COLUMNS} FROM timeline WHERE "partition" = $1 ORDER BY "offset"
"""  # noqa: S608 - columns of ours
_FIRST_SQL = """
    SELECT min("offset") FROM timeline WHERE room = $1 AND event_id = $2 AND "offset" < $3
"""


class Verified(Struct, frozen=True):
    """What was compared, and the first difference."""

    records: int
    facts: int
    poison: int
    """Records that are no facts; they are in the dead letters."""
    difference: Difference | None


async def verify(
    engine: AsyncEngine, bootstrap: str, projections: Sequence[type[Projection]], tell: Tell
) -> Verified:
    """Compare partition by partition; stops at the first partition with a difference."""
    async with engine.connect() as fresh, LogReader(bootstrap, ROOM_TOPIC) as reader:
        connection = await fresh.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            # A command that waits for its log is no sleeper.
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            found = await connection.execute(
                select(POSITIONS.c.partition, POSITIONS.c.next_offset)
                .where(POSITIONS.c.topic == ROOM_TOPIC)
                .order_by(POSITIONS.c.partition)
            )
            positions = {row.partition: row.next_offset for row in found}
            facts = FactReader(await reader.partitions())
            work = _Verification(connection, reader, facts, sum(positions.values()), tell)
            for partition, end in positions.items():
                difference = await work.partition(projections, partition, end)
                if difference is not None:
                    break
            else:
                difference = await work.strays(projections, positions)
            return Verified(work.records, work.facts, work.poison, difference)


class _Verification:
    """Counts, over all partitions."""

    def __init__(
        self,
        connection: AsyncConnection,
        reader: LogReader,
        facts: FactReader,
        total: int,
        tell: Tell,
    ) -> None:
        self.records = self.facts = self.poison = 0
        self._connection = connection
        self._reader = reader
        self._facts_reader = facts
        self._total = total
        self._tell = tell

    async def partition(
        self, projections: Sequence[type[Projection]], partition: int, end: int
    ) -> Difference | None:
        """The first difference of this partition's rows, table by table."""
        pooled = await self._connection.get_raw_connection()
        driver: Any = pooled.driver_connection
        timeline = _TimelineCheck(driver, partition) if TimelineProjection in projections else None
        keyed: list[Any] = [each() for each in projections if each is not TimelineProjection]
        if timeline is not None:
            await timeline.begin()
        await self._reader.assign({partition: 0})
        async for records in self._reader.read_to(
            {partition: end}, limits.PROJECTION_BATCH_RECORDS
        ):
            placed = self._read(records)
            _fold(keyed, placed)
            if timeline is not None:
                difference = await timeline.take(placed)
                if difference is not None:
                    return difference
            self.records += len(records)
            self.facts += len(placed)
            self._tell(self.records, self._total)
        if timeline is not None:
            difference = await timeline.end(end)
            if difference is not None:
                return difference
        for fold in keyed:
            for table, rows in fold.rows().items():
                difference = await self._keyed(table, rows, partition)
                if difference is not None:
                    return difference
        return None

    async def strays(
        self, projections: Sequence[type[Projection]], known: Mapping[int, int]
    ) -> Difference | None:
        """A row of a partition that does not exist."""
        for projection in projections:
            for table in projection.tables:
                statement = select(table).where(table.c.partition.not_in(list(known))).limit(1)
                row = (await self._connection.execute(statement)).one_or_none()
                if row is not None:
                    names = [column.name for column in table.columns]
                    what = _describe(names, tuple(row), None)
                    return Difference(table.name, row.partition, -1, what)
        return None

    def _read(self, records: Iterable[Any]) -> list[Placed]:
        placed = []
        for record in records:
            try:
                placed.append(self._facts_reader.read(record))
            except PoisonError:
                self.poison += 1
        return placed

    async def _keyed(
        self, table: Table, expected: Iterable[Row], partition: int
    ) -> Difference | None:
        keys = len(table.primary_key.columns)
        names = [column.name for column in table.columns]
        place = names.index("offset" if "offset" in names else "opened_offset")
        found = await self._connection.execute(select(table).where(table.c.partition == partition))
        live = {tuple(row)[:keys]: tuple(row) for row in found}
        fold = {row[:keys]: row for row in expected}
        wrong = [key for key in live.keys() | fold.keys() if live.get(key) != fold.get(key)]
        if not wrong:
            return None

        def offset_of(key: tuple[Any, ...]) -> int:
            return int(fold.get(key, live.get(key, ()))[place] or 0)

        first = min(wrong, key=lambda key: (offset_of(key), key))
        what = _describe(names, live.get(first), fold.get(first))
        return Difference(table.name, partition, offset_of(first), what)


def _fold(projections: Sequence[Projection], facts: Iterable[Placed]) -> None:
    takers: dict[str, list[Callable[[Placed], None]]] = {}
    for projection in projections:
        for kind in projection.types:
            takers.setdefault(kind, []).append(projection.take)
    for fact in facts:
        for take in takers.get(fact.raw.type, ()):
            take(fact)


class _TimelineCheck:
    """Goes along a partition's rows as the facts of the log come."""

    def __init__(self, driver: Any, partition: int) -> None:
        self._driver = driver
        self._partition = partition
        self._cursor: Any = None
        self._rows: list[Any] = []
        self._at = 0

    async def begin(self) -> None:
        """Open a cursor over the rows."""
        statement = await self._driver.prepare(_ROWS_SQL)
        self._cursor = await statement.cursor(self._partition)

    async def take(self, facts: Iterable[Placed]) -> Difference | None:
        """Compare the rows of these facts."""
        for fact in facts:
            expected = row_of(fact)
            row = await self._peek()
            if row is not None and row[OFFSET] < expected[OFFSET]:
                return self._difference(row, None)
            if row is None or row[OFFSET] > expected[OFFSET]:
                if not await self._is_repeat(expected):
                    return self._difference(None, expected)
                continue
            if row != expected:
                return self._difference(row, expected)
            self._at += 1
        return None

    async def end(self, end: int) -> Difference | None:
        """Nothing may be left."""
        row = await self._peek()
        return None if row is None else self._difference(row, None)

    async def _peek(self) -> Row | None:
        if self._at >= len(self._rows):
            self._rows = await self._cursor.fetch(_PREFETCH_ROWS)
            self._at = 0
            if not self._rows:
                return None
        return tuple(self._rows[self._at])

    async def _is_repeat(self, expected: Row) -> bool:
        key = (expected[ROOM], expected[EVENT_ID], expected[OFFSET])
        return await self._driver.fetchval(_FIRST_SQL, *key) is not None

    def _difference(self, live: Row | None, fold: Row | None) -> Difference:
        known = fold or live or ()
        names = [column.name for column in TIMELINE.columns]
        return Difference(
            TIMELINE.name, self._partition, known[OFFSET], _describe(names, live, fold)
        )


def _describe(names: Sequence[str], live: Row | None, fold: Row | None) -> str:
    if live is None:
        return f"the fact is on the log and not in the table: {_named(names, fold)}"
    if fold is None:
        return f"the row is not of the log: {_named(names, live)}"
    wrong = [
        f"{name} is {is_!r:.120}, the log says {says!r:.120}"
        for name, is_, says in zip(names, live, fold, strict=True)
        if is_ != says
    ]
    return "; ".join(wrong)


def _named(names: Sequence[str], row: Row | None) -> str:
    values: Mapping[str, Any] = dict(zip(names, row or (), strict=True))
    return ", ".join(f"{name}={value!r:.60}" for name, value in values.items() if name != "event")
