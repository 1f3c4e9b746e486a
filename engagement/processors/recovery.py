"""Bringing a partition's rooms back: checkpoint, then the tails of both fact topics.

Read at every assignment of a partition that is new to this worker, behind a gate: no envelope is
processed before. The duplicate filter comes back with it: the checkpoint holds the ids of the facts
before it. (Where there is no checkpoint, the filter's window is read from the facts themselves.)

The two topics have no order between them, but their facts were decided in one: every record
carries its place in it (`fact_headers`), and the tails are merged by that.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.domain import limits
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC
from engagement.domain.moderation import Moderator
from engagement.domain.room_partition import RoomPartition
from engagement.domain.seen_ids import SeenIds
from engagement.log.checkpoints import Checkpoint, Positions, read_checkpoints
from engagement.log.codec import PoisonError, decode_fact
from engagement.processors.fact_headers import order_of

log = structlog.get_logger()

FACT_TOPICS: Final = (ROOM_TOPIC, ACTIVITY_TOPIC)
_QUEUED_RECORDS_MAX: Final = 20_000
"""A topic that is this far ahead of the other one is not fetched until the other catches up."""


class _Refused(msgspec.Struct):
    request: str = ""
    code: str = ""


class _Head(msgspec.Struct):
    """As little of a fact as the duplicate filter needs."""

    id: str
    type: str
    actorid: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


_HEAD: Final = msgspec.json.Decoder(_Head)
_REFUSED: Final = msgspec.json.Decoder(_Refused)


@dataclass
class RecoveredPartition:
    """The rooms of a partition as the log has them, and what comes next."""

    rooms: RoomPartition
    positions: Positions
    order: int
    """Place of the next fact in the order in which the partition's facts are decided."""
    checkpoint: Checkpoint
    """What was begun from, its rooms handed over."""
    folded: int
    """Facts since then."""


