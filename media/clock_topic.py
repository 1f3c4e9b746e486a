"""The clock topic as the media process sees it: what it says of the past, and how it is written."""

import asyncio
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.domain.clock_events import anchor_of, clock_event
from engagement.domain.events import CLOCK_TOPIC, ClockAnchored
from engagement.domain.media_time import Anchor
from engagement.errors import UnavailableError
from engagement.log.codec import PoisonError, decode_data, decode_raw, encode_fact
from engagement.log.topics import partition_of
from engagement.log.writer import LogWriter
from media import metrics
from media.clock import ClockEvent

log = structlog.get_logger()

FETCH_RECORDS: Final = 5_000
RETRY_S: Final = 0.5
"""Between two tries to get a room's newest anchor onto a log that is away."""


async def read_newest_anchors(bootstrap: str, partitions: int) -> dict[str, Anchor]:
    """The newest anchor of every room that ever had a clock, read from the whole topic.

    Compaction keeps at least that one per room; the days before it takes hold are read as well,
    at some 50,000 records a second. Records that are no clock events are passed over.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, fetch_max_wait_ms=100
    )
    await consumer.start()
    try:
        every = [TopicPartition(CLOCK_TOPIC, number) for number in range(partitions)]
        consumer.assign(every)
        await consumer.seek_to_beginning(*every)
        ends = await consumer.end_offsets(every)
        newest: dict[str, Anchor] = {}
        while any([await consumer.position(at) < ends[at] for at in every]):
            batches = await consumer.getmany(timeout_ms=200, max_records=FETCH_RECORDS)
            for records in batches.values():
                for record in records:
                    _fold(newest, record.value)
            await asyncio.sleep(0)
        return newest
    finally:
        await consumer.stop()


def _fold(newest: dict[str, Anchor], value: bytes | None) -> None:
    try:
        raw = decode_raw(value)
        data = decode_data(raw)
    except PoisonError:
        return
    if not isinstance(data, ClockAnchored):
        return
    known = newest.get(raw.roomid)
    if known is None or (data.epoch, data.at_us) > (known.epoch, known.at_us):
        newest[raw.roomid] = anchor_of(raw.id, raw.type, data)


class ClockLog:
    """Writes clock events; a room's newest one is repeated until the log has it.

    Older ones are not: an anchor replaces what was before it, and what nobody heard of in time
    was covered by what followers state as overdue.
    """

    def __init__(self, writer: LogWriter, partitions: int) -> None:
        self._writer = writer
        self._partitions = partitions
        self._sent: dict[str, int] = {}
        """The newest send of each room, counted."""
        self._unsent: dict[str, bytes] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._retrying: asyncio.Task[None] | None = None

    @property
    def unsent(self) -> int:
        """Rooms whose newest anchor is not on the log and not on its way there."""
        return len(self._unsent)

    def write(self, room: str, event: ClockEvent, engine: str) -> None:
        """Put an event of an engine on the log; returns at once."""
        decided = clock_event(room, event.kind, event.anchor, engine=engine, reason=event.reason)
        self._send(room, encode_fact(decided))

    async def flush(self, timeout_s: float) -> None:
        """Return when everything is acknowledged, or after a while."""
        async with asyncio.timeout(timeout_s):
            while self._waiting or self._unsent:
                pending = set(self._waiting)
                if self._retrying is not None:
                    pending.add(self._retrying)
                await asyncio.wait(pending)

    def _send(self, room: str, value: bytes) -> None:
        number = self._sent[room] = self._sent.get(room, 0) + 1
        self._unsent.pop(room, None)
        partition = partition_of(room, self._partitions)
        try:
            self._writer.append(CLOCK_TOPIC, partition, room.encode(), value)
        except UnavailableError:
            self._keep(room, value)
            return
        acknowledged = self._writer.acknowledged(CLOCK_TOPIC, partition)
        task = asyncio.create_task(self._await_ack(room, number, value, acknowledged))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _await_ack(
        self, room: str, number: int, value: bytes, acknowledged: asyncio.Future[int]
    ) -> None:
        try:
            await acknowledged
        except UnavailableError:
            metrics.UNACKNOWLEDGED.inc()
            if self._sent[room] == number:
                self._keep(room, value)

    def _keep(self, room: str, value: bytes) -> None:
        self._unsent[room] = value
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry())

    async def _retry(self) -> None:
        while self._unsent:
            await asyncio.sleep(RETRY_S)
            waiting, self._unsent = self._unsent, {}
            log.warning("clock.unsent", rooms=len(waiting))
            for room, value in waiting.items():
                self._send(room, value)
