"""The outbox: rows in order, and nothing is called sent that may be lost."""

import asyncio
from collections.abc import Awaitable

import pytest

from engagement.domain import limits
from engagement.errors import UnavailableError
from engagement.processors.outbox import (
    OutboxPublisher,
    OutboxRow,
    OutRecord,
    decode_records,
    encode_records,
)


class Log:
    """Takes records; acknowledges when it is told to."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self._waiting: list[asyncio.Future[int]] = []

    def append(self, record: OutRecord) -> None:
        self.taken.append(record.value)

    def acknowledged(self, topic: str, partition: int) -> Awaitable[object]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    async def acknowledge(self, error: Exception | None = None) -> None:
        """Answer all that wait."""
        await settle()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if error is None:
                future.set_result(0)
            else:
                future.set_exception(error)
        await settle()


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def row(number: int, *values: bytes, partitions: int = 1) -> OutboxRow:
    records = [
        OutRecord("topic", index % partitions, b"key", value, (("name", b"x"),))
        for index, value in enumerate(values)
    ]
    return OutboxRow(number, records)


def test_records_are_kept_as_they_are() -> None:
    records = [*row(1, b"a", b"b").records, OutRecord("other", 7, None, b"")]
    assert decode_records(encode_records(records)) == records


async def test_rows_that_wait_are_sent_together_when_those_before_them_are_acknowledged() -> None:
    log = Log()
    publisher = OutboxPublisher(log, 0, [])
    await publisher.put(row(1, b"1"))
    await settle()
    for number in (2, 3):
        await publisher.put(row(number, b"%d" % number))
    await settle()
    assert log.taken == [b"1"]
    assert publisher.take_published() is None
    await log.acknowledge()
    assert log.taken == [b"1", b"2", b"3"]
    assert publisher.take_published() == 1
    assert publisher.take_published() is None  # No news.
    await log.acknowledge()
    assert publisher.take_published() == 3
    await publisher.settled()
    await publisher.cancel()


async def test_what_is_left_in_the_table_goes_first() -> None:
    log = Log()
    publisher = OutboxPublisher(log, 0, [row(4, b"left"), row(5, b"left too")])
    await publisher.put(row(6, b"new"))
    for _ in range(3):
        await log.acknowledge()
    assert log.taken == [b"left", b"left too", b"new"]
    assert publisher.take_published() == 6
    await publisher.cancel()


async def test_a_row_is_published_only_when_every_place_has_it() -> None:
    log = Log()
    publisher = OutboxPublisher(log, 0, [row(1, b"a", b"b", partitions=2)])
    await settle()
    first, second = log._waiting
    first.set_result(0)
    await settle()
    assert publisher.take_published() is None
    second.set_exception(UnavailableError("lost"))
    await settle()
    assert publisher.take_published() is None
    with pytest.raises(UnavailableError):
        publisher.check()


async def test_after_a_failure_nothing_more_is_sent() -> None:
    log = Log()
    publisher = OutboxPublisher(log, 0, [])
    await publisher.put(row(1, b"1"))
    await settle()
    await publisher.put(row(2, b"2"))
    await log.acknowledge(UnavailableError("away"))
    assert log.taken == [b"1"]
    with pytest.raises(UnavailableError):
        publisher.check()
    with pytest.raises(UnavailableError):
        await publisher.settled()


async def test_who_is_cancelled_while_it_cancels_ends_too() -> None:
    publisher = OutboxPublisher(Log(), 0, [])
    await settle()
    ending = asyncio.create_task(publisher.cancel())
    await asyncio.sleep(0)

    ending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await ending


async def test_deciding_waits_for_a_log_that_is_slow_and_not_for_one_that_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_ROWS_WAITING_MAX", 2)
    log = Log()
    publisher = OutboxPublisher(log, 0, [])
    for number in (1, 2, 3):  # One is on its way, two wait.
        await publisher.put(row(number, b"%d" % number))
        await settle()
    full = asyncio.create_task(publisher.put(row(4, b"4")))
    await settle()
    assert not full.done()
    await log.acknowledge()
    await asyncio.wait_for(full, 5)
    await publisher.put(row(5, b"5"))
    stuck = asyncio.create_task(publisher.put(row(6, b"6")))
    await settle()
    assert not stuck.done()
    await log.acknowledge(UnavailableError("away"))
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(stuck, 5)
