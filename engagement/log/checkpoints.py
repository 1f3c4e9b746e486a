"""Checkpoints of room state on a compacted topic, so that a start folds only what came since.

Records of one partition of `live.room-state.v1`, in the order in which they are written:

- key ``<room>|<n>``: the n-th part of a room's leases (session → actor), so that no record is
  too large;
- key ``<room>``: the room's state without its leases, and how many lease records there are. It
  comes after them: a torn checkpoint then has newer leases than state, and folding the joins and
  leaves in between once more into a set changes nothing;
- key ``partition:<n>``, the marker: the offsets of the fact topics up to which all records before
  it are complete.

Each room's record carries the offsets that it is folded up to, which may be newer than the
marker's: a reader starts at the marker and passes over facts that a room has already.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.domain.rooms import RoomState
from engagement.log.topics import ROOM_STATE_TOPIC
from engagement.log.writer import LogWriter

LEASES_PER_RECORD: Final = 4_000
"""128 characters of actor and 80 of session: at most 900 KB."""


class Positions(msgspec.Struct, frozen=True):
    """Next offsets to fold, per fact topic."""

    room: int
    activity: int


class _RoomRecord(msgspec.Struct):
    state: RoomState
    positions: Positions
    lease_records: int


class _FrozenRecord(msgspec.Struct):
    """A `_RoomRecord` whose state is bytes already."""

    state: msgspec.Raw
    positions: Positions
    lease_records: int


class _LeaseRecord(msgspec.Struct):
    leases: dict[str, str]


@dataclass
class Checkpoint:
    """The rooms of a partition, each folded up to at least the given offsets."""

    rooms: dict[str, RoomState] = field(default_factory=dict)
    positions_of: dict[str, Positions] = field(default_factory=dict)
    """Up to where each single room is folded; facts before it must not be folded again."""
    room_offset: int = 0
    activity_offset: int = 0


_ENCODER: Final = msgspec.json.Encoder()
_ROOM: Final = msgspec.json.Decoder(_RoomRecord)
_LEASES: Final = msgspec.json.Decoder(_LeaseRecord)
_POSITIONS: Final = msgspec.json.Decoder(Positions)


@dataclass(frozen=True)
class FrozenRoom:
    """A room's state as bytes of one instant; its positions are known only later, when all facts
    it was folded from are acknowledged."""

    room: str
    state: msgspec.Raw
    leases: list[bytes]

    def records(self, positions: Positions) -> list[tuple[bytes, bytes]]:
        """(key, value) of the room's records, in the order in which they are to be written."""
        parts = [
            (f"{self.room}|{number}".encode(), part) for number, part in enumerate(self.leases)
        ]
        frozen = _FrozenRecord(self.state, positions, len(parts))
        return [*parts, (self.room.encode(), _ENCODER.encode(frozen))]


def freeze_room(state: RoomState) -> FrozenRoom:
    """A room's state as it is now."""
    leases = list(state.leases.items())
    parts = [
        _ENCODER.encode(_LeaseRecord(dict(leases[first : first + LEASES_PER_RECORD])))
        for first in range(0, len(leases), LEASES_PER_RECORD)
    ]
    bare = msgspec.structs.replace(state, leases={})
    return FrozenRoom(state.room, msgspec.Raw(_ENCODER.encode(bare)), parts)


def write_checkpoint(
    writer: LogWriter, partition: int, records: Iterable[tuple[bytes, bytes]], positions: Positions
) -> None:
    """Append the records of rooms and then the marker that completes them."""
    for key, value in records:
        writer.append(ROOM_STATE_TOPIC, partition, key, value)
    marker = f"partition:{partition}".encode()
    writer.append(ROOM_STATE_TOPIC, partition, marker, _ENCODER.encode(positions))


async def read_checkpoints(
    bootstrap: str, partitions: Sequence[int], *, with_leases: bool
) -> dict[int, Checkpoint]:
    """The newest complete checkpoint of each partition; an empty one where there is none."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=100)
    await consumer.start()
    try:
        assigned = [TopicPartition(ROOM_STATE_TOPIC, number) for number in partitions]
        if not assigned:
            return {}
        consumer.assign(assigned)
        await consumer.seek_to_beginning(*assigned)
        ends = await consumer.end_offsets(assigned)
        values: dict[int, dict[bytes, bytes]] = {number: {} for number in partitions}
        while any([await consumer.position(tp) < ends[tp] for tp in assigned]):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    if record.offset < ends[tp] and record.key is not None:
                        values[tp.partition][record.key] = record.value
                await asyncio.sleep(0)
        return {number: _assemble(number, latest, with_leases) for number, latest in values.items()}
    finally:
        await consumer.stop()


def _assemble(partition: int, latest: dict[bytes, bytes], with_leases: bool) -> Checkpoint:
    """A checkpoint from the newest value of each key."""
    checkpoint = Checkpoint()
    marker = latest.get(f"partition:{partition}".encode())
    if marker is None:
        return checkpoint
    complete = _POSITIONS.decode(marker)
    checkpoint.room_offset, checkpoint.activity_offset = complete.room, complete.activity
    for key, value in latest.items():
        if b"|" in key or key.startswith(b"partition:"):
            continue
        room = _ROOM.decode(value)
        if with_leases:
            for number in range(room.lease_records):
                part = latest.get(key + f"|{number}".encode())
                if part is not None:
                    room.state.leases.update(_LEASES.decode(part).leases)
        checkpoint.rooms[room.state.room] = room.state
        checkpoint.positions_of[room.state.room] = room.positions
    return checkpoint
