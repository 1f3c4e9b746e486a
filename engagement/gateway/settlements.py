"""What the ledger has stored of requests: looked up before a gift is answered.

Ids of money never expire, so a gateway that has just started, or that another one's client comes
to, must know what became of a request. Look-ups of all senders share queries: while one is under
way the next collects. When the database is away they are skipped for a moment: the ledger decides
again, with authority.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import structlog

from engagement.domain import limits
from engagement.domain.ledger import RequestKey, Settled, fingerprint
from engagement.domain.ledger_requests import MoneyAsked, MoneyRequest
from engagement.errors import UnavailableError
from engagement.gateway import metrics
from engagement.gateway.database_reads import AWAY

log = structlog.get_logger()


class Ledger(Protocol):
    """Who has the outcomes."""

    async def settled(self, keys: Sequence[RequestKey]) -> dict[RequestKey, Settled]:
        """Those of these requests that were decided."""


class Settlements:
    """Looks outcomes up, for all who ask at once in one query."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._wanted: dict[RequestKey, None] = {}
        self._asking: asyncio.Future[Mapping[RequestKey, Settled]] | None = None
        """What those who ask now will be answered."""
        self._runner: asyncio.Task[None] | None = None
        self._away_until_s = 0.0

    async def find(self, keys: Collection[RequestKey]) -> Mapping[RequestKey, Settled] | None:
        """What was decided of these; None when the database cannot be asked right now."""
        try:
            return await self.must_find(keys)
        except UnavailableError:
            metrics.SETTLED_SKIPPED.inc(len(keys))
            return None

    async def must_find(self, keys: Collection[RequestKey]) -> Mapping[RequestKey, Settled]:
        """What was decided of these. Raises UnavailableError."""
        if not keys:
            return {}
        loop = asyncio.get_running_loop()
        if self._is_away():
            raise _unavailable()
        if self._asking is None:
            self._asking = loop.create_future()
            self._asking.add_done_callback(_look_at)
        asking = self._asking
        self._wanted.update(dict.fromkeys(keys))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="settlements")
        return await asyncio.shield(asking)

    async def stop(self) -> None:
        """Answer nobody any more."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})

    async def _run(self) -> None:
        try:
            while self._asking is not None:
                wanted, asking = list(self._wanted), self._asking
                self._wanted, self._asking = {}, None
                if self._is_away():
                    asking.set_exception(_unavailable())
                else:
                    await self._query(wanted, asking)
        finally:
            self._runner = None
            if self._asking is not None:
                self._asking.set_exception(_unavailable())
                self._asking, self._wanted = None, {}

    def _is_away(self) -> bool:
        return asyncio.get_running_loop().time() < self._away_until_s

    async def _query(
        self, wanted: list[RequestKey], asking: asyncio.Future[Mapping[RequestKey, Settled]]
    ) -> None:
        try:
            async with asyncio.timeout(limits.SETTLED_TIMEOUT_S):
                asking.set_result(await self._ledger.settled(wanted))
            metrics.SETTLED_LOOKUPS.inc()
        except AWAY as error:
            log.warning("settled.unavailable", error=repr(error)[:300])
            self._away_until_s = asyncio.get_running_loop().time() + limits.SETTLED_AWAY_S
            asking.set_exception(_unavailable())
        except BaseException:
            asking.set_exception(_unavailable())
            raise


def body_mark(account: str, room: str, request: MoneyRequest) -> bytes:
    """The fingerprint under which the ledger stores a request."""
    return fingerprint(MoneyAsked(account, account, "viewer", 0, request, room))


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "the ledger's database does not answer", code="database_unavailable", retry_after_s=1
    )


def _look_at(asking: asyncio.Future[Any]) -> None:
    """An answer that nobody waits for any more is no news."""
    if not asking.cancelled():
        asking.exception()
