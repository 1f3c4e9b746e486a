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
SEND_TIMEOUT_MS: Final = 20_000
"""A broker that was killed is back in 3 s, 15 s at worst; later the send has failed."""
RECORD_OVERHEAD_BYTES: Final = 100
"""Record and batch headers (KIP-98 message format), rounded up."""


class _Batch:
    """Records that travel together, and who waits for them."""

    __slots__ = ("builder", "bytes", "count", "waiters")

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.count = 0
        self.bytes = 0
        self.waiters: list[asyncio.Future[int]] = []


class _Lane:
    """One partition: batches to be sent, oldest first, and the task that sends them."""

    __slots__ = ("batches", "in_flight", "last_offset", "sender")

    def __init__(self) -> None:
        self.batches: deque[_Batch] = deque()
        self.in_flight: _Batch | None = None
        self.last_offset = -1
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

    async def start(self) -> None:
        """Connect; raises aiokafka's KafkaConnectionError when no broker answers."""
        self._producer = await self._open()

    async def stop(self) -> None:
        """Send what is pending, then close."""
        senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
        if senders:
            await asyncio.wait(senders, timeout=SEND_TIMEOUT_MS / 1000)
        if self._reopening is not None:
            self._reopening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reopening
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue one record; never blocks.

        Raises TooLargeError for a record that no broker would take, and UnavailableError while
        the log cannot be reached.
        """
        if self._producer is None:
            raise UnavailableError("the log cannot be reached", code="log_unavailable")
        size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES
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
        self._pending_bytes += size
        if lane.sender is None:
            lane.sender = asyncio.ensure_future(self._send(lane, topic, partition))

    def acknowledged(self, topic: str, partition: int) -> asyncio.Future[int]:
        """Done when all that was appended so far is acknowledged, with the last one's offset.

        -1 when nothing was ever appended. Raises UnavailableError when the send failed.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        lane = self._lanes.get((topic, partition))
        newest = None if lane is None else (lane.batches[-1] if lane.batches else lane.in_flight)
        if newest is not None:
            newest.waiters.append(future)
        else:
            future.set_result(-1 if lane is None else lane.last_offset)
        return future

    def pending_bytes(self) -> int:
        """What is queued or in flight, for back-pressure."""
        return self._pending_bytes

    async def _send(self, lane: _Lane, topic: str, partition: int) -> None:
        # One turn of the loop: everything that is appended in this turn travels together.
        await asyncio.sleep(0)
        try:
            while lane.batches:
                lane.in_flight = lane.batches.popleft()
                lane.in_flight.builder.close()
                await self._deliver(lane, lane.in_flight, topic, partition)
                lane.in_flight = None
        except Exception as error:
            self._fail(error)
        finally:
            lane.sender = None

    async def _deliver(self, lane: _Lane, batch: _Batch, topic: str, partition: int) -> None:
        if self._producer is None:
            raise UnavailableError("the log cannot be reached", code="log_unavailable")
        sent = await self._producer.send_batch(batch.builder, topic, partition=partition)
        written = await sent
        lane.last_offset = written.offset + batch.count - 1
        self._pending_bytes -= batch.bytes
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_result(lane.last_offset)

    def _fail(self, error: Exception) -> None:
        """Fail all that waits, and open a new producer."""
        log.error("log write failed", error=repr(error), pending_bytes=self._pending_bytes)
        failure = UnavailableError(
            f"the log did not acknowledge: {error!r}", code="log_unavailable"
        )
        waiting: list[_Batch] = []
        for lane in self._lanes.values():
            if lane.in_flight is not None:
                waiting.append(lane.in_flight)
                lane.in_flight = None
            waiting += lane.batches
            lane.batches.clear()
        self._pending_bytes = 0
        for batch in waiting:
            for waiter in batch.waiters:
                if not waiter.done():
                    waiter.set_exception(failure)
        producer, self._producer = self._producer, None
        if producer is not None and self._reopening is None:
            self._reopening = asyncio.ensure_future(self._reopen(producer))

    async def _reopen(self, old: AIOKafkaProducer) -> None:
        with contextlib.suppress(Exception):
            await old.stop()
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
            request_timeout_ms=SEND_TIMEOUT_MS,
            retry_backoff_ms=50,
            metadata_max_age_ms=60_000,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer
