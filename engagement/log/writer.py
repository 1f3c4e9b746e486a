"""The one way records get onto the log: self-clocking batches, acknowledged by all replicas.

While one batch of a partition is in flight the next one collects; when the acknowledgement is
there the next one leaves. An idle partition sends at once, a busy one sends thick batches, and
no timer is needed. One future is made per batch, not per record, which is several times cheaper
than `AIOKafkaProducer.send`.

Order within a partition is the order of `append`: the producer is idempotent (KIP-98) and keeps
one batch of a partition in flight.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from engagement.domain import limits
from engagement.errors import TooLargeError, UnavailableError

log = structlog.get_logger()

BATCH_BYTES: Final = 512 * 1024
"""Half of what a request may hold: a batch and its neighbour fit one request."""
STOP_TIMEOUT_S: Final = 3.0
"""A process has 5 s to end; what the broker has not taken by then was not acknowledged."""
REQUEST_TIMEOUT_MS: Final = 20_000
"""A broker that hangs is asked again after this, with the same sequence numbers. As long as the
partition has a leader a batch is never given up: a broker that was killed makes it late."""
RECORD_OVERHEAD_BYTES: Final = 100
"""Record and batch headers (KIP-98 message format), rounded up."""


Header = tuple[str, bytes]


class _Batch:
    """Records that travel together, and who waits for them."""

    __slots__ = ("builder", "bytes", "count", "waiters")

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.count = 0
        self.bytes = 0
        self.waiters: list[tuple[int, asyncio.Future[int]]] = []
        """How many records were in the batch when each was asked for."""


class _Lane:
    """One partition: batches to be sent, oldest first, and the task that sends them."""

    __slots__ = ("batches", "in_flight", "last_offset", "lost", "sender")

    def __init__(self) -> None:
        self.batches: deque[_Batch] = deque()
        self.in_flight: _Batch | None = None
        self.last_offset = -1
        self.lost: Exception | None = None
        """Why the newest records may not be on the log; None when they are or will be."""
        self.sender: asyncio.Task[None] | None = None


class LogWriter:
    """Appends records to any partition of any topic.

    A send that fails for good fails everything that waits, on all partitions (what follows must
    not overtake what failed), and the next `append` starts over with a new producer. Whether the
    failed records are on the log is unknown: their requests are repeated with the same ids.
    """

    def __init__(self, bootstrap: str, *, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._pending_bytes = 0
        self._reopening: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Connect; raises aiokafka's KafkaConnectionError when no broker answers."""
        self._producer = await self._open()

    async def stop(self) -> None:
        """Send what is pending, then close; what is not acknowledged in 3 s has failed."""
        self._stopping = True
        senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
        if senders:
            await asyncio.wait(senders, timeout=STOP_TIMEOUT_S)
        if self._pending_bytes:
            self._fail(UnavailableError("the writer was stopped", code="log_unavailable"))
        for sender in senders:
            sender.cancel()
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait((self._reopening,))
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await _close(producer)

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
    ) -> None:
        """Queue one record; never blocks.

        Raises TooLargeError for a record that no broker would take, and UnavailableError while
        the log cannot be reached.
        """
        if self._producer is None:
            raise UnavailableError("the log cannot be reached", code="log_unavailable")
        size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES
        if headers:
            size += sum(len(name) + len(content) + 10 for name, content in headers)
        if size > limits.RECORD_BYTES_MAX:
            raise TooLargeError(f"a record of {size} bytes is larger than the log takes")
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane()
        now_ms = time.time_ns() // 1_000_000
        batches = lane.batches
        added = None
        if batches:
            added = batches[-1].builder.append(
                timestamp=now_ms, key=key, value=value, headers=list(headers)
            )
        if added is None:
            batch = _Batch(self._producer.create_batch())
            batch.builder.append(timestamp=now_ms, key=key, value=value, headers=list(headers))
            batches.append(batch)
        batch = batches[-1]
        batch.count += 1
        batch.bytes += size
        lane.lost = None
        self._pending_bytes += size
        if lane.sender is None:
            lane.sender = asyncio.ensure_future(self._send(lane, topic, partition))

    def acknowledged(self, topic: str, partition: int) -> asyncio.Future[int]:
        """Done when all that was appended so far is acknowledged, with the offset of the last of
        these records (not of the batch they travelled in, which may have grown since).

        -1 when nothing was ever appended. Raises UnavailableError when the send failed. Every
        call makes a future of its own: cancelling it harms nobody.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        lane = self._lanes.get((topic, partition))
        newest = None if lane is None else (lane.batches[-1] if lane.batches else lane.in_flight)
        if newest is not None:
            newest.waiters.append((newest.count, future))
        elif lane is not None and lane.lost is not None:
            _refuse(future, lane.lost)
        else:
            future.set_result(-1 if lane is None else lane.last_offset)
        return future

    def pending_bytes(self) -> int:
        """What is queued or in flight, for back-pressure."""
        return self._pending_bytes

    async def _send(self, lane: _Lane, topic: str, partition: int) -> None:
        try:
            # One turn of the loop: everything that is appended in this turn travels together.
            await asyncio.sleep(0)
            while lane.batches:
                lane.in_flight = lane.batches.popleft()
                lane.in_flight.builder.close()
                await self._deliver(lane, lane.in_flight, topic, partition)
        except Exception as error:
            self._fail(error)
        finally:
            if lane.sender is asyncio.current_task():
                lane.sender = None

    async def _deliver(self, lane: _Lane, batch: _Batch, topic: str, partition: int) -> None:
        if self._producer is None:
            raise UnavailableError("the log cannot be reached", code="log_unavailable")
        sent = await self._producer.send_batch(batch.builder, topic, partition=partition)
        written = await sent
        if written.offset < 0:
            # DuplicateSequenceNumber: it is on the log, but nobody can say where.
            raise UnavailableError("the offset of a batch is not known", code="log_unavailable")
        lane.in_flight = None
        lane.last_offset = written.offset + batch.count - 1
        self._pending_bytes -= batch.bytes
        for count, waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(written.offset + count - 1)

    def _fail(self, error: Exception) -> None:
        """Fail all that waits, and open a new producer."""
        log.error("log write failed", error=repr(error), pending_bytes=self._pending_bytes)
        failure = UnavailableError(
            f"the log did not acknowledge: {error!r}", code="log_unavailable"
        )
        waiting: list[_Batch] = []
        for lane in self._lanes.values():
            if lane.in_flight is None and not lane.batches:
                continue
            lane.lost = failure
            if lane.sender is not None and lane.sender is not asyncio.current_task():
                lane.sender.cancel()
            lane.sender = None
            if lane.in_flight is not None:
                waiting.append(lane.in_flight)
                lane.in_flight = None
            waiting += lane.batches
            lane.batches.clear()
        self._pending_bytes = 0
        for batch in waiting:
            for _, waiter in batch.waiters:
                _refuse(waiter, failure)
        if self._stopping:
            return
        producer, self._producer = self._producer, None
        if producer is not None and self._reopening is None:
            self._reopening = asyncio.ensure_future(self._reopen(producer))

    async def _reopen(self, old: AIOKafkaProducer) -> None:
        await _close(old)
        while True:
            try:
                self._producer = await self._open()
                break
            except (KafkaError, OSError) as error:
                log.warning("log cannot be reached", error=repr(error))
                await asyncio.sleep(1)
        self._reopening = None

    async def _open(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * limits.RECORD_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=50,
            metadata_max_age_ms=60_000,
        )
        try:
            await producer.start()
        except BaseException:
            await _close(producer)
            raise
        return producer


def _refuse(waiter: asyncio.Future[int], failure: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(failure)
        waiter.exception()  # Looked at: an acknowledgement that nobody awaits is no news.


async def _close(producer: AIOKafkaProducer) -> None:
    """Close a producer; without a broker its own flush would wait for ever."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.stop(), STOP_TIMEOUT_S / 3)
