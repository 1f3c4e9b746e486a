"""The projector's loop: claim partitions, read, fold, write with the position, again.

Reading and folding of the next batch go on while the database writes the one before: the two cost
about the same, in different processes. A broker or a database that goes away ends the session;
the next one begins at the positions that the database has, so nothing is lost and nothing doubled.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from msgspec import Struct
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.claims import Claims
from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC
from engagement.errors import FencedError, PositionMovedError, UnavailableError
from engagement.log.reader import LogEndedError, LogReader
from projections import metrics
from projections.poison import PoisonBox
from projections.registry import PROJECTIONS
from projections.room_facts import Batch, FactReader
from projections.store import ProjectionStore
from projections.tables import CLAIM_TABLES

log = structlog.get_logger()

_FETCH_MS: Final = 250
"""How long a quiet log is waited for before leases are looked after."""


class Collected(Struct):
    """What was read while the database wrote: records, and their fold."""

    records: list[Any]
    starts: dict[int, int]
    batch: Batch


class Projector:
    """Folds the room topic into all projections, together with any other projectors."""

    def __init__(self, engine: AsyncEngine, bootstrap: str, *, name: str) -> None:
        self._engine = engine
        self._bootstrap = bootstrap
        self._name = name
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Finish the batch in hand, release the partitions, then return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Whatever goes away is waited for, with growing pauses."""
        pause_s = 0.0
        while not self._stopping.is_set():
            began_s = time.monotonic()
            try:
                await self._session()
            except FencedError as error:
                metrics.FENCED.inc()
                log.warning("projector.fenced", reason=str(error))
            except PositionMovedError as error:
                metrics.MOVED.inc()
                log.warning("projector.moved", reason=str(error))
            except LogEndedError as error:
                log.error("projector.log_ended", reason=str(error))
                pause_s = limits.PROJECTOR_RETRY_S_MAX
            except (
                *(KafkaError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError),
                *(OSError, TimeoutError, UnavailableError),
            ) as error:
                metrics.FAILURES.labels(type(error).__name__).inc()
                log.warning("projector.waits", error=repr(error)[:500])
            metrics.PARTITIONS.set(0)
            lasted_s = time.monotonic() - began_s
            pause_s = 0.05 if lasted_s > limits.PROJECTOR_RETRY_S_MAX else pause_s * 2 + 0.05
            await self._pause(random.uniform(0.5, 1) * min(pause_s, limits.PROJECTOR_RETRY_S_MAX))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _session(self) -> None:
        """From one connection to its end."""
        async with (
            LogReader(self._bootstrap, ROOM_TOPIC) as reader,
            self._engine.connect() as connection,
            PoisonBox(self._bootstrap, client_id=self._name) as poison,
        ):
            partitions = await reader.partitions()
            claims = Claims(connection, ROOM_TOPIC, partitions, CLAIM_TABLES)
            await claims.register(self._name)
            store = ProjectionStore(connection, ROOM_TOPIC, claims.token)
            folding = _Folding(reader, store, poison, FactReader(partitions))
            try:
                await self._fold(claims, folding)
                await claims.release()
            finally:
                await folding.drop_ahead()

    async def _fold(self, claims: Claims, folding: "_Folding") -> None:
        renew_at_s = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= renew_at_s:
                await folding.own(await claims.renew())
                renew_at_s = time.monotonic() + limits.PROJECTOR_CLAIM_S
            if folding.positions:
                await folding.step()
            else:
                await self._pause(limits.PROJECTOR_CLAIM_S / 2)


