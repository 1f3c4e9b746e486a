"""Telling what was committed: the outbox of one partition, row by row in order.

All rows that wait leave together, as one row would that holds them all, when those before them are
acknowledged. Who receives them knows a repeat by its place in that order (entries of the ledger,
revisions of a battle), for ever and not only within a window; that is worth more than having
several sendings under way at once. Under load more rows wait, so the order costs nothing.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from engagement.domain import limits
from engagement.log.dead_letters import Letter

Header = tuple[str, bytes]


class OutRecord(Struct, frozen=True):
    """A record to be written to the log."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: tuple[Header, ...] = ()


class OutboxRow(Struct, frozen=True):
    """What one transaction has to tell."""

    number: int
    records: Sequence[OutRecord]


class Log(Protocol):
    """What of the log is used here."""

    def append(self, record: OutRecord) -> None:
        """Queue a record; never blocks."""

    def acknowledged(self, topic: str, partition: int) -> Awaitable[object]:
        """Done when all appended so far is on the log; raises UnavailableError."""
        ...


def letter_record(letter: Letter) -> OutRecord:
    """A dead letter as the outbox keeps it: a record without a value has an empty one there."""
    topic, partition, key, value, headers = letter
    return OutRecord(topic, partition, key, value or b"", headers)


def encode_records(records: Sequence[OutRecord]) -> bytes:
    """The records of a row as the table keeps them."""
    return msgspec.msgpack.encode(list(records))


def decode_records(kept: bytes) -> list[OutRecord]:
    """The inverse of :func:`encode_records`."""
    return msgspec.msgpack.decode(kept, type=list[OutRecord])


class OutboxPublisher:
    """Sends the rows of one partition in order, one sending after the other."""

    def __init__(self, log: Log, partition: int, left: Sequence[OutboxRow]) -> None:
        self.partition = partition
        self._log = log
        self._rows: asyncio.Queue[OutboxRow] = asyncio.Queue(limits.OUTBOX_ROWS_WAITING_MAX)
        self._left = list(left)
        self._published: int | None = None
        self._task = asyncio.ensure_future(self._run())

    async def put(self, row: OutboxRow) -> None:
        """Send this row after all others; waits while too many are waiting."""
        while self._rows.full():
            self.check()
            await asyncio.sleep(0.005)
        self._rows.put_nowait(row)

    def check(self) -> None:
        """Raise UnavailableError when sending has failed: nothing more is sent by this one."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    def take_published(self) -> int | None:
        """The newest row that is on the log with all before it, if that is news."""
        published, self._published = self._published, None
        return published

    async def settled(self) -> None:
        """Return when every row that was put is on the log."""
        joined = asyncio.ensure_future(self._rows.join())
        await asyncio.wait((joined, self._task), return_when=asyncio.FIRST_COMPLETED)
        joined.cancel()
        self.check()

    async def cancel(self) -> None:
        """Stop. What was not acknowledged is still in the table."""
        self._task.cancel()
        # Not awaited itself: its end would be taken for that of whoever cancels us meanwhile.
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.exception()

    async def _run(self) -> None:
        for row in self._left:
            await self._send(row)
        self._left.clear()
        while True:
            rows = [await self._rows.get()]
            while not self._rows.empty():
                rows.append(self._rows.get_nowait())
            await self._send(*rows)
            for _ in rows:
                self._rows.task_done()

    async def _send(self, *rows: OutboxRow) -> None:
        places: dict[tuple[str, int], None] = {}
        for row in rows:
            for record in row.records:
                self._log.append(record)
                places[record.topic, record.partition] = None
        # Asked for before any is awaited: a partition that fails meanwhile, and is written to
        # again by somebody else, would answer as if nothing had happened.
        await asyncio.gather(*[self._log.acknowledged(*place) for place in places])
        self._published = rows[-1].number
