"""The ports of `processors.transacted` over the log, the database and the clocks in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from engagement.processors.outbox import OutboxRow, OutRecord
from engagement.processors.transacted import Record, Span
from tests.simulation.log import Log, Network, Writer
from tests.simulation.loop import Process
from tests.simulation.sql import Connection, Database, DeciderSession, DeciderTx
from tests.simulation.statements import SqlConnection


class SimulatedEngines:
    """Where the sessions of one process come from."""

    def __init__(
        self, process: Process, log: Log, database: Database, network: Network, partitions: int
    ) -> None:
        self._process = process
        self._log = log
        self._database = database
        self._network = network
        self._partitions = partitions

    @asynccontextmanager
    async def session(self, topic: str) -> AsyncIterator["SimulatedSession"]:
        """Connect to both."""
        connection = Connection(self._database, self._process)
        writer = Writer(self._log, self._network, self._process)
        try:
            store = DeciderSession(connection, topic, self._partitions)
            await store.register()
            yield SimulatedSession(topic, store, writer, self._log, self._network)
        finally:
            connection.close()
            await writer.stop()

    def monotonic_s(self) -> float:
        """Forward only."""
        return self._network.loop.time()

    def now_us(self) -> int:
        """What the process's own clock shows."""
        return self._network.wall_us() + self._process.clock_off_us

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)


class SimulatedSession:
    """One consumer, one database session, one producer."""

    def __init__(
        self, topic: str, store: DeciderSession, writer: Writer, log: Log, network: Network
    ) -> None:
        self._topic = topic
        self._store = store
        self._writer = writer
        self._log = log
        self._network = network
        self._reading: dict[int, int] = {}

    async def renew(self) -> Mapping[int, int]:
        """Stay alive, claim what is free."""
        return await self._store.renew()

    async def release(self) -> None:
        """Give everything back."""
        await self._store.release()

    async def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions, from these offsets on."""
        await self._network.pass_by()
        self._reading = dict(positions)

    async def fetch(self, most: int, timeout_ms: int) -> Sequence[Record]:
        """The next records; of each partition so many as the network likes."""
        if all(self._log.end(self._topic, each) <= at for each, at in self._reading.items()):
            await self._log.more(self._topic, timeout_ms * _PATIENCE / 1000)
        await self._network.pass_by()
        found: list[Record] = []
        for partition, at in self._reading.items():
            there = self._log.end(self._topic, partition) - at
            if there > 0:
                some = self._network.random.randint(1, min(there, most))
                found += self._log.read(self._topic, partition, at, some)
                self._reading[partition] += some
        return found

    async def unpublished(self, partition: int) -> Sequence[OutboxRow]:
        """What is in the outbox, in order."""
        return [OutboxRow(*row) for row in await self._store.unpublished(partition)]

    @asynccontextmanager
    async def transaction(self, spans: Mapping[int, Span]) -> AsyncIterator["_Transaction"]:
        """Commits at its end, rolls back when anything is raised."""
        async with self._store.transaction(spans) as inner:
            yield _Transaction(inner)

    def append(self, record: OutRecord) -> None:
        """Queue a record."""
        self._writer.append(
            record.topic, record.partition, record.key, record.value, record.headers
        )

    def acknowledged(self, topic: str, partition: int) -> Awaitable[object]:
        """Done when all appended so far is on the log."""
        return self._writer.acknowledged(topic, partition)


class _Transaction:
    """What a decider works in."""

    def __init__(self, inner: DeciderTx) -> None:
        self.connection: Any = SqlConnection(inner.tx)
        self._inner = inner

    async def keep(self, told: Mapping[int, Sequence[OutRecord]]) -> Mapping[int, OutboxRow]:
        """Put records into the outbox."""
        return {
            partition: OutboxRow(await self._inner.keep(partition, records), records)
            for partition, records in told.items()
        }

    async def forget(self, up_to: Mapping[int, int]) -> None:
        """Take rows out that are on the log."""
        for partition, number in up_to.items():
            await self._inner.forget(partition, number)


_PATIENCE = 3
"""A quiet topic is waited for longer than the loop asks for: it saves steps, not time."""
