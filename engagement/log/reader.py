"""Reading a topic by assignment: without a group, from positions that somebody else keeps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engagement.errors import UnavailableError

log = structlog.get_logger()

FETCH_WAIT_MS: Final = 100
"""How long the broker holds an empty fetch; a record ends it at once."""
_FETCH_BYTES_MAX: Final = 16 * 1024 * 1024
_PARTITION_FETCH_BYTES_MAX: Final = 2 * 1024 * 1024
"""At least one record always fits; 2 MB are a batch."""


class LogEndedError(Exception):
    """A position lies beyond the end of its partition: it was made by another log.

    Nothing may be skipped and nothing guessed; `engagement rebuild` is not enough either, because
    positions count from this log. Restore the log, or empty the projections.
    """


class LogReader:
    """One consumer of some partitions of one topic."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=_FETCH_BYTES_MAX,
            max_partition_fetch_bytes=_PARTITION_FETCH_BYTES_MAX,
            request_timeout_ms=10_000,
            retry_backoff_ms=50,
            metadata_max_age_ms=30_000,
        )

    async def start(self) -> None:
        """Connect. Raises aiokafka's errors when no broker answers."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect, whatever state the broker is in."""
        with contextlib.suppress(KafkaError, OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._consumer.stop(), 3)

    async def __aenter__(self) -> "LogReader":
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def partitions(self) -> int:
        """How many partitions the topic has. Raises UnavailableError when there is no topic."""
        known = self._consumer.partitions_for_topic(self._topic)
        if not known:
            # A consumer without a subscription knows no topic until it asks.
            await self._consumer._client.set_topics({self._topic})
            known = self._consumer.partitions_for_topic(self._topic)
        if not known:
            raise UnavailableError(f"topic {self._topic} does not exist", code="log_unavailable")
        return len(known)

    async def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions, from these offsets on. Raises LogEndedError."""
        places = {TopicPartition(self._topic, number): at for number, at in positions.items()}
        if not places:
            self._consumer.assign([])
            return
        self._consumer.assign(list(places))
        first = await self._consumer.beginning_offsets(list(places))
        ends = await self._consumer.end_offsets(list(places))
        for place, offset in places.items():
            if offset > ends[place]:
                raise LogEndedError(
                    f"{self._topic}/{place.partition} ends at {ends[place]}, "
                    f"the position is {offset}"
                )
            if offset < first[place]:
                log.error("log.gap", partition=place.partition, position=offset, first=first[place])
            self._consumer.seek(place, max(offset, first[place]))

    async def fetch(self, most: int, timeout_ms: int) -> list[Any]:
        """The next records of any of the partitions, each partition's in order; [] if none came."""
        fetched = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=most)
        return [record for records in fetched.values() for record in records]

    def lag(self, positions: Mapping[int, int]) -> int:
        """Records between these positions and the ends that the broker last told."""
        behind = 0
        for number, offset in positions.items():
            end = self._consumer.highwater(TopicPartition(self._topic, number))
            behind += 0 if end is None else max(0, end - offset)
        return behind

    async def ends(self, count: int) -> dict[int, int]:
        """Where the first `count` partitions end now."""
        places = [TopicPartition(self._topic, number) for number in range(count)]
        ends = await self._consumer.end_offsets(places)
        return {place.partition: ends[place] for place in places}

    async def read_to(self, goal: Mapping[int, int], most: int) -> AsyncIterator[list[Any]]:
        """Records up to the goal (exclusive) of each partition, from where it is assigned.

        Every partition of the goal must be assigned, and lie before it.
        """
        places = {TopicPartition(self._topic, number): end for number, end in goal.items()}
        left = set()
        for place, end in places.items():
            if await self._consumer.position(place) < end:
                left.add(place)
        while left:
            fetched = await self._consumer.getmany(*left, timeout_ms=500, max_records=most)
            records: list[Any] = []
            for place, found in fetched.items():
                end = places[place]
                records += found if found[-1].offset < end else [r for r in found if r.offset < end]
            if records:
                yield records
            # Not by offsets of records: control records have offsets too.
            for place in list(left):
                if await self._consumer.position(place) >= places[place]:
                    left.discard(place)