class _Folding:
    """The partitions that are owned, and the batch that is being read for them."""

    def __init__(
        self, reader: LogReader, store: ProjectionStore, poison: PoisonBox, facts: FactReader
    ) -> None:
        self.positions: dict[int, int] = {}
        """Committed, by partition."""
        self._read: dict[int, int] = {}
        """Read, by partition: ahead of what is committed by at most one batch."""
        self._reader = reader
        self._store = store
        self._poison = poison
        self._facts = facts
        self._ahead: asyncio.Task[Collected] | None = None
        self._next_at_s = 0.0

    async def own(self, positions: dict[int, int]) -> None:
        """These partitions are ours from now on."""
        if positions.keys() == self.positions.keys():
            return
        await self.drop_ahead()
        self.positions = dict(positions)
        self._read = dict(positions)
        await self._reader.assign(positions)
        metrics.PARTITIONS.set(len(positions))
        log.info("projector.owns", positions=positions)

    async def drop_ahead(self) -> None:
        """Forget what was read and not written; the partitions have to be assigned again."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def step(self) -> None:
        """Write one batch, while the next one is read."""
        collected = await (self._ahead or asyncio.create_task(self._collect()))
        self._ahead = asyncio.create_task(self._collect())
        if collected.records:
            await self._write(collected)
            metrics.LAG.set(self._reader.lag(self.positions))

    async def _collect(self) -> Collected:
        """Up to PROJECTION_BATCH_RECORDS records, fewer at most once in PROJECTION_BATCH_MS."""
        await asyncio.sleep(self._next_at_s - time.monotonic())
        records = await self._reader.fetch(limits.PROJECTION_BATCH_RECORDS, _FETCH_MS)
        if len(records) < limits.PROJECTION_BATCH_RECORDS / 2:
            self._next_at_s = time.monotonic() + limits.PROJECTION_BATCH_MS / 1000
        starts = dict(self._read)
        batch = Batch(PROJECTIONS)
        batch.fold(records, self._facts, starts)
        self._read.update({number: span.end for number, span in batch.spans.items()})
        return Collected(records, starts, batch)

    async def _write(self, collected: Collected) -> None:
        """Commit a batch; when the database refuses a row of it, record by record."""
        try:
            await self._commit(collected.batch)
        except _REFUSALS as error:
            if not _refuses_data(error):
                raise
            await self._divide(collected.records, error)

    async def _commit(self, batch: Batch) -> None:
        for poison in batch.poison:
            self._poison.put(poison.record, poison.reason)
        await self._poison.acknowledged()
        began_s = time.monotonic()
        rows = await self._store.write(batch)
        metrics.BATCH_SECONDS.observe(time.monotonic() - began_s)
        metrics.BATCH_FACTS.observe(batch.facts)
        metrics.FACTS.inc(batch.facts)
        metrics.ROWS.inc(rows)
        if batch.newest is not None:
            metrics.DELAY.set(time.time() - batch.newest.timestamp())
        self.positions.update({number: span.end for number, span in batch.spans.items()})

    async def _divide(self, records: Sequence[Any], error: Exception) -> None:
        """Halve what the database refuses until it is one record; set that one aside.

        The reader lets nothing through that is known to do this; it must not stop a partition.
        """
        batch = Batch(PROJECTIONS)
        if len(records) == 1:
            reason = f"refused by the database: {error!r}"[:500]
            self._poison.put(records[0], reason)
            batch.pass_over(records[0], self.positions[records[0].partition])
            await self._commit(batch)
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            batch = Batch(PROJECTIONS)
            batch.fold(half, self._facts, self.positions)
            try:
                await self._commit(batch)
            except _REFUSALS as half_error:
                if not _refuses_data(half_error):
                    raise
                await self._divide(half, half_error)


_BAD_DATA: Final = (asyncpg.DataError, UnicodeEncodeError, OverflowError)
_REFUSALS: Final = (DBAPIError, *_BAD_DATA)


def _refuses_data(error: BaseException) -> bool:
    """Whether it is the rows that the database (or its driver) does not take.

    Not a connection that broke, a lock, a full disk; and not a mistake of ours.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _BAD_DATA):
            return True
        cause = getattr(cause, "orig", None) or cause.__cause__
    return False
