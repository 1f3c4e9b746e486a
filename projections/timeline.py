"""Timeline: every fact of a room once, byte for byte, to be read in the order of its media time.

A fact is on the log twice when its writer died between writing and remembering. Both records have
the same id, however far apart they are, and the first of them is the fact: the unique index on
(room, id) knows all of them. Batches are written as if there were no repeats, because there hardly
ever are any; the transaction that meets one is done again, carefully.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import structlog
from sqlalchemy import ARRAY, Table, and_, bindparam, column, delete, func, select

from engagement.domain.events import DATA_OF_TYPE
from projections import metrics
from projections.projection import Placed, Row, Target
from projections.tables import TIMELINE

log = structlog.get_logger()

PARTITION: Final = 0
OFFSET: Final = 1
ROOM: Final = 2
EVENT_ID: Final = 6
"""Columns of a row."""


class TimelineProjection:
    """Append only; one row per fact."""

    name: ClassVar[str] = "timeline"
    tables: ClassVar[tuple[Table, ...]] = (TIMELINE,)
    types: ClassVar[frozenset[str]] = frozenset(DATA_OF_TYPE)

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def take(self, fact: Placed) -> None:
        """One more row."""
        self._rows.append(row_of(fact))

    async def write(self, target: Target) -> int:
        """COPY; raises asyncpg.UniqueViolationError when one is there already."""
        rows = self._rows
        if rows and target.careful:
            await _clear_the_way(target, rows)
            rows = await _without_repeats(target, rows)
        if rows:
            await target.copy(TIMELINE, rows)
        metrics.REPEATS.inc(len(self._rows) - len(rows))
        return len(rows)


def row_of(fact: Placed) -> Row:
    """The row of a fact."""
    raw = fact.raw
    return (
        fact.partition,
        fact.offset,
        raw.roomid,
        raw.mediaepoch,
        raw.mediapts,
        raw.type,
        raw.id,
        raw.actorid,
        fact.at,
        fact.event,
    )


async def _clear_the_way(target: Target, rows: Iterable[Row]) -> None:
    """Take away rows at and after the position: the fold has not come to them, so it is not
    the fold that wrote them."""
    first: dict[int, int] = {}
    for row in rows:
        first.setdefault(row[PARTITION], row[OFFSET])
    for partition, offset in sorted(first.items()):
        strays = delete(TIMELINE).where(
            TIMELINE.c.partition == partition, TIMELINE.c.offset >= offset
        )
        found = (await target.execute(strays)).rowcount
        if found:
            log.error("timeline.strays", partition=partition, offset=offset, rows=found)


async def _without_repeats(target: Target, rows: list[Row]) -> list[Row]:
    """Without the facts that the table or an earlier row has already."""
    wanted: dict[tuple[str, str], Row] = {}
    for row in rows:
        wanted.setdefault((row[ROOM], row[EVENT_ID]), row)
    known = await target.execute(
        _KNOWN, {"rooms": [room for room, _ in wanted], "ids": [fact for _, fact in wanted]}
    )
    for room, fact in known:
        del wanted[room, fact]
    return list(wanted.values())


def _known() -> Any:
    text = TIMELINE.c.room.type
    asked = (
        func.unnest(bindparam("rooms", type_=ARRAY(text)), bindparam("ids", type_=ARRAY(text)))
        .table_valued(column("room", text), column("id", text))
        .render_derived(name="asked")
    )
    same = and_(TIMELINE.c.room == asked.c.room, TIMELINE.c.event_id == asked.c.id)
    return select(TIMELINE.c.room, TIMELINE.c.event_id).join(asked, same)


_KNOWN: Final = _known()
