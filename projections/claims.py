"""Which projector folds which partitions: shared evenly, by leases in the database.

A projector is one database session with a token that is greater than every token before it. It
writes its token into the positions that it claims, and every transaction compares them: whoever
lost a partition commits nothing, however late it wakes up.

A partition can be claimed when its owner has released it, when the owner's session has ended
(its process was killed: at once), or when the owner has not renewed its lease (it was stopped, or
its machine is gone: after `PROJECTOR_LEASE_S`). An owner that stopped inside a transaction still
holds row locks; its session is terminated.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import structlog
from sqlalchemy import ARRAY, Integer, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engagement.domain import limits
from projections.store import FencedError

log = structlog.get_logger()

_CREATE_POSITIONS: Final = text("""
    INSERT INTO projection_positions (topic, "partition", next_offset)
    SELECT :topic, number, 0 FROM unnest(:partitions) AS number
    ON CONFLICT DO NOTHING
""").bindparams(bindparam("partitions", type_=ARRAY(Integer)))

_REGISTER: Final = text("""
    INSERT INTO projectors (topic, name, pid, connected_at, alive_until)
    SELECT :topic, :name, pid, backend_start, clock_timestamp() + make_interval(secs => :lease_s)
    FROM pg_stat_activity WHERE pid = pg_backend_pid()
    RETURNING token
""")

_RENEW: Final = text("""
    UPDATE projectors SET alive_until = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE token = :token
""")

_SESSION_OF: Final = """
    SELECT FROM pg_stat_activity session
    WHERE session.pid = projectors.pid AND session.backend_start = projectors.connected_at
"""

_DEAD: Final = f"""
    token <> :token AND (alive_until < clock_timestamp() OR NOT EXISTS ({_SESSION_OF}))
"""

_ALIVE: Final = text(f"""
    SELECT count(*) FROM projectors WHERE topic = :topic AND NOT ({_DEAD})
""")  # noqa: S608 - constants of this module

_MINE: Final = text("""
    SELECT "partition", next_offset FROM projection_positions
    WHERE topic = :topic AND owner = :token
""")

_CLAIM: Final = text(f"""
    UPDATE projection_positions AS claimed SET owner = :token
    FROM (
        SELECT topic, "partition" FROM projection_positions
        WHERE topic = :topic AND "partition" = ANY(:partitions) AND (
            owner IS NULL
            OR NOT EXISTS (SELECT FROM projectors WHERE token = owner AND NOT ({_DEAD}))
        )
        ORDER BY "partition" LIMIT :most FOR UPDATE SKIP LOCKED
    ) AS free
    WHERE claimed.topic = free.topic AND claimed."partition" = free."partition"
    RETURNING claimed."partition"
""").bindparams(bindparam("partitions", type_=ARRAY(Integer)))  # noqa: S608

_RELEASE: Final = text("""
    UPDATE projection_positions SET owner = NULL
    WHERE topic = :topic AND owner = :token AND "partition" = ANY(:partitions)
""").bindparams(bindparam("partitions", type_=ARRAY(Integer)))

_FORGET_DEAD: Final = text(f"""
    DELETE FROM projectors WHERE topic = :topic AND {_DEAD}
    AND NOT EXISTS (SELECT FROM projection_positions WHERE owner = token)
""")  # noqa: S608

_TERMINATE_STUCK: Final = text("""
    SELECT pg_terminate_backend(session.pid), projectors.name
    FROM projectors JOIN pg_stat_activity session
      ON session.pid = projectors.pid AND session.backend_start = projectors.connected_at
    WHERE projectors.topic = :topic AND token <> :token
      AND alive_until < clock_timestamp() - make_interval(secs => :patience_s)
      AND EXISTS (SELECT FROM projection_positions WHERE owner = token)
""")

_PATIENCE_S: Final = 2 * limits.PROJECTOR_CLAIM_S
"""How long partitions of a dead owner may stay locked before its session is terminated."""


class Claims:
    """The partitions that this session may fold."""

    def __init__(self, connection: AsyncConnection, topic: str, partitions: int) -> None:
        self._connection = connection
        self._topic = topic
        self._partitions = list(range(partitions))
        self.token = 0

    async def register(self, name: str) -> None:
        """Take part in the sharing. `name` is for people."""
        async with self._connection.begin():
            await self._run(_CREATE_POSITIONS, partitions=self._partitions)
            found = await self._run(_REGISTER, name=name, lease_s=limits.PROJECTOR_LEASE_S)
            self.token = found.scalar_one()

    async def renew(self) -> dict[int, int]:
        """Stay alive, give away what is too much, claim what is free up to a fair share.

        Returns the position of every partition that is ours now. Raises FencedError when others
        have taken us for dead and forgotten us.
        """
        async with self._connection.begin():
            renewed = await self._run(_RENEW, lease_s=limits.PROJECTOR_LEASE_S)
            if renewed.rowcount != 1:
                raise FencedError(f"projector {self.token} was taken for dead")
        async with self._connection.begin():
            alive = (await self._run(_ALIVE)).scalar_one()
            share = math.ceil(len(self._partitions) / max(1, alive))
            mine = sorted((await self._mine()).keys())
            if len(mine) > share:
                await self._run(_RELEASE, partitions=mine[share:])
            elif len(mine) < share:
                await self._run(_CLAIM, partitions=self._partitions, most=share - len(mine))
            owned = await self._mine()
        await self._bury()
        return owned

    async def release(self) -> None:
        """Leave: others may claim everything at once."""
        async with self._connection.begin():
            await self._run(_RELEASE, partitions=self._partitions)
            await self._run(text("DELETE FROM projectors WHERE token = :token"))

    async def _mine(self) -> dict[int, int]:
        return {row.partition: row.next_offset for row in await self._run(_MINE)}

    async def _bury(self) -> None:
        async with self._connection.begin():
            ended = (await self._run(_TERMINATE_STUCK, patience_s=_PATIENCE_S)).all()
            await self._run(_FORGET_DEAD)
        for row in ended:
            log.warning("projector.terminated", name=row.name)

    async def _run(self, statement: Any, **parameters: int | float | str | Sequence[int]) -> Any:
        known = {"topic": self._topic, "token": self.token, **parameters}
        return await self._connection.execute(statement, known)
