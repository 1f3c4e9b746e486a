"""Checkpoints of room state on a compacted topic, so that a start folds only what came since.

Records of one partition of `live.room-state.v1`, in the order in which they are written:

- key ``<room>|<n>|<0 or 1>``: the n-th part of a state that is too large for one record;
- key ``<room>``: the head: the last part, how many there are, and the offsets of the fact topics
  that the state is folded up to. It completes the room's checkpoint;
- key ``ids:<n>|<slot>``: ids that the duplicate filter knows, some thousand in a record: the newest
  are written again with each checkpoint until their record is full;
- key ``partition:<n>``, the marker: the offsets up to which *all* rooms are complete, and where in
  this topic a reader has to begin.

A room's offsets may be newer than the marker's: a reader folds from the marker and passes over the
facts that a room has already. A checkpoint that a crash tore leaves the one before it whole: parts
alternate between two sets of keys, so compaction cannot have taken what a head still needs.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.domain import limits
from engagement.domain.events import DATA_OF_TYPE, Decided
from engagement.domain.rooms import RoomState
from engagement.log.topics import ROOM_STATE_TOPIC
from engagement.log.writer import LogWriter

log = structlog.get_logger()

PART_BYTES: Final = 512 * 1024
"""Half of what a record may hold."""
KNOWN_IDS_SLOTS: Final = 2 * (limits.DEDUPE_IDS_PER_PARTITION // limits.CHECKPOINT_FACTS + 1)
"""Keys for records of ids: twice as many as are live at once, so that none is reused too soon."""
_MARKER_WITHIN: Final = (64, 4_096)
"""The marker is the last record, unless a crash tore a checkpoint: how far back it is looked for
before the whole partition is read."""


class Positions(msgspec.Struct, frozen=True):
    """Next offsets to fold, per fact topic."""

    room: int
    activity: int


class _Head(msgspec.Struct, frozen=True):
    """The last part of a room's state; the others lie before it."""

    version: int
    positions: Positions
    state_bytes: int
    """Where the leases begin: readers that do not need them stop there."""
    parts: int
    """Records besides this one."""
    checksum: int
    """CRC-32 of all parts together: two owners at the same time must not make one state."""
    body: bytes


class KnownIds(msgspec.Struct, frozen=True):
    """Ids of facts and refused requests, and their actors, in the order of decision."""

    number: int
    """Of this record among all that the partition ever had."""
    ids: list[str]
    actors: list[str]


class _Marker(msgspec.Struct, frozen=True):
    positions: Positions
    begin: int
    """No record before this offset is needed."""
    order: int = 0
    """Place of the next fact in the order of decision."""


@dataclass
class Checkpoint:
    """The rooms of a partition, each folded up to at least the given offsets."""

    rooms: dict[str, RoomState] = field(default_factory=dict)
    positions_of: dict[str, Positions] = field(default_factory=dict)
    """Up to where each single room is folded; facts before it must not be folded again."""
    room_offset: int = 0
    activity_offset: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    """Of each room's newest whole checkpoint: the owner writes the next one."""
    known_ids: list[KnownIds] = field(default_factory=list)
    """Oldest first; empty when the checkpoint was read without leases."""
    order: int = 0
    """Place of the next fact in the order in which the partition's facts are decided."""
    begin: int = 0
    """Where in the checkpoint topic it begins."""
    end: int = 0


@dataclass(frozen=True)
class FrozenRoom:
    """A room's state as bytes of one instant; its positions are known only later, when all facts
    it was folded from are acknowledged."""

    room: str
    version: int
    body: bytes
    state_bytes: int

    def records(self, positions: Positions) -> list[tuple[bytes, bytes]]:
        """(key, value) of the room's records, in the order in which they are to be written."""
        whole, last = divmod(max(0, len(self.body) - 1), PART_BYTES)
        parts = [
            (
                _part_key(self.room, n, self.version),
                self.body[n * PART_BYTES : (n + 1) * PART_BYTES],
            )
            for n in range(whole)
        ]
        tail = self.body[whole * PART_BYTES : whole * PART_BYTES + last + 1]
        checksum = crc32(self.body)
        head = _Head(self.version, positions, self.state_bytes, whole, checksum, tail)
        return [*parts, (self.room.encode(), _PACK.encode(head))]


