"""The engines of a decider as they are: Kafka by aiokafka, PostgreSQL by asyncpg, the clocks."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.decider_store import DeciderStore, DeciderTransaction
from engagement.domain.ledger import BrokenInvariantError
from engagement.errors import UnavailableError
from engagement.log.reader import LogEndedError, LogReader
from engagement.log.writer import LogWriter
from engagement.processors.outbox import OutboxRow, OutRecord, decode_records, encode_records
from engagement.processors.transacted import AwayError, Record, Span

_AWAY: Final = (
    *(KafkaError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError),
    *(OSError, TimeoutError, LogEndedError),
)


class RealEngines:
    """Sessions over a broker and a database."""

    def __init__(self, bootstrap: str, engine: AsyncEngine, *, name: str) -> None:
        self._bootstrap = bootstrap
        self._engine = engine
        self._name = name

    @asynccontextmanager
    async def session(self, topic: str) -> AsyncIterator["RealSession"]:
        """Connect to both. Raises AwayError, also for whatever fails inside."""
        writer = LogWriter(self._bootstrap, client_id=f"{self._name}-{topic}")
        try:
            async with (
                LogReader(self._bootstrap, topic) as reader,
                self._engine.connect() as connection,
            ):
                try:
                    await writer.start()
                    store = DeciderStore(connection, topic, await reader.partitions())
                    await store.register(self._name)
                    yield RealSession(reader, store, writer)
                finally:
                    # The database's session ends with this one, not when the pool likes: others,
                    # or our next session, may claim its partitions at once.
                    await connection.invalidate()
        except (IntegrityError, asyncpg.IntegrityConstraintViolationError) as error:
            # Trying again would not make the books right.
            raise BrokenInvariantError(f"the database refuses: {error!r}") from error
        except _AWAY as error:
            raise AwayError(repr(error)) from error
        finally:
            with suppress(KafkaError, OSError, UnavailableError, TimeoutError):
                await writer.stop()

    def monotonic_s(self) -> float:
        """A clock that only goes forward."""
        return time.monotonic()

    def now_us(self) -> int:
        """Unix time in µs."""
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)


class RealTransaction:
    """One transaction in PostgreSQL."""

    def __init__(self, inner: DeciderTransaction) -> None:
        self.connection: Any = inner.connection
        self._inner = inner

    async def keep(self, told: Mapping[int, Sequence[OutRecord]]) -> Mapping[int, OutboxRow]:
        """Put records into the outbox."""
        kept = {partition: encode_records(records) for partition, records in told.items()}
        numbers = await self._inner.keep(kept)
        return {partition: OutboxRow(numbers[partition], told[partition]) for partition in told}

    async def forget(self, up_to: Mapping[int, int]) -> None:
        """Take rows out that are on the log."""
        await self._inner.forget(up_to)


class RealSession:
    """One consumer, one database session, one producer."""

    def __init__(self, reader: LogReader, store: DeciderStore, writer: LogWriter) -> None:
        self._reader = reader
        self._store = store
        self._writer = writer

    async def renew(self) -> Mapping[int, int]:
        """Stay alive, claim what is free."""
        return await self._store.renew()

    async def release(self) -> None:
        """Give everything back."""
        await self._store.release()

    async def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions, from these offsets on."""
        await self._reader.assign(positions)

    async def fetch(self, most: int, timeout_ms: int) -> Sequence[Record]:
        """The next records."""
        return await self._reader.fetch(most, timeout_ms)

    async def unpublished(self, partition: int) -> Sequence[OutboxRow]:
        """What is in the outbox, in order."""
        rows = await self._store.unpublished(partition)
        return [OutboxRow(number, decode_records(kept)) for number, kept in rows]

    @asynccontextmanager
    async def transaction(self, spans: Mapping[int, Span]) -> AsyncIterator[RealTransaction]:
        """Commits at its end, rolls back when anything is raised."""
        moved = {number: (span.start, span.end) for number, span in spans.items()}
        async with self._store.transaction(moved) as inner:
            yield RealTransaction(inner)

    def append(self, record: OutRecord) -> None:
        """Queue a record; never blocks."""
        self._writer.append(
            record.topic, record.partition, record.key, record.value, record.headers
        )

    def acknowledged(self, topic: str, partition: int) -> Awaitable[object]:
        """Done when all appended so far is on the log."""
        return self._writer.acknowledged(topic, partition)


def process_name(settings_worker: str) -> str:
    """How a worker is called in the table of owners."""
    return f"{os.uname().nodename}/worker-{settings_worker}/{os.getpid()}"
