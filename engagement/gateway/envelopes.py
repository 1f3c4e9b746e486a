"""Writing accepted requests to the log: one envelope per partition and flush.

All partitions flush together, at most every `flush_ms`: the processor pays per record, so thin
records are what makes it slow. A gateway that has been quiet for that long flushes at once. The
clock anchor of each request is looked up when it is flushed, in hindsight: a step that became
known while the request waited is the one it is stamped by.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from msgspec import UNSET, Struct, UnsetType

from engagement.domain import limits
from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.media_time import RoomClock
from engagement.domain.requests import Request, Role
from engagement.errors import EngagementError
from engagement.gateway import metrics
from engagement.log.codec import encode_envelope
from engagement.log.topics import REQUESTS_TOPIC

log = structlog.get_logger()


class Log(Protocol):
    """What of the log's writer is used here."""

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        """Queue a record; never blocks."""

    def acknowledged(self, topic: str, partition: int) -> asyncio.Future[int]:
        """Done when all appended so far is acknowledged; raises what the broker answered."""

    def pending_bytes(self) -> int:
        """What the broker has not acknowledged."""


class Clocks(Protocol):
    """Who knows the rooms' media clocks."""

    def clock(self, room: str) -> RoomClock | None:
        """The clock of a room, or None when it has none."""


class Group(Struct, frozen=True, gc=False):
    """Requests that were accepted together: one room, one instant, one sender's role."""

    room: str
    role: Role
    at_us: int
    asks: list[tuple[str, Request]]
    """Actor and request."""
    session: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET


class Flush:
    """Requests that share one acknowledgement."""

    __slots__ = ("acked", "began_s", "count", "done", "groups", "keys")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.groups: list[Group] = []
        self.count = 0
        self.keys: list[str] = []
        """Idempotency keys to be forgotten if the acknowledgement fails."""
        self.began_s = loop.time()
        self.acked = False
        self.done: asyncio.Future[bool] = loop.create_future()
        """True when the broker has it; False when it may not. Never raises."""


class EnvelopeWriter:
    """Collects groups by partition and writes them on the common grid."""

    def __init__(
        self,
        writer: Log,
        clocks: Clocks,
        *,
        gateway: str,
        flush_s: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._writer = writer
        self._clocks = clocks
        self._gateway = gateway
        self._key: Final = gateway.encode()
        self._flush_s = flush_s
        self._loop = loop
        self._open: dict[int, Flush] = {}
        self._next_s = 0.0
        self._scheduled = False
        self._in_flight: dict[Flush, None] = {}
        self.failed: Callable[[list[str]], None] = lambda keys: None
        """Told the keys of requests that the broker may not have."""

    def reserve(self, partition: int, count: int) -> Flush:
        """The flush that the next `count` requests of this partition leave with.

        The caller adds its groups to it before it gives way to the loop.
        """
        flush = self._open.get(partition)
        if flush is not None and flush.count + count > limits.ENVELOPE_REQUESTS_MAX:
            self._send(partition)
            flush = None
        if flush is None:
            flush = self._open[partition] = Flush(self._loop)
            self._in_flight[flush] = None
            self._schedule()
        return flush

    def put(self, partition: int, group: Group) -> Flush:
        """Take a group of our own making; the flush that it leaves with."""
        flush = self.reserve(partition, len(group.asks))
        flush.groups.append(group)
        flush.count += len(group.asks)
        return flush

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        if self._loop.time() >= self._next_s:
            self._loop.call_soon(self.flush)
        else:
            self._loop.call_at(self._next_s, self.flush)

    def flush(self) -> None:
        """Write everything that has been collected."""
        self._scheduled = False
        self._next_s = self._loop.time() + self._flush_s
        for partition in list(self._open):
            self._send(partition)

    def has_room(self) -> bool:
        """Whether more may be taken: the broker keeps up."""
        return self._writer.pending_bytes() < limits.PENDING_BYTES_MAX

    def stalled_s(self) -> float:
        """Age of the oldest request that the broker has not acknowledged."""
        oldest = next(iter(self._in_flight), None)
        return 0.0 if oldest is None else self._loop.time() - oldest.began_s

    async def settled(self) -> None:
        """Wait until everything put so far is acknowledged or has failed."""
        self.flush()
        for flush in list(self._in_flight):
            await asyncio.wait({flush.done})

    def _send(self, partition: int) -> None:
        flush = self._open.pop(partition)
        try:
            clock, requests = self._accepted(flush.groups)
            flush.groups = []
            for value in self._encode(clock, requests):
                self._writer.append(REQUESTS_TOPIC, partition, self._key, value)
                metrics.ENVELOPES.inc()
        except Exception as error:
            # Whatever it is, those who wait must hear of it, and the other partitions go on.
            if not isinstance(error, EngagementError):
                log.exception("flush.failed", partition=partition)
            self._settle(flush, acked=False)
            return
        metrics.ENVELOPED.inc(flush.count)
        acknowledged = self._writer.acknowledged(REQUESTS_TOPIC, partition)
        acknowledged.add_done_callback(
            lambda future: self._settle(
                flush, acked=not future.cancelled() and future.exception() is None
            )
        )

    def _settle(self, flush: Flush, *, acked: bool) -> None:
        del self._in_flight[flush]
        flush.acked = acked
        if acked:
            metrics.ACK_SECONDS.observe(self._loop.time() - flush.began_s)
        else:
            self.failed(flush.keys)
        flush.keys = []
        flush.done.set_result(acked)

    def _accepted(self, groups: list[Group]) -> tuple[list[ClockEntry], list[Accepted]]:
        clock: list[ClockEntry] = []
        index: dict[tuple[str, str], int] = {}
        requests: list[Accepted] = []
        for group in groups:
            anchor = self._anchor(group, clock, index)
            room, role, at_us = group.room, group.role, group.at_us
            session, traceparent = group.session, group.traceparent
            for actor, request in group.asks:
                requests.append(
                    Accepted(room, actor, role, at_us, request, session, anchor, traceparent)
                )
        return clock, requests

    def _anchor(
        self, group: Group, clock: list[ClockEntry], index: dict[tuple[str, str], int]
    ) -> int | UnsetType:
        known = self._clocks.clock(group.room)
        anchor = None if known is None else known.at(group.at_us)
        if known is None or anchor is None:
            return UNSET
        key = (group.room, anchor.id)
        if key not in index:
            index[key] = len(clock)
            clock.append(ClockEntry(anchor, known.lag_ms))
        return index[key]

    def _encode(self, clock: list[ClockEntry], requests: list[Accepted]) -> list[bytes]:
        value = encode_envelope(Envelope(self._gateway, requests, clock))
        if len(value) <= limits.ENVELOPE_BYTES_MAX or len(requests) == 1:
            return [value]
        half = len(requests) // 2
        return self._encode(clock, requests[:half]) + self._encode(clock, requests[half:])
