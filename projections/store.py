"""Effect and position in one transaction, fenced by the owner of the position.

The trap (measured): raw asyncpg calls such as COPY inside SQLAlchemy's `begin()` are autocommit
until SQLAlchemy itself has executed something, because its BEGIN is sent lazily. So the first
statement of every transaction here goes through Core, and it is the one that must come first
anyway: lock the positions and compare them.
"""

from collections.abc import Mapping
from typing import Any, Final

import asyncpg
from sqlalchemy import ARRAY, BigInteger, Integer, bindparam, column, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engagement.errors import FencedError, PositionMovedError
from projections.projection import Target
from projections.room_facts import Batch, Span
from projections.tables import POSITIONS

_LOCK: Final = (
    select(POSITIONS.c.partition, POSITIONS.c.next_offset, POSITIONS.c.owner)
    .where(
        POSITIONS.c.topic == bindparam("topic"),
        POSITIONS.c.partition == func.any(bindparam("partitions", type_=ARRAY(Integer))),
    )
    .order_by(POSITIONS.c.partition)
    .with_for_update()
)


def _move() -> Any:
    moved = (
        func.unnest(
            bindparam("partitions", type_=ARRAY(Integer)),
            bindparam("ends", type_=ARRAY(BigInteger)),
        )
        .table_valued(column("partition", Integer), column("end", BigInteger))
        .render_derived(name="moved")
    )
    return (
        update(POSITIONS)
        .where(POSITIONS.c.topic == bindparam("topic_"), POSITIONS.c.partition == moved.c.partition)
        .values(next_offset=moved.c.end)
    )


_MOVE: Final = _move()


class ProjectionStore:
    """Writes batches over one connection.

    `owner` is the token that the positions must carry; None for a rebuild, which is alone with its
    tables in a schema of its own.
    """

    def __init__(
        self, connection: AsyncConnection, topic: str, owner: int | None, schema: str | None = None
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._owner = owner
        self._schema = schema

    async def write(self, batch: Batch) -> int:
        """Commit a batch with its positions; returns the number of rows.

        Raises FencedError or PositionMovedError, and has then written nothing.
        """
        try:
            return await self._write(batch, careful=False)
        except asyncpg.UniqueViolationError:
            return await self._write(batch, careful=True)

    async def _write(self, batch: Batch, *, careful: bool) -> int:
        async with self._connection.begin():
            await self._lock(batch.spans)
            if not self._connection.sync_connection.in_transaction():  # type: ignore[union-attr]
                raise AssertionError("no transaction: raw calls would be autocommit")
            pooled = await self._connection.get_raw_connection()
            driver: Any = pooled.driver_connection
            if not driver.is_in_transaction():
                raise AssertionError("BEGIN was not sent: raw calls would be autocommit")
            target = Target(self._connection, driver, self._schema, careful=careful)
            rows = 0
            for projection in batch.projections:
                rows += await projection.write(target)
            await self._move(batch.spans)
        return rows

    async def _lock(self, spans: Mapping[int, Span]) -> None:
        """Take the positions' rows and compare them. The first statement: it sends BEGIN."""
        found = await self._connection.execute(
            _LOCK, {"topic": self._topic, "partitions": sorted(spans)}
        )
        known = {row.partition: row for row in found}
        for partition, span in spans.items():
            row = known.get(partition)
            if row is None or row.owner != self._owner:
                owner = None if row is None else row.owner
                raise FencedError(
                    f"{self._topic}/{partition} belongs to {owner}, not to {self._owner}"
                )
            if row.next_offset != span.start:
                raise PositionMovedError(
                    f"{self._topic}/{partition} is at {row.next_offset}, not at {span.start}"
                )

    async def _move(self, spans: Mapping[int, Span]) -> None:
        partitions = sorted(spans)
        await self._connection.execute(
            _MOVE,
            {
                "topic_": self._topic,
                "partitions": partitions,
                "ends": [spans[partition].end for partition in partitions],
            },
        )
