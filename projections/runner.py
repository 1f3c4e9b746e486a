"""The projector's loop: read, fold, write with the position, again.

It reads by assignment, without a group: where to go on is in the database, beside the effect.
"""

import asyncio
import time
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC
from engagement.log.codec import PoisonError
from engagement.log.dead_letters import DEAD_LETTER_PARTITION, DeadLetters
from engagement.log.topics import DEAD_LETTER_TOPIC
from engagement.log.writer import LogWriter
from projections import metrics
from projections.projection import Placed
from projections.registry import PROJECTIONS
from projections.room_facts import FactReader
from projections.store import LEASE_S, FencedError, ProjectionStore

log = structlog.get_logger()

RETRY_S: Final = 0.5
"""After the broker or the database went away."""
RENEW_S: Final = LEASE_S / 4


class Projector:
    """Owns the projections of the room topic while it runs; stands by while another does."""

    def __init__(self, engine: AsyncEngine, bootstrap: str, *, partitions: int, owner: str) -> None:
        self._store = ProjectionStore(engine, ROOM_TOPIC, owner)
        self._bootstrap = bootstrap
        self._partitions = list(range(partitions))
        self._writer = LogWriter(bootstrap, client_id=f"projector-{owner}")
        self._dead_letters = DeadLetters(self._writer)
        self._reader = FactReader()
        self._next: dict[int, int] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Finish the batch in hand, then return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. A broker or database that goes away is waited for."""
        while not self._stopping.is_set():
            try:
                await self._own_and_fold()
            except FencedError as error:
                log.warning("fenced", reason=str(error))
            except (KafkaError, DBAPIError, OSError, TimeoutError) as error:
                log.warning("projector waits", error=repr(error)[:500])
            metrics.OWNER.set(0)
            await self._pause(RETRY_S)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _own_and_fold(self) -> None:
        while not await self._store.claim():
            await self._pause(RETRY_S)
            if self._stopping.is_set():
                return
        metrics.OWNER.set(1)
        consumer = AIOKafkaConsumer(
            auto_offset_reset="earliest",
            bootstrap_servers=self._bootstrap,
            fetch_max_wait_ms=100,
            fetch_min_bytes=1,
            fetch_max_bytes=8 * 1024 * 1024,
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        writer_started = False
        try:
            await consumer.start()
            await self._writer.start()
            writer_started = True
            await self._begin(consumer)
            await self._fold_until_stopped(consumer)
            await self._store.release()
        finally:
            await consumer.stop()
            if writer_started:
                await self._writer.stop()

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        """Go to where the database says, and know the ids that were folded last."""
        assigned = [TopicPartition(ROOM_TOPIC, number) for number in self._partitions]
        consumer.assign(assigned)
        self._next = await self._store.positions(self._partitions)
        self._reader.forget()
        for tp in assigned:
            self._reader.remember(tp.partition, await self._store.newest_ids(tp.partition))
            consumer.seek(tp, self._next[tp.partition])
        log.info("projecting", positions=self._next)

    async def _fold_until_stopped(self, consumer: AIOKafkaConsumer) -> None:
        renewed_at_s = time.monotonic()
        while not self._stopping.is_set():
            records = await self._batch(consumer)
            if records:
                await self._fold(records)
                renewed_at_s = time.monotonic()
                self._report_lag(consumer)
            elif time.monotonic() - renewed_at_s > RENEW_S:
                if not await self._store.claim():
                    raise FencedError("another projector has taken over")
                renewed_at_s = time.monotonic()

    async def _batch(self, consumer: AIOKafkaConsumer) -> list[Any]:
        """Up to PROJECTION_BATCH_RECORDS records, waiting PROJECTION_BATCH_MS for more."""
        most = limits.PROJECTION_BATCH_RECORDS
        fetched = await consumer.getmany(timeout_ms=250, max_records=most)
        records = [record for part in fetched.values() for record in part]
        if records and len(records) < most:
            await asyncio.sleep(limits.PROJECTION_BATCH_MS / 1000)
            fetched = await consumer.getmany(timeout_ms=0, max_records=most - len(records))
            records += [record for part in fetched.values() for record in part]
        return records

    async def _fold(self, records: list[Any]) -> None:
        started = time.monotonic()
        batch: list[Placed] = []
        moves: dict[int, tuple[int, int]] = {}
        poisoned = False
        for record in records:
            moves[record.partition] = (self._next[record.partition], record.offset + 1)
            try:
                placed = self._reader.read(record)
            except PoisonError as error:
                self._dead_letters.put(record, error.reason)
                poisoned = True
                continue
            if placed is None:
                metrics.REPEATS.inc()
            else:
                batch.append(placed)
        if poisoned:
            await self._writer.acknowledged(DEAD_LETTER_TOPIC, DEAD_LETTER_PARTITION)
        await self._store.write(PROJECTIONS, batch, moves)
        self._next.update({number: to for number, (_, to) in moves.items()})
        metrics.FACTS.inc(len(batch))
        metrics.BATCH_SECONDS.observe(time.monotonic() - started)

    def _report_lag(self, consumer: AIOKafkaConsumer) -> None:
        lag = 0
        for number in self._partitions:
            end = consumer.highwater(TopicPartition(ROOM_TOPIC, number))
            lag += max(0, (end or 0) - self._next[number])
        metrics.LAG.set(lag)
