"""Positions, fence and outbox of a decider in PostgreSQL (the database half of its session)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, Integer, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engagement.database.claims import Claims
from engagement.database.processor_tables import CLAIM_TABLES
from engagement.errors import FencedError, PositionMovedError

# The fence. Also the statement that makes SQLAlchemy send its BEGIN: raw calls on the driver would
# be autocommit before it.
_LOCK: Final = text("""
    SELECT "partition", next_offset, owner FROM decider_positions
    WHERE topic = :topic AND "partition" = ANY(:partitions)
    ORDER BY "partition" FOR UPDATE
""").bindparams(bindparam("partitions", type_=ARRAY(Integer)))

_MOVE: Final = text("""
    UPDATE decider_positions AS position SET next_offset = moved."end"
    FROM unnest(:partitions, :ends) AS moved("partition", "end")
    WHERE topic = :topic AND position."partition" = moved."partition"
""").bindparams(
    bindparam("partitions", type_=ARRAY(Integer)), bindparam("ends", type_=ARRAY(BigInteger))
)

_KEEP: Final = """
    WITH given AS (
        SELECT * FROM unnest($2::integer[], $3::bytea[]) AS row("partition", records)
    ), numbered AS (
        UPDATE decider_positions AS position SET next_row = next_row + 1 FROM given
        WHERE topic = $1 AND position."partition" = given."partition"
        RETURNING position."partition", next_row - 1 AS number
    )
    INSERT INTO outbox (topic, "partition", number, records)
    SELECT $1, "partition", number, records FROM numbered JOIN given USING ("partition")
    RETURNING "partition", number
"""
_FORGET: Final = """
    DELETE FROM outbox USING unnest($2::integer[], $3::bigint[]) AS told("partition", number)
    WHERE topic = $1 AND outbox."partition" = told."partition" AND outbox.number <= told.number
"""
_LEFT: Final = text("""
    SELECT number, records FROM outbox
    WHERE topic = :topic AND "partition" = :partition ORDER BY number
""")


class DeciderTransaction:
    """One transaction with its positions locked; `connection` is the driver's (asyncpg)."""

    def __init__(self, connection: Any, topic: str) -> None:
        self.connection = connection
        self._topic = topic

    async def keep(self, records: Mapping[int, bytes]) -> dict[int, int]:
        """Put a row into each partition's outbox; its number, one more than of the row before."""
        if not records:
            return {}
        rows = await self.connection.fetch(
            _KEEP, self._topic, list(records), list(records.values())
        )
        return {row["partition"]: row["number"] for row in rows}

    async def forget(self, up_to: Mapping[int, int]) -> None:
        """Take each partition's rows out that are on the log."""
        if up_to:
            await self.connection.execute(_FORGET, self._topic, list(up_to), list(up_to.values()))


class DeciderStore:
    """One database session that owns partitions of a topic."""

    def __init__(self, connection: AsyncConnection, topic: str, partitions: int) -> None:
        self._connection = connection
        self._topic = topic
        self._claims = Claims(connection, topic, partitions, CLAIM_TABLES)

    async def register(self, name: str) -> None:
        """Take part in the sharing. `name` is for people."""
        await self._claims.register(name)

    async def renew(self) -> dict[int, int]:
        """Positions of what is ours now. Raises FencedError when we were taken for dead."""
        return await self._claims.renew()

    async def release(self) -> None:
        """Others may claim everything at once."""
        await self._claims.release()

    async def unpublished(self, partition: int) -> Sequence[tuple[int, bytes]]:
        """The rows of the outbox, in order."""
        async with self._connection.begin():
            found = await self._connection.execute(
                _LEFT, {"topic": self._topic, "partition": partition}
            )
            return [(row.number, row.records) for row in found]

    @asynccontextmanager
    async def transaction(
        self, spans: Mapping[int, tuple[int, int]]
    ) -> AsyncIterator[DeciderTransaction]:
        """Lock and compare the positions; at the end move them and commit.

        `spans`: partition → (where it must be, where it is afterwards). Raises FencedError or
        PositionMovedError, and has then written nothing.
        """
        async with self._connection.begin():
            await self._lock(spans)
            pooled = await self._connection.get_raw_connection()
            driver: Any = pooled.driver_connection
            if not driver.is_in_transaction():
                raise AssertionError("BEGIN was not sent: raw calls would be autocommit")
            yield DeciderTransaction(driver, self._topic)
            if spans:
                await self._connection.execute(
                    _MOVE,
                    {
                        "topic": self._topic,
                        "partitions": list(spans),
                        "ends": [end for _, end in spans.values()],
                    },
                )

    async def _lock(self, spans: Mapping[int, tuple[int, int]]) -> None:
        found = await self._connection.execute(
            _LOCK, {"topic": self._topic, "partitions": sorted(spans)}
        )
        known = {row.partition: row for row in found}
        for partition, (start, _) in spans.items():
            row = known.get(partition)
            if row is None or row.owner != self._claims.token:
                owner = None if row is None else row.owner
                raise FencedError(
                    f"{self._topic}/{partition} belongs to {owner}, not to {self._claims.token}"
                )
            if row.next_offset != start:
                raise PositionMovedError(
                    f"{self._topic}/{partition} is at {row.next_offset}, not at {start}"
                )
