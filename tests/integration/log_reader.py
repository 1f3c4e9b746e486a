"""Reading topics of the test broker from where they stood."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engagement.settings import Settings

DEADLINE_S = 60
"""Longer than anything that works takes on a busy machine."""


async def new_topic(settings: Settings, name: str, partitions: int = 3) -> str:
    """A topic of this test's own; returns its name when every partition has a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
        async with asyncio.timeout(DEADLINE_S):
            while True:
                [described] = await admin.describe_topics([name])
                leaders = [each["leader"] for each in described["partitions"]]
                if len(leaders) == partitions and min(leaders) >= 0:
                    return name
    finally:
        await admin.close()


class LogReader:
    """All records of some topics, in the order in which they were read."""

    def __init__(self, settings: Settings, topics: Iterable[str], partitions: int) -> None:
        self._at = [TopicPartition(t, p) for t in topics for p in range(partitions)]
        self._settings = settings
        self.records: list[Any] = []

    async def __aenter__(self) -> "LogReader":
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap_servers,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        await self._consumer.start()
        self._consumer.assign(self._at)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def from_the_end(self) -> "LogReader":
        """Read only what comes from now on."""
        await self._consumer.seek_to_end(*self._at)
        for at in self._at:
            await self._consumer.position(at)
        return self

    async def until(self, holds: Callable[[Sequence[Any]], bool]) -> list[Any]:
        """Read until what was read so far satisfies this."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds(self.records):
                await self.poll()
        return self.records

    async def to_the_end(self) -> list[Any]:
        """Read everything that is there now."""
        ends = await self._consumer.end_offsets(self._at)
        async with asyncio.timeout(DEADLINE_S):
            for at in self._at:
                while await self._consumer.position(at) < ends[at]:
                    await self.poll()
        return self.records

    async def poll(self) -> None:
        """Read what has arrived."""
        for records in (await self._consumer.getmany(timeout_ms=100)).values():
            self.records += records
