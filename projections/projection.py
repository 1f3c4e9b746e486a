"""What a projection is: the facts it wants, how it folds a batch of them, and how it writes."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct
from sqlalchemy import Table

from engagement.domain.events import RawFact


class Placed(Struct, frozen=True):
    """A fact and where it stands on the log."""

    partition: int
    offset: int
    raw: RawFact
    data: Any
    """The decoded data, or None for facts whose data no projection needs."""
    value: str
    """The record's value, as it is on the log."""


TableName = Callable[[Table], str]
"""Which physical table stands for a declared one: itself, or the one that a rebuild fills."""


class Projection(Protocol):
    """One fold of the room topic into tables. `fold` is pure, `write` runs in a transaction.

    Facts of a partition come in order and once; positions are the runner's, not the projection's.
    """

    name: str
    tables: tuple[Table, ...]

    def fold(self, batch: Sequence[Placed]) -> Any:
        """The rows that a batch makes, or a falsy value when it makes none."""
        ...

    async def write(self, connection: Any, rows: Any, name_of: TableName) -> None:
        """Write the rows over an asyncpg connection that is inside a transaction."""
        ...


async def copy(connection: Any, table: str, columns: Sequence[str], rows: Sequence[Any]) -> None:
    """COPY rows into an append table."""
    await connection.copy_records_to_table(table, columns=list(columns), records=rows)


async def upsert(
    connection: Any, statement: str, rows: Sequence[tuple[Any, ...]], types: Sequence[str]
) -> None:
    """Run `statement`, whose `{rows}` becomes an unnest of the columns, sorted by their key.

    Sorted, so that two writers could never wait for each other in a circle.
    """
    ordered = sorted(rows)
    columns = [list(column) for column in zip(*ordered, strict=True)]
    unnest = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))
    await connection.execute(statement.format(rows=f"unnest({unnest})"), *columns)
