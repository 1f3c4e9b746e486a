"""Looking outcomes of requests up, many times a second: on one connection that is kept."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engagement.database.ledger_store import settled_of
from engagement.domain.ledger import RequestKey, Settled

_SETTLED: Final = """
    SELECT known.account, known.request, outcome FROM ledger_requests AS known
    JOIN unnest($1::text[], $2::text[]) AS asked(account, request) USING (account, request)
"""


class SettledLookups:
    """One query at a time. Taking a connection from the pool for each would cost a round trip to
    see whether it is alive, and more than the query.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._kept: AsyncConnection | None = None

    async def settled(self, keys: Sequence[RequestKey]) -> dict[RequestKey, Settled]:
        """The stored outcomes among these requests, by (account, request id).

        A kept connection that has died meanwhile is replaced once.
        """
        accounts, requests = zip(*keys, strict=True)
        was_kept = self._kept is not None
        try:
            rows = await self._fetch(accounts, requests)
        except Exception:  # A connection that was ended has many ways to say so.
            if not was_kept:
                raise
            rows = await self._fetch(accounts, requests)
        return {(row["account"], row["request"]): settled_of(row) for row in rows}

    async def close(self) -> None:
        """Give the connection back."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()

    async def _fetch(self, *columns: Sequence[str]) -> Sequence[Any]:
        if self._kept is None:
            self._kept = await self._engine.connect()
        try:
            pooled = await self._kept.get_raw_connection()
            driver: Any = pooled.driver_connection
            found: Sequence[Any] = await driver.fetch(_SETTLED, *columns)
        except BaseException:
            # Broken, or cut off in the middle of an answer (a timeout): not to be used again.
            broken, self._kept = self._kept, None
            await broken.invalidate()
            await broken.close()
            raise
        return found
