"""Following topics from their tail, on a real broker."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from engagement.log.tail import Followed, Position, Range, Tail
from engagement.log.topics import DEAD_LETTER_TOPIC
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from tests.waiting import until

TOPIC = DEAD_LETTER_TOPIC
PARTITION = 0
"""Where these tests write: nothing else depends on what is there."""


@pytest.fixture
async def writer(engines: Settings) -> AsyncIterator[LogWriter]:
    writer = LogWriter(engines.bootstrap_servers, client_id="tail-tests")
    await writer.start()
    yield writer
    await writer.stop()


class Follower:
    """A tail and what it handed over."""

    def __init__(
        self, engines: Settings, back: int, starts: Mapping[int, int] | None = None
    ) -> None:
        self.values: list[str] = []
        self.offsets: list[int] = []
        self.ranges: Mapping[Position, Range] = {}
        self.gaps: list[tuple[int, int]] = []
        self.tail = Tail(
            engines.bootstrap_servers,
            [Followed(TOPIC, self._handle, back, starts)],
            1,
            client_id="tail-tests",
            opened=self._opened,
            lost=lambda topic, partition, was, now: self.gaps.append((was, now)),
        )

    def _opened(self, ranges: Mapping[Position, Range]) -> None:
        self.ranges = ranges

    def _handle(self, partition: int, records: Sequence[Any]) -> None:
        self.values += [record.value.decode() for record in records]
        self.offsets += [record.offset for record in records]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Follower"]:
        task = asyncio.create_task(self.tail.run())
        try:
            await asyncio.wait_for(self.tail.caught_up.wait(), 15)
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def has(self, value: str) -> None:
        async def there() -> bool:
            return value in self.values

        await until(there, f"the arrival of {value}")


async def write(writer: LogWriter, count: int) -> tuple[list[str], int]:
    """Values written, and the offset of the last."""
    values = [uuid.uuid4().hex for _ in range(count)]
    for value in values:
        writer.append(TOPIC, PARTITION, b"k", value.encode())
    return values, await writer.acknowledged(TOPIC, PARTITION)


async def test_it_begins_so_many_records_back_and_goes_on_with_what_comes(
    engines: Settings, writer: LogWriter
) -> None:
    old, last = await write(writer, 30)
    async with Follower(engines, back=10).running() as follower:
        assert follower.values == old[-10:]
        assert follower.ranges[TOPIC, PARTITION] == Range(last - 9, last + 1)
        new, _ = await write(writer, 5)
        await follower.has(new[-1])
        assert follower.values == old[-10:] + new
        assert follower.offsets == list(range(last - 9, last + 6))
        assert follower.tail.next_offsets[TOPIC, PARTITION] == last + 6


async def test_it_begins_no_later_than_where_a_checkpoint_ends(
    engines: Settings, writer: LogWriter
) -> None:
    old, last = await write(writer, 30)
    async with Follower(engines, back=2, starts={PARTITION: last - 19}).running() as follower:
        assert follower.values == old[-20:]


async def test_with_nothing_to_read_it_has_caught_up_at_once(
    engines: Settings, writer: LogWriter
) -> None:
    async with Follower(engines, back=0).running() as follower:
        assert follower.values == []
        [value], _ = await write(writer, 1)
        await follower.has(value)


async def test_a_record_that_is_gone_is_told_as_a_gap_and_reading_goes_on(
    engines: Settings, writer: LogWriter
) -> None:
    _, last = await write(writer, 3)
    follower = Follower(engines, back=0)
    # A position that the broker does not have, as after an unclean election.
    follower.tail.next_offsets[TOPIC, PARTITION] = last + 1_000

    async def told() -> bool:
        return bool(follower.gaps)

    async with follower.running():
        await until(told, "the gap")
        assert follower.gaps == [(last + 1_000, last + 1)]
        [value], _ = await write(writer, 1)
        await follower.has(value)


async def test_it_goes_on_where_it_was_when_its_consumer_breaks(
    engines: Settings, writer: LogWriter
) -> None:
    async with Follower(engines, back=0).running() as follower:
        before, _ = await write(writer, 5)
        await follower.has(before[-1])
        consumer = follower.tail._consumer

        async def broken(**_: Any) -> None:
            raise ConnectionError("the broker is gone")

        consumer.getmany = broken
        after, _ = await write(writer, 5)
        await follower.has(after[-1])
        assert follower.tail._consumer is not consumer
        assert follower.values == before + after
