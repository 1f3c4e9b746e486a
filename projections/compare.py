"""Comparing tables of equal shape in two schemas: quickly by hashes, then exactly by rows."""

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


async def same_rows(
    connection: AsyncConnection,
    tables: Sequence[Table],
    other: str,
    start: Mapping[int, int],
    end: Mapping[int, int],
) -> bool:
    """Whether live tables and those of the schema `other` have equal hashes.

    The timeline never changes behind the position, so of it only the offsets from `start` to
    `end` of each partition are looked at. The other tables, which are small and change, are looked
    at whole when `start` is not empty: that is when both sides stand still at the same place.
    """
    for table in tables:
        if table is TIMELINE:
            strays = {"known": list(end)}
            if not start and not await _same(connection, table, other, _ELSEWHERE, strays):
                return False
            for partition, upper in end.items():
                bounds = {"part": partition, "low": start.get(partition), "high": upper}
                if not await _same(connection, table, other, _WITHIN, bounds):
                    return False
        elif start and not await _same(connection, table, other, "true", {}):
            return False
    return True


_WITHIN = (
    '"partition" = :part AND "offset" < :high '
    'AND (CAST(:low AS bigint) IS NULL OR "offset" >= :low)'
)

_ELSEWHERE = '"partition" <> ALL(CAST(:known AS integer[]))'


async def _same(
    connection: AsyncConnection, table: Table, other: str, where: str, bounds: dict[str, Any]
) -> bool:
    hashes = []
    for name in (f'"{table.name}"', f'{other}."{table.name}"'):
        statement = text(
            f"SELECT count(*), sum(hash_record_extended(r, 0)::numeric) "  # noqa: S608 - own names
            f"FROM {name} AS r WHERE {where}"
        )
        hashes.append(tuple((await connection.execute(statement, bounds)).one()))
    return hashes[0] == hashes[1]


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