async def end_positions(bootstrap: str, partitions: Iterable[int]) -> dict[int, Positions]:
    """The next offsets of both fact topics, per partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        # Unassigned, it would not know where the partitions are, and wait.
        assigned = _both_topics(partitions)
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
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
    if not partitions:
        return {}
    started_s = time.monotonic()
    checkpoints = await read_checkpoints(bootstrap, partitions, with_leases=True)
    read_s = time.monotonic()
    folds = {number: Fold(checkpoints[number], moderator) for number in partitions}
    await _read_tails(bootstrap, folds)
    log.info(
        "partitions recovered",
        partitions=sorted(partitions),
        rooms=sum(len(fold.rooms.rooms) for fold in folds.values()),
        remembered=sum(fold.remembered for fold in folds.values()),
        folded=sum(fold.folded for fold in folds.values()),
        poison=sum(fold.poison for fold in folds.values()),
        checkpoint_ms=round((read_s - started_s) * 1000),
        tails_ms=round((time.monotonic() - read_s) * 1000),
    )
    return {number: fold.result() for number, fold in folds.items()}


def _both_topics(partitions: Iterable[int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in FACT_TOPICS for number in partitions]


async def _read_tails(bootstrap: str, folds: dict[int, "Fold"]) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
        fetch_max_bytes=16 * 1024 * 1024,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        assigned = _both_topics(folds)
        consumer.assign(assigned)
        firsts = await consumer.beginning_offsets(assigned)
        ends = await consumer.end_offsets(assigned)
        for at in assigned:
            fold = folds[at.partition]
            consumer.seek(at, fold.begin(at.topic, firsts[at], ends[at]))
        await _drain(consumer, folds, ends)
    finally:
        await consumer.stop()


async def _drain(consumer: Any, folds: dict[int, "Fold"], ends: dict[Any, int]) -> None:
    """Read up to `ends`, the topics of a partition in step."""
    reading = set(ends)
    while reading:
        fetching = [at for at in reading if folds[at.partition].wants(at.topic)]
        for at, records in (await consumer.getmany(*fetching, timeout_ms=100)).items():
            folds[at.partition].add(
                at.topic, [record for record in records if record.offset < ends[at]]
            )
        for at in list(reading):
            if await consumer.position(at) >= ends[at]:
                reading.discard(at)
                folds[at.partition].end(at.topic, ends[at])
        for fold in folds.values():
            fold.advance()
        await asyncio.sleep(0)


class Fold:
    """Folds the tails of both topics into one partition, in the order of decision, dropping
    duplicates per topic by id."""

    def __init__(self, checkpoint: Checkpoint, moderator: Moderator) -> None:
        self.rooms = RoomPartition(moderator)
        self.remembered = self.folded = self.poison = 0
        for state in checkpoint.rooms.values():
            self.rooms.restore(state)
        for known in checkpoint.known_ids:
            for fact_id, actor in zip(known.ids, known.actors, strict=False):
                self.rooms.remember(fact_id, actor)
        self._checkpoint = checkpoint
        self._next = {
            ROOM_TOPIC: checkpoint.room_offset,
            ACTIVITY_TOPIC: checkpoint.activity_offset,
        }
        self._order = checkpoint.order
        self._orders = dict.fromkeys(FACT_TOPICS, 0)
        self._queues: dict[str, deque[tuple[int, Any]]] = {t: deque() for t in FACT_TOPICS}
        self._open = set(FACT_TOPICS)
        self._seen: dict[str, SeenIds[bool]] = {
            topic: SeenIds(limits.SEED_FACTS_PER_PARTITION) for topic in FACT_TOPICS
        }

    def begin(self, topic: str, first: int, end: int) -> int:
        """Where to read from: what the checkpoint lacks, and the filter's window if it has none."""
        if self._checkpoint.known_ids:
            return max(first, self._next[topic])
        return max(first, min(self._next[topic], end - limits.SEED_FACTS_PER_PARTITION))

    def wants(self, topic: str) -> bool:
        """Whether more of this topic can be taken now."""
        return len(self._queues[topic]) < _QUEUED_RECORDS_MAX

    def add(self, topic: str, records: Iterable[Any]) -> None:
        """The next records of a topic."""
        queue = self._queues[topic]
        for record in records:
            # A record without a place is nobody's of ours: it is taken to follow the one before.
            order = self._orders[topic] = order_of(record.headers) or self._orders[topic]
            self._order = max(self._order, order + 1)
            if record.offset < self._folded_up_to(topic, record.key):
                self._guarded(self._remember, topic, record)
            else:
                queue.append((order, record))

    def end(self, topic: str, offset: int) -> None:
        """There is no more of this topic; the next record will have this offset."""
        self._open.discard(topic)
        self._next[topic] = max(self._next[topic], offset)

    def advance(self) -> None:
        """Fold all that is certain to come next."""
        room, activity = self._queues[ROOM_TOPIC], self._queues[ACTIVITY_TOPIC]
        while True:
            if room and (not activity or room[0][0] <= activity[0][0]):
                topic, other = ROOM_TOPIC, ACTIVITY_TOPIC
            elif activity:
                topic, other = ACTIVITY_TOPIC, ROOM_TOPIC
            else:
                return
            if not self._queues[other] and other in self._open:
                return
            self._guarded(self._recall, topic, self._queues[topic].popleft()[1])

    def result(self) -> RecoveredPartition:
        """The partition as the log has it."""
        self._checkpoint.rooms = {}
        positions = Positions(self._next[ROOM_TOPIC], self._next[ACTIVITY_TOPIC])
        return RecoveredPartition(
            self.rooms, positions, self._order, self._checkpoint, self.folded + self.remembered
        )

    def _folded_up_to(self, topic: str, key: bytes | None) -> int:
        of_room = self._checkpoint.positions_of.get((key or b"").decode(errors="replace"))
        if topic == ROOM_TOPIC:
            return max(self._checkpoint.room_offset, of_room.room if of_room else 0)
        return max(self._checkpoint.activity_offset, of_room.activity if of_room else 0)

    def _guarded(self, fold: Any, topic: str, record: Any) -> None:
        try:
            fold(topic, record)
        except (PoisonError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # Not ours: a foreign producer wrote it. Consumers set it aside; here it has no say.
            self.poison += 1
            log.warning(
                "fact.poison", topic=topic, partition=record.partition, offset=record.offset,
                error=str(error),
            )  # fmt: skip

    def _remember(self, topic: str, record: Any) -> None:
        head = _HEAD.decode(record.value or b"")
        refused = ""
        if head.type == "request.refused":
            data = _REFUSED.decode(head.data)
            refused = "" if data.code == "id_reused" else data.request
        self.rooms.remember_fact(head.id, head.actorid, refused)
        self._seen[topic].add(head.id, True)
        self.remembered += 1

    def _recall(self, topic: str, record: Any) -> None:
        seen = self._seen[topic]
        fact = decode_fact(record.value)
        if seen.get(fact.id) is not None:
            return
        seen.add(fact.id, True)
        if fact.kind != "comment.posted" and self.rooms.knows(fact.id):
            # A second time, and the first is in the checkpoint. (A held comment that is released
            # is posted under an id that is known; posting it twice changes nothing.)
            return
        self.rooms.recall(fact)
        self.folded += 1
