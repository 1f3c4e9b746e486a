"""Bringing a partition's rooms back: checkpoint, then the tails of both fact topics.

Read at every assignment of a partition that is new to this worker, behind a gate: no envelope is
processed before. The ids of the newest facts fill the duplicate filter, also those from before
the checkpoint.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from engagement.domain import limits
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC, decided
from engagement.domain.moderation import Moderator
from engagement.domain.room_partition import RoomPartition
from engagement.domain.seen_ids import SeenIds
from engagement.log.checkpoints import Checkpoint, Positions, read_checkpoints
from engagement.log.codec import PoisonError, decode_raw

log = structlog.get_logger()

FACT_TOPICS = (ROOM_TOPIC, ACTIVITY_TOPIC)


class _Refused(msgspec.Struct):
    request: str = ""
    code: str = ""


class _Head(msgspec.Struct):
    """As little of a fact as the duplicate filter needs."""

    id: str
    type: str
    actorid: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


_HEAD = msgspec.json.Decoder(_Head)
_REFUSED = msgspec.json.Decoder(_Refused)


@dataclass
class RecoveredPartition:
    """The rooms of a partition as the log has them, and the offsets that come next."""

    rooms: RoomPartition
    positions: Positions


async def end_positions(bootstrap: str, partitions: Iterable[int]) -> dict[int, Positions]:
    """The next offsets of both fact topics, per partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(_assignment(partitions))
    finally:
        await consumer.stop()
    return {
        number: Positions(
            ends[TopicPartition(ROOM_TOPIC, number)], ends[TopicPartition(ACTIVITY_TOPIC, number)]
        )
        for number in partitions
    }


async def recover(
    bootstrap: str, partitions: Sequence[int], moderator: Moderator
) -> dict[int, RecoveredPartition]:
    """The state of these partitions. Raises aiokafka's errors when the broker does not answer."""
    started = time.monotonic()
    checkpoints = await read_checkpoints(bootstrap, partitions, with_leases=True)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        fetch_max_wait_ms=100,
        fetch_max_bytes=16 * 1024 * 1024,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        fold = _Fold(checkpoints, moderator)
        async for record in _tails(consumer, checkpoints):
            fold.take(record)
    finally:
        await consumer.stop()
    log.info(
        "partitions recovered",
        partitions=sorted(partitions),
        remembered=fold.remembered,
        folded=fold.folded,
        poison=fold.poison,
        took_ms=round((time.monotonic() - started) * 1000),
    )
    return {
        number: RecoveredPartition(rooms, Positions(*fold.next[number]))
        for number, rooms in fold.partitions.items()
    }


def _assignment(partitions: Iterable[int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in FACT_TOPICS for number in partitions]


async def _tails(
    consumer: AIOKafkaConsumer, checkpoints: dict[int, Checkpoint]
) -> AsyncIterator[ConsumerRecord]:
    """Every record from the start of the window (or of what the checkpoint lacks) to the end."""
    assigned = _assignment(checkpoints)
    if not assigned:
        return
    consumer.assign(assigned)
    begins = await consumer.beginning_offsets(assigned)
    ends = await consumer.end_offsets(assigned)
    for tp in assigned:
        checkpoint = checkpoints[tp.partition]
        needed = checkpoint.room_offset if tp.topic == ROOM_TOPIC else checkpoint.activity_offset
        window = ends[tp] - limits.SEED_FACTS_PER_PARTITION
        consumer.seek(tp, max(begins[tp], min(needed, window)))
    while any([await consumer.position(tp) < ends[tp] for tp in assigned]):
        for tp, records in (await consumer.getmany(timeout_ms=200, max_records=5000)).items():
            for record in records:
                if record.offset < ends[tp]:
                    yield record
        await asyncio.sleep(0)


class _Fold:
    """Folds tails into partitions, dropping duplicates per topic by id."""

    def __init__(self, checkpoints: dict[int, Checkpoint], moderator: Moderator) -> None:
        self.partitions: dict[int, RoomPartition] = {}
        self.next: dict[int, list[int]] = {}
        self.remembered = self.folded = self.poison = 0
        self._checkpoints = checkpoints
        self._seen: dict[tuple[str, int], SeenIds[bool]] = {}
        for number, checkpoint in checkpoints.items():
            rooms = self.partitions[number] = RoomPartition(moderator)
            for state in checkpoint.rooms.values():
                rooms.restore(state)
            self.next[number] = [checkpoint.room_offset, checkpoint.activity_offset]
            for topic in FACT_TOPICS:
                self._seen[topic, number] = SeenIds(limits.SEED_FACTS_PER_PARTITION)

    def take(self, record: ConsumerRecord) -> None:
        """One record of a fact topic."""
        number, index = record.partition, FACT_TOPICS.index(record.topic)
        try:
            if record.offset < self._folded_up_to(record, index):
                self._remember(record)
            else:
                self._recall(record)
        except (PoisonError, msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError):
            # Not ours: a foreign producer wrote it. Consumers set it aside; here it has no say.
            self.poison += 1
        self.next[number][index] = max(self.next[number][index], record.offset + 1)

    def _folded_up_to(self, record: ConsumerRecord, index: int) -> int:
        checkpoint = self._checkpoints[record.partition]
        marker = (checkpoint.room_offset, checkpoint.activity_offset)[index]
        room = checkpoint.positions_of.get((record.key or b"").decode(errors="replace"))
        if room is None:
            return marker
        return max(marker, (room.room, room.activity)[index])

    def _remember(self, record: ConsumerRecord) -> None:
        head = _HEAD.decode(record.value)
        rooms = self.partitions[record.partition]
        rooms.remember(head.id, head.actorid)
        self._seen[record.topic, record.partition].add(head.id, True)
        if head.type == "request.refused":
            refused = _REFUSED.decode(head.data)
            if refused.code != "id_reused":
                rooms.remember(refused.request, head.actorid)
        self.remembered += 1

    def _recall(self, record: ConsumerRecord) -> None:
        seen = self._seen[record.topic, record.partition]
        raw = decode_raw(record.value)
        if seen.get(raw.id) is None:
            self.partitions[record.partition].recall(decided(raw))
            seen.add(raw.id, True)
            self.folded += 1
