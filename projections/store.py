"""Positions and effects in one transaction, fenced.

The trap (measured): raw asyncpg calls such as COPY inside SQLAlchemy's `begin()` are autocommit
until SQLAlchemy itself has executed something, because its BEGIN is sent lazily. So the first
statement of every transaction here is the fence, through Core.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Table, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engagement.domain import limits
from projections.projection import Placed, Projection, TableName
from projections.tables import OWNERS, POSITIONS, TIMELINE

LEASE_S = 5
"""A projector that has not renewed for so long may be replaced."""


class FencedError(Exception):
    """Somebody else owns the projections, or has moved their positions: nothing was written."""


def live(table: Table) -> str:
    """The physical name of a live table."""
    return table.name


class ProjectionStore:
    """The projections of one topic, written by one owner at a time."""

    def __init__(self, engine: AsyncEngine, topic: str, owner: str) -> None:
        self._engine = engine
        self._topic = topic
        self._owner = owner

    async def claim(self) -> bool:
        """Become the owner if nobody is, or if the owner has not renewed for `LEASE_S`."""
        stale = OWNERS.c.renewed_at < func.clock_timestamp() - func.make_interval(
            0, 0, 0, 0, 0, 0, LEASE_S
        )
        statement = (
            insert(OWNERS)
            .values(topic=self._topic, owner=self._owner, renewed_at=func.clock_timestamp())
            .on_conflict_do_update(
                index_elements=[OWNERS.c.topic],
                set_={"owner": self._owner, "renewed_at": func.clock_timestamp()},
                where=stale | (OWNERS.c.owner == self._owner),
            )
            .returning(OWNERS.c.owner)
        )
        async with self._engine.begin() as connection:
            return (await connection.execute(statement)).scalar_one_or_none() is not None

    async def release(self) -> None:
        """Let the next one begin at once."""
        async with self._engine.begin() as connection:
            await connection.execute(
                OWNERS.delete().where(OWNERS.c.topic == self._topic, OWNERS.c.owner == self._owner)
            )

    async def positions(self, partitions: Sequence[int]) -> dict[int, int]:
        """Next offset of each partition; 0 for one that was never folded."""
        async with self._engine.connect() as connection:
            known = await self._positions(connection)
        return {number: known.get(number, 0) for number in partitions}

    async def newest_ids(self, partition: int) -> list[str]:
        """Ids of the newest facts that were folded: the window in which repeats are dropped."""
        statement = (
            select(TIMELINE.c.event_id)
            .where(TIMELINE.c.partition == partition)
            .order_by(TIMELINE.c.offset.desc())
            .limit(limits.SEED_FACTS_PER_PARTITION)
        )
        async with self._engine.connect() as connection:
            ids = (await connection.execute(statement)).scalars().all()
        return list(reversed(ids))

    async def write(
        self,
        projections: Sequence[Projection],
        batch: Sequence[Placed],
        moves: Mapping[int, tuple[int, int]],
    ) -> int:
        """Fold a batch and move the positions; returns the number of facts written.

        `moves` maps each partition to (the position expected, the next one). Raises FencedError,
        and writes nothing, when another owner has taken over or a position is not as expected.
        """
        async with self.fenced(moves) as connection:
            raw = await _driver(connection)
            for projection in projections:
                rows = projection.fold(batch)
                if rows:
                    await projection.write(raw, rows, live)
            await self._move(connection, {number: to for number, (_, to) in moves.items()})
        return len(batch)

    @asynccontextmanager
    async def fenced(
        self, expected: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction that only the owner has, at the positions that it expects."""
        async with self._engine.begin() as connection:
            # Through Core and first: this is what sends BEGIN (see the module's text), and the
            # row lock is what keeps a successor out until we are done.
            renewed = await connection.execute(
                update(OWNERS)
                .where(OWNERS.c.topic == self._topic, OWNERS.c.owner == self._owner)
                .values(renewed_at=func.clock_timestamp())
            )
            if renewed.rowcount != 1:
                raise FencedError(f"{self._topic} belongs to another projector")
            known = await self._positions(connection)
            for number, (was, _) in expected.items():
                if known.get(number, 0) != was:
                    raise FencedError(
                        f"position of {self._topic}/{number} is {known.get(number, 0)}, "
                        f"expected {was}"
                    )
            yield connection

    async def _positions(self, connection: AsyncConnection) -> dict[int, int]:
        rows = await connection.execute(
            select(POSITIONS.c.partition, POSITIONS.c.next_offset).where(
                POSITIONS.c.topic == self._topic
            )
        )
        return {row.partition: row.next_offset for row in rows}

    async def _move(self, connection: AsyncConnection, positions: Mapping[int, int]) -> None:
        if not positions:
            return
        statement = insert(POSITIONS)
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=[POSITIONS.c.topic, POSITIONS.c.partition],
                set_={"next_offset": statement.excluded.next_offset},
            ),
            [
                {"topic": self._topic, "partition": number, "next_offset": to}
                for number, to in sorted(positions.items())
            ],
        )


async def fold_into(
    connection: AsyncConnection,
    projections: Sequence[Projection],
    batch: Sequence[Placed],
    name_of: TableName,
) -> None:
    """Write a batch into other tables than the live ones (rebuild, verify), in a transaction."""
    raw = await _driver(connection)
    for projection in projections:
        rows = projection.fold(batch)
        if rows:
            await projection.write(raw, rows, name_of)


async def _driver(connection: AsyncConnection) -> Any:
    """asyncpg's connection, for COPY and arrays; only after Core has opened the transaction."""
    if not connection.in_transaction():
        raise AssertionError("no transaction: raw calls would be autocommit")
    pooled = await connection.get_raw_connection()
    return pooled.driver_connection