_BAD_BYTES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_JSON: Final = msgspec.json.Encoder()
_STATE: Final = msgspec.json.Decoder(RoomState)
_LEASES: Final = msgspec.json.Decoder(dict[str, str])
_PACK: Final = msgspec.msgpack.Encoder()
_HEAD: Final = msgspec.msgpack.Decoder(_Head)
_MARKER: Final = msgspec.json.Decoder(_Marker)
_KNOWN_IDS: Final = msgspec.json.Decoder(KnownIds)


def freeze_room(state: RoomState, version: int) -> FrozenRoom:
    """A room's state as it is now; `version` is one more than the room's last."""
    bare = _JSON.encode(msgspec.structs.replace(state, leases={}))
    return FrozenRoom(state.room, version, bare + _JSON.encode(state.leases), len(bare))


def thaw_room(body: bytes, state_bytes: int, *, with_leases: bool) -> RoomState:
    """The inverse of :func:`freeze_room`."""
    state = _STATE.decode(memoryview(body)[:state_bytes])
    if with_leases:
        state.leases = _LEASES.decode(memoryview(body)[state_bytes:])
    state.viewers_newest = _with_typed_data(state.viewers_newest)
    state.likes_newest = _with_typed_data(state.likes_newest)
    return state


def marker(partition: int, positions: Positions, begin: int, order: int = 0) -> tuple[bytes, bytes]:
    """(key, value) of the record that completes a checkpoint of a partition."""
    return _marker_key(partition), _JSON.encode(_Marker(positions, begin, order))


def known_ids_record(partition: int, known: KnownIds) -> tuple[bytes, bytes]:
    """(key, value) of the record of these ids."""
    return f"ids:{partition}|{known.number % KNOWN_IDS_SLOTS}".encode(), _JSON.encode(known)


def write_checkpoint(
    writer: LogWriter,
    partition: int,
    rooms: Iterable[FrozenRoom],
    positions: Positions,
    begin: int,
    known_ids: Iterable[KnownIds] = (),
    order: int = 0,
) -> int:
    """Append the records of rooms and ids, then the marker that completes them; returns their
    bytes."""
    written_bytes = 0
    records = [record for room in rooms for record in room.records(positions)]
    records += [known_ids_record(partition, known) for known in known_ids]
    for key, value in (*records, marker(partition, positions, begin, order)):
        writer.append(ROOM_STATE_TOPIC, partition, key, value)
        written_bytes += len(key) + len(value)
    return written_bytes


