"""Who may work on which partitions of a topic: shared evenly, by leases in the database.

An owner is one database session with a token that is greater than every token before it. It
writes its token into the positions that it claims, and every transaction compares them: whoever
lost a partition commits nothing, however late it wakes up.

A partition can be claimed when its owner has released it, when the owner's session has ended
(its process was killed: at once), or when the owner has not renewed its lease (it was stopped, or
its machine is gone: after `PROJECTOR_LEASE_S`). An owner that stopped inside a transaction still
holds row locks; its session is terminated.
"""

# ruff: noqa: S608 - the names of tables are constants of ours
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import ARRAY, Integer, TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engagement.domain import limits
from engagement.errors import FencedError

log = structlog.get_logger()


@dataclass(frozen=True)
class ClaimTables:
    """Where positions and their owners are: two tables of this shape (see `projections.tables`)."""

    positions: str
    owners: str


class _Statements:
    """The statements over one pair of tables, whose names are constants of ours."""

    def __init__(self, tables: ClaimTables) -> None:
        positions, owners = tables.positions, tables.owners
        session_of = f"""
            SELECT FROM pg_stat_activity session
            WHERE session.pid = {owners}.pid AND session.backend_start = {owners}.connected_at
        """
        dead = f"""
            token <> :token
            AND (alive_until < clock_timestamp() OR NOT EXISTS ({session_of}))
        """
        self.create_positions = _over_partitions(f"""
            INSERT INTO {positions} (topic, "partition", next_offset)
            SELECT :topic, number, 0 FROM unnest(:partitions) AS number
            ON CONFLICT DO NOTHING
        """)
        self.register = text(f"""
            INSERT INTO {owners} (topic, name, pid, connected_at, alive_until)
            SELECT :topic, :name, pid, backend_start,
                   clock_timestamp() + make_interval(secs => :lease_s)
            FROM pg_stat_activity WHERE pid = pg_backend_pid()
            RETURNING token
        """)
        self.renew = text(f"""
            UPDATE {owners} SET alive_until = clock_timestamp() + make_interval(secs => :lease_s)
            WHERE token = :token
        """)
        self.alive = text(f"SELECT count(*) FROM {owners} WHERE topic = :topic AND NOT ({dead})")
        self.mine = text(f"""
            SELECT "partition", next_offset FROM {positions}
            WHERE topic = :topic AND owner = :token
        """)
        self.claim = _over_partitions(f"""
            UPDATE {positions} AS claimed SET owner = :token
            FROM (
                SELECT topic, "partition" FROM {positions}
                WHERE topic = :topic AND "partition" = ANY(:partitions) AND (
                    owner IS NULL
                    OR NOT EXISTS (SELECT FROM {owners} WHERE token = owner AND NOT ({dead}))
                )
                ORDER BY "partition" LIMIT :most FOR UPDATE SKIP LOCKED
            ) AS free
            WHERE claimed.topic = free.topic AND claimed."partition" = free."partition"
            RETURNING claimed."partition"
        """)
        self.release = _over_partitions(f"""
            UPDATE {positions} SET owner = NULL
            WHERE topic = :topic AND owner = :token AND "partition" = ANY(:partitions)
        """)
        self.forget_dead = text(f"""
            DELETE FROM {owners} WHERE topic = :topic AND {dead}
            AND NOT EXISTS (SELECT FROM {positions} WHERE owner = token)
        """)
        self.terminate_stuck = text(f"""
            SELECT pg_terminate_backend(session.pid), {owners}.name
            FROM {owners} JOIN pg_stat_activity session
              ON session.pid = {owners}.pid AND session.backend_start = {owners}.connected_at
            WHERE {owners}.topic = :topic AND token <> :token
              AND alive_until < clock_timestamp() - make_interval(secs => :patience_s)
              AND EXISTS (SELECT FROM {positions} WHERE owner = token)
        """)
        self.leave = text(f"DELETE FROM {owners} WHERE token = :token")


def _over_partitions(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("partitions", type_=ARRAY(Integer)))


_PATIENCE_S: Final = 2 * limits.PROJECTOR_CLAIM_S
"""How long partitions of a dead owner may stay locked before its session is terminated."""


class Claims:
    """The partitions that this session may fold."""

    def __init__(
        self, connection: AsyncConnection, topic: str, partitions: int, tables: ClaimTables
    ) -> None:
        self._sql = _Statements(tables)
        self._connection = connection
        self._topic = topic
        self._partitions = list(range(partitions))
        self.token = 0

    async def register(self, name: str) -> None:
        """Take part in the sharing. `name` is for people."""
        async with self._connection.begin():
            await self._run(self._sql.create_positions, partitions=self._partitions)
            found = await self._run(self._sql.register, name=name, lease_s=limits.PROJECTOR_LEASE_S)
            self.token = found.scalar_one()

    async def renew(self) -> dict[int, int]:
        """Stay alive, give away what is too much, claim what is free up to a fair share.

        Returns the position of every partition that is ours now. Raises FencedError when others
        have taken us for dead and forgotten us.
        """
        async with self._connection.begin():
            renewed = await self._run(self._sql.renew, lease_s=limits.PROJECTOR_LEASE_S)
            if renewed.rowcount != 1:
                raise FencedError(f"owner {self.token} was taken for dead")
        async with self._connection.begin():
            alive = (await self._run(self._sql.alive)).scalar_one()
            share = math.ceil(len(self._partitions) / max(1, alive))
            mine = sorted((await self._mine()).keys())
            if len(mine) > share:
                await self._run(self._sql.release, partitions=mine[share:])
            elif len(mine) < share:
                await self._run(
                    self._sql.claim, partitions=self._partitions, most=share - len(mine)
                )
            owned = await self._mine()
        await self._bury()
        return owned

    async def release(self) -> None:
        """Leave: others may claim everything at once."""
        async with self._connection.begin():
            await self._run(self._sql.release, partitions=self._partitions)
            await self._run(self._sql.leave)

    async def _mine(self) -> dict[int, int]:
        return {row.partition: row.next_offset for row in await self._run(self._sql.mine)}

    async def _bury(self) -> None:
        async with self._connection.begin():
            ended = (await self._run(self._sql.terminate_stuck, patience_s=_PATIENCE_S)).all()
            await self._run(self._sql.forget_dead)
        for row in ended:
            log.warning("owner.terminated", name=row.name)

    async def _run(self, statement: Any, **parameters: int | float | str | Sequence[int]) -> Any:
        known = {"topic": self._topic, "token": self.token, **parameters}
        return await self._connection.execute(statement, known)
