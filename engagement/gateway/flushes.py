"""Records that leave together: what is collected by partition is written on one common grid.

All partitions of all writers flush together, at most every `flush_ms`: processors pay per record,
so thin records are what makes them slow. A gateway that has been quiet for that long flushes at
once.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

from engagement.domain import limits
from engagement.errors import EngagementError
from engagement.gateway import metrics

log = structlog.get_logger()

Part = TypeVar("Part")


class Log(Protocol):
    """What of the log's writer is used here."""

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        """Queue a record; never blocks."""

    def acknowledged(self, topic: str, partition: int) -> asyncio.Future[int]:
        """Done when all appended so far is acknowledged; raises what the broker answered."""

    def pending_bytes(self) -> int:
        """What the broker has not acknowledged."""


class Grid:
    """When everything that has been collected is written."""

    def __init__(self, flush_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._flush_s = flush_s
        self._next_s = 0.0
        self._scheduled = False
        self._writers: list[Callable[[], None]] = []

    def add(self, write: Callable[[], None]) -> None:
        """Call this at every point of the grid that was asked for."""
        self._writers.append(write)

    def ask(self) -> None:
        """Something was collected: it leaves at the next point, at once after a quiet time."""
        if self._scheduled:
            return
        self._scheduled = True
        if self.loop.time() >= self._next_s:
            self.loop.call_soon(self.flush)
        else:
            self.loop.call_at(self._next_s, self.flush)

    def flush(self) -> None:
        """Write everything that has been collected."""
        self._scheduled = False
        self._next_s = self.loop.time() + self._flush_s
        for write in self._writers:
            write()


class Flush(Generic[Part]):
    """Requests that share one acknowledgement."""

    __slots__ = ("acked", "began_s", "count", "done", "keys", "parts")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.parts: list[Part] = []
        self.count = 0
        """Requests in them."""
        self.keys: list[str] = []
        """Idempotency keys to be forgotten if the acknowledgement fails."""
        self.began_s = loop.time()
        self.acked = False
        self.done: asyncio.Future[bool] = loop.create_future()
        """True when the broker has it; False when it may not. Never raises."""


class FlushWriter(ABC, Generic[Part]):
    """Collects parts by partition of one topic and writes them on the grid."""

    def __init__(self, writer: Log, grid: Grid, *, topic: str, key: bytes) -> None:
        self._writer = writer
        self._grid = grid
        self._topic = topic
        self._key = key
        self._open: dict[int, Flush[Part]] = {}
        self._in_flight: dict[Flush[Part], None] = {}
        self.failed: Callable[[list[str]], None] = lambda keys: None
        """Told the keys of requests that the broker may not have."""
        grid.add(self._write)

    @abstractmethod
    def _encode(self, parts: list[Part]) -> list[bytes]:
        """The records of these parts, each within what the broker takes."""

    def reserve(self, partition: int, count: int) -> Flush[Part]:
        """The flush that the next `count` requests of this partition leave with.

        The caller adds its parts to it before it gives way to the loop.
        """
        flush = self._open.get(partition)
        if flush is not None and flush.count + count > limits.ENVELOPE_REQUESTS_MAX:
            self._send(partition)
            flush = None
        if flush is None:
            flush = self._open[partition] = Flush(self._grid.loop)
            self._in_flight[flush] = None
            self._grid.ask()
        return flush

    def has_room(self) -> bool:
        """Whether more may be taken: the broker keeps up."""
        return self._writer.pending_bytes() < limits.PENDING_BYTES_MAX

    def stalled_s(self) -> float:
        """Age of the oldest request that the broker has not acknowledged."""
        oldest = next(iter(self._in_flight), None)
        return 0.0 if oldest is None else self._grid.loop.time() - oldest.began_s

    def flush(self) -> None:
        """Write everything that has been collected now, off the grid."""
        self._grid.flush()

    async def settled(self) -> None:
        """Wait until everything put so far is acknowledged or has failed."""
        self.flush()
        for flush in list(self._in_flight):
            await asyncio.wait({flush.done})

    def _write(self) -> None:
        for partition in list(self._open):
            self._send(partition)

    def _send(self, partition: int) -> None:
        flush = self._open.pop(partition)
        try:
            values = self._encode(flush.parts)
            flush.parts = []
            for value in values:
                self._writer.append(self._topic, partition, self._key, value)
                metrics.ENVELOPES.inc()
        except Exception as error:
            # Whatever it is, those who wait must hear of it, and the other partitions go on.
            if not isinstance(error, EngagementError):
                log.exception("flush.failed", topic=self._topic, partition=partition)
            self._settle(flush, acked=False)
            return
        metrics.ENVELOPED.inc(flush.count)
        acknowledged = self._writer.acknowledged(self._topic, partition)
        acknowledged.add_done_callback(
            lambda future: self._settle(
                flush, acked=not future.cancelled() and future.exception() is None
            )
        )

    def _settle(self, flush: Flush[Part], *, acked: bool) -> None:
        del self._in_flight[flush]
        flush.acked = acked
        if acked:
            metrics.ACK_SECONDS.observe(self._grid.loop.time() - flush.began_s)
        else:
            self.failed(flush.keys)
        flush.keys = []
        flush.done.set_result(acked)
