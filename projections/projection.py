"""What a projection is: the facts it wants, how it folds them, and where it writes the rows."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol

import asyncpg
from msgspec import Struct
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.ext.asyncio import AsyncConnection

from engagement.domain.events import RawFact
from projections.upserts import given

Row = tuple[Any, ...]
"""A row in its table's order of columns."""


class Placed(Struct, gc=False):
    """A fact and where it stands on the log."""

    partition: int
    offset: int
    raw: RawFact
    data: Any
    """One of `FactData`."""
    at: datetime
    event: str
    """The record's value, as it is on the log."""


class Target:
    """The tables that one transaction writes to: the live ones, or those of a rebuild."""

    def __init__(
        self,
        connection: AsyncConnection,
        driver: "asyncpg.Connection",
        schema: str | None,
        *,
        careful: bool,
    ) -> None:
        self._connection = connection
        self._driver = driver
        self._schema = schema
        self.careful = careful
        """Something of this batch is in the table already: find out what, leave it out."""

    async def copy(self, table: Table, rows: Iterable[Row]) -> None:
        """COPY rows into an append table. Raises asyncpg.UniqueViolationError."""
        await self._driver.copy_records_to_table(
            table.name,
            schema_name=self._schema,
            columns=[column.name for column in table.columns],
            records=rows,
        )

    async def merge(self, statement: Insert, table: Table, rows: Iterable[Row]) -> None:
        """Run one of the statements of `projections.upserts`."""
        await self._connection.execute(statement, given(table, rows))

    async def execute(self, statement: Any, parameters: Mapping[str, Any] | None = None) -> Any:
        """Run any statement in the transaction."""
        return await self._connection.execute(statement, parameters)


class Projection(Protocol):
    """The fold of a run of facts, in log order per partition, into the rows of some tables.

    One instance folds one batch (`write` merges it into what is there), or a whole log (`rows`
    is then what the tables must hold). `take` is pure and may see a fact twice.
    """

    name: ClassVar[str]
    tables: ClassVar[tuple[Table, ...]]
    types: ClassVar[frozenset[str]]
    """The facts it wants."""

    def take(self, fact: Placed) -> None:
        """Fold one fact."""
        ...

    async def write(self, target: Target) -> int:
        """Merge into the tables, inside a transaction; returns the number of rows."""
        ...


class KeyedProjection(Projection, Protocol):
    """A projection that is small enough to be folded from a whole log in memory."""

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """What the tables hold after the facts taken so far."""
        ...