async def read_checkpoints(
    bootstrap: str, partitions: Sequence[int], *, with_leases: bool
) -> dict[int, Checkpoint]:
    """The newest complete checkpoint of each partition; an empty one where there is none.

    Raises aiokafka's errors when the broker does not answer.
    """
    if not partitions:
        return {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        assigned = [TopicPartition(ROOM_STATE_TOPIC, number) for number in partitions]
        consumer.assign(assigned)
        firsts = await consumer.beginning_offsets(assigned)
        ends = await consumer.end_offsets(assigned)
        markers = await _find_markers(consumer, firsts, ends)
        readers = {
            at: _Reader(at.partition, found, ends[at], with_leases=with_leases)
            for at, found in markers.items()
        }
        begins = {at: max(firsts[at], found.begin) for at, found in markers.items()}
        async for at, records in _between(consumer, begins, ends):
            for record in records:
                readers[at].take(record)
    finally:
        await consumer.stop()
    read = {at.partition: reader.checkpoint() for at, reader in readers.items()}
    return {number: read.get(number, Checkpoint()) for number in partitions}


async def _find_markers(
    consumer: Any, firsts: Mapping[Any, int], ends: Mapping[Any, int]
) -> dict[Any, _Marker]:
    """The newest marker of every partition that has one."""
    found: dict[Any, _Marker] = {}
    for within in (*_MARKER_WITHIN, None):
        missing = {
            at: first if within is None else max(first, ends[at] - within)
            for at, first in firsts.items()
            if at not in found and first < ends[at]
        }
        async for at, records in _between(consumer, missing, ends):
            for record in records:
                if record.key == _marker_key(at.partition) and record.value is not None:
                    try:
                        found[at] = _MARKER.decode(record.value)
                    except _BAD_BYTES as error:
                        _complain(record, error)
    return found


async def _between(
    consumer: Any, starts: Mapping[Any, int], ends: Mapping[Any, int]
) -> AsyncIterator[tuple[Any, list[Any]]]:
    """Batches of records from `starts` up to `ends`, per partition in order."""
    left = {at for at, start in starts.items() if start < ends[at]}
    if not left:
        return
    consumer.assign(sorted(left))
    for at in left:
        consumer.seek(at, starts[at])
    while left:
        fetched = await consumer.getmany(*left, timeout_ms=100)
        for at, records in fetched.items():
            yield at, [record for record in records if record.offset < ends[at]]
        for at in list(left):
            # Not the last record's offset: compaction may have taken the newest ones.
            if await consumer.position(at) >= ends[at]:
                left.discard(at)
                consumer.pause(at)
        await asyncio.sleep(0)


class _Reader:
    """Puts the checkpoint of one partition together from its records, in their order."""

    def __init__(self, partition: int, found: _Marker, end: int, *, with_leases: bool) -> None:
        self._with_leases = with_leases
        self._marker_key = _marker_key(partition)
        self._parts: dict[bytes, bytes] = {}
        self._known_ids: dict[int, KnownIds] = {}
        self._whole: dict[str, tuple[_Head, bytes]] = {}
        self._marker, self._end = found, end

    def take(self, record: Any) -> None:
        try:
            self._take(record.key, record.value)
        except _BAD_BYTES as error:
            _complain(record, error)

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        if key is None or value is None or key == self._marker_key:
            return
        if key.startswith(b"ids:"):
            if self._with_leases:
                known = _KNOWN_IDS.decode(value)
                self._known_ids[known.number % KNOWN_IDS_SLOTS] = known
            return
        if b"|" in key:
            self._parts[key] = value
            return
        head = _HEAD.decode(value)
        room = key.decode()
        parts = [
            self._parts.pop(_part_key(room, number, head.version), None)
            for number in range(min(head.parts, len(self._parts) + 1))
        ]
        body = b"".join([*(part or b"" for part in parts), head.body])
        if crc32(body) == head.checksum:
            self._whole[room] = (head, body)

    def checkpoint(self) -> Checkpoint:
        complete = self._marker.positions
        result = Checkpoint(
            room_offset=complete.room,
            activity_offset=complete.activity,
            known_ids=sorted(self._known_ids.values(), key=lambda known: known.number),
            order=self._marker.order,
            begin=self._marker.begin,
            end=self._end,
        )
        for room, (head, body) in self._whole.items():
            try:
                state = thaw_room(body, head.state_bytes, with_leases=self._with_leases)
            except (*_BAD_BYTES, KeyError) as error:
                log.error("checkpoint.unreadable", room=room, error=str(error))
                continue
            result.rooms[room] = state
            result.positions_of[room] = head.positions
            result.versions[room] = head.version
        return result


def _complain(record: Any, error: Exception) -> None:
    """Nothing of ours; whoever wrote it must not stop a start."""
    log.error(
        "checkpoint.poison", partition=record.partition, offset=record.offset, error=str(error)
    )


def _with_typed_data(newest: Decided | None) -> Decided | None:
    if newest is None:
        return None
    data = msgspec.convert(newest.data, DATA_OF_TYPE[newest.kind])
    return msgspec.structs.replace(newest, data=data)


def _part_key(room: str, number: int, version: int) -> bytes:
    return f"{room}|{number}|{version % 2}".encode()


def _marker_key(partition: int) -> bytes:
    return f"partition:{partition}".encode()
