"""Reading topics from their tail, without a group: how every gateway follows the log.

Partitions are assigned, not subscribed: each gateway reads all of them, nothing is committed and
no rebalance can stop it. Where reading begins is decided once per start; after that the positions
live here, so a broker that dies and comes back, or a consumer that has to be made anew, continues
at the next record: without a gap and without a repeat.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from engagement.domain import limits

log = structlog.get_logger()

FETCH_WAIT_MS: Final = 100
"""How long the broker holds an empty fetch; a record ends it at once."""
RETRY_S: Final = 0.2
"""Between two tries to reach a broker that is away."""

Position = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True)
class Followed:
    """One topic of a tail."""

    topic: str
    handle: Callable[[int, Sequence[Any]], None]
    """Takes the partition and its next records (aiokafka's), in order. Must not raise."""
    back: int
    """Begin at least this many records before the end, where there are so many."""
    starts: Mapping[int, int] | None = None
    """Begin no later than this offset, by partition."""


@dataclass(frozen=True)
class Range:
    """What of a partition is read at start: `start` to `end`, the end when it was asked."""

    start: int
    end: int


class Tail:
    """Follows several topics in one fetch loop and hands their records over in order.

    `opened` is called once, with the ranges, before the first record; `lost` when the broker no
    longer has the record that would be next (a gap: offset it was, offset it is now). Who is in no
    hurry pauses between two fetches: each costs the broker and us as much as fifty records do.
    """

    def __init__(
        self,
        bootstrap: str,
        followed: Sequence[Followed],
        partitions: int,
        *,
        client_id: str,
        pause_s: float = 0.0,
        opened: Callable[[Mapping[Position, Range]], None] = lambda ranges: None,
        lost: Callable[[str, int, int, int], None] = lambda topic, partition, was, now: None,
    ) -> None:
        self._bootstrap = bootstrap
        self._followed = {each.topic: each for each in followed}
        self._partitions = partitions
        self._client_id = client_id
        self._pause_s = pause_s
        self._opened = opened
        self._lost = lost
        self._ends: dict[Position, int] = {}
        self._consumer: Any = None
        self.next_offsets: dict[Position, int] = {}
        """What will be read next, by topic and partition."""
        self.caught_up = asyncio.Event()
        """Set when everything that was there at the start has been handed over."""

    async def run(self) -> None:
        """Follow until cancelled. Survives whatever the broker does."""
        try:
            while True:
                try:
                    await self._follow()
                except (KafkaError, OSError) as error:
                    log.warning("tail.broken", error=repr(error))
                finally:
                    await self._close()
                await asyncio.sleep(RETRY_S)
        finally:
            self.caught_up.clear()

    def behind(self) -> dict[str, int]:
        """Records between us and the end as the broker last told it, by topic."""
        behind = dict.fromkeys(self._followed, 0)
        if self._consumer is None:
            return behind
        for (topic, partition), offset in self.next_offsets.items():
            high = self._consumer.highwater(TopicPartition(topic, partition))
            if high is not None:
                behind[topic] += max(0, high - offset)
        return behind

    async def _follow(self) -> None:
        consumer = self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_min_bytes=1,
            retry_backoff_ms=50,
            request_timeout_ms=10_000,
            metadata_max_age_ms=30_000,
        )
        await consumer.start()
        every = [
            TopicPartition(topic, partition)
            for topic in self._followed
            for partition in range(self._partitions)
        ]
        consumer.assign(every)
        if not self.next_offsets:
            await self._begin(consumer, every)
        for topic, partition in self.next_offsets:
            consumer.seek(TopicPartition(topic, partition), self.next_offsets[topic, partition])
        while True:
            try:
                records = await consumer.getmany(
                    timeout_ms=1_000, max_records=limits.TAIL_RECORDS_PER_FETCH
                )
            except OffsetOutOfRangeError as error:
                await self._skip_gap(consumer, error)
                continue
            for at, batch in records.items():
                self._followed[at.topic].handle(at.partition, batch)
                self.next_offsets[at.topic, at.partition] = batch[-1].offset + 1
            if not self.caught_up.is_set():
                self._check_caught_up()
            if records:
                # A busy tail gives way to sockets between fetches.
                await asyncio.sleep(self._pause_s)

    async def _begin(self, consumer: Any, every: list[TopicPartition]) -> None:
        first = await consumer.beginning_offsets(every)
        end = await consumer.end_offsets(every)
        ranges: dict[Position, Range] = {}
        for at in every:
            followed = self._followed[at.topic]
            latest = end[at] if followed.starts is None else followed.starts[at.partition]
            start = max(first[at], min(latest, end[at] - followed.back))
            ranges[at.topic, at.partition] = Range(start, end[at])
        self._opened(ranges)
        self._ends = {position: each.end for position, each in ranges.items()}
        self.next_offsets = {position: each.start for position, each in ranges.items()}
        self._check_caught_up()

    def _check_caught_up(self) -> None:
        if self.next_offsets and all(
            self.next_offsets[position] >= end for position, end in self._ends.items()
        ):
            self.caught_up.set()

    async def _skip_gap(self, consumer: Any, error: OffsetOutOfRangeError) -> None:
        """The broker has lost what comes next (retention, or an unclean election): go on."""
        for at, offset in error.args[0].items():
            first = (await consumer.beginning_offsets([at]))[at]
            end = (await consumer.end_offsets([at]))[at]
            now = first if offset < first else end
            log.error("tail.gap", topic=at.topic, partition=at.partition, was=offset, now=now)
            self._lost(at.topic, at.partition, offset, now)
            self.next_offsets[at.topic, at.partition] = now
            consumer.seek(at, now)

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(consumer.stop(), 5)
