"""Comparing tables of equal shape in two schemas: quickly by hashes, then exactly by rows."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.tables import TIMELINE


class Difference(Struct, frozen=True):
    """The first row in which a live table is not the fold of the log."""

    table: str
    partition: int
    offset: int
    """Of the fact that the row came from, or would have come from."""
    what: str

    def __str__(self) -> str:
        return f"{self.table}, partition {self.partition}, offset {self.offset}: {self.what}"


async def same_history(
    live: AsyncConnection,
    beside: AsyncConnection,
    tables: Sequence[Table],
    other: str,
    end: Mapping[int, int],
) -> bool:
    """Whether the live timeline and that of the schema `other` have equal hashes up to `end`.

    A timeline never changes behind the position, so this can be seen at leisure, before both
    sides stand still; each side is read by a connection of its own. Rows of partitions that are
    not in `end` are strays, and count. Other tables are left to `same_since`.
    """
    if TIMELINE not in tables:
        return True
    bounds = {"highs": [end.get(partition) for partition in range(max(end, default=-1) + 1)]}
    ours, theirs = await asyncio.gather(
        _hash(live, f'"{TIMELINE.name}"', _BEHIND, bounds),
        _hash(beside, f'{other}."{TIMELINE.name}"', _BEHIND, bounds),
    )
    return ours == theirs


async def same_since(
    connection: AsyncConnection,
    tables: Sequence[Table],
    other: str,
    start: Mapping[int, int],
    end: Mapping[int, int],
) -> bool:
    """Whether live tables and those of the schema `other`, which both stand at `end`, have equal
    hashes: the timeline from `start` on, the other tables, which are small and change, whole.
    """
    for table in tables:
        spans: list[tuple[str, dict[str, int]]] = [("true", {})]
        if table is TIMELINE:
            spans = [
                (_WITHIN, {"part": partition, "low": start.get(partition, 0), "high": high})
                for partition, high in end.items()
            ]
        for where, bounds in spans:
            ours = await _hash(connection, f'"{table.name}"', where, bounds)
            theirs = await _hash(connection, f'{other}."{table.name}"', where, bounds)
            if ours != theirs:
                return False
    return True


_WITHIN = '"partition" = :part AND "offset" >= :low AND "offset" < :high'

_BEHIND = (
    'r."offset" < coalesce((CAST(:highs AS bigint[]))[r."partition" + 1], 9223372036854775807)'
)


async def _hash(
    connection: AsyncConnection, name: str, where: str, bounds: Mapping[str, Any]
) -> tuple[Any, ...]:
    """How many rows there are, and the sum of their hashes: 64 bits each, in no order."""
    # The sum of bigints is exact (PostgreSQL adds them up in 128 bits).
    statement = text(
        f"SELECT count(*), sum(hash_record_extended(r, 0)) "  # noqa: S608 - own names
        f"FROM {name} AS r WHERE {where}"
    )
    return tuple((await connection.execute(statement, bounds)).one())


async def first_difference(
    connection: AsyncConnection, tables: Sequence[Table], other: str
) -> Difference | None:
    """The first row, in log order, that live tables and those of `other` do not share."""
    for table in tables:
        key = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
        offset = _offset_of(table)
        statement = text(
            f"SELECT coalesce(f.partition, l.partition) AS partition, "  # noqa: S608 - own names
            f"coalesce(f.{offset}, l.{offset}, 0) AS at, l::text AS live, f::text AS fold "
            f'FROM "{table.name}" l FULL JOIN {other}."{table.name}" f USING ({key}) '
            f"WHERE l IS DISTINCT FROM f ORDER BY 1, 2 LIMIT 1"
        )
        row = (await connection.execute(statement)).one_or_none()
        if row is not None:
            return Difference(table.name, row.partition, row.at, _describe(row.live, row.fold))
    return None


def _offset_of(table: Table) -> str:
    return '"offset"' if "offset" in table.columns else "opened_offset"


def _describe(live: str | None, fold: str | None) -> str:
    if live is None:
        return f"the fact is missing: {_short(fold)}"
    if fold is None:
        return f"the row is not of the log: {_short(live)}"
    return f"the row is {_short(live)}, the log says {_short(fold)}"


def _short(row: str | None) -> str:
    return str(row)[:300]
