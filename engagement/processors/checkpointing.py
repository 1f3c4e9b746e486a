"""When and what of a partition is checkpointed."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engagement.domain import limits
from engagement.domain.room_partition import RoomPartition
from engagement.log.checkpoints import (
    Checkpoint,
    FrozenRoom,
    KnownIds,
    freeze_room,
)

_RESTATED_RECORDS_MAX: Final = 500
"""Rooms that are written again in one checkpoint only because their record has grown old."""
_SEALED_RECORDS: Final = limits.DEDUPE_IDS_PER_PARTITION // limits.CHECKPOINT_FACTS
"""Full records of ids: the duplicate filter's window. One more is still being filled."""


@dataclass(frozen=True)
class Frozen:
    """What a checkpoint will hold, as it was at one instant."""

    rooms: list[FrozenRoom]
    known_ids: list[KnownIds]


class Checkpointing:
    """The bookkeeping of one partition's checkpoints: versions, and where each record lies."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._versions = dict(checkpoint.versions)
        self._ids = IdWindow(checkpoint.known_ids)
        written: list[str | int] = [*checkpoint.versions, *self._ids.numbers()]
        self._lies_at: dict[str | int, int] = dict.fromkeys(written, checkpoint.begin)
        """No record of this room, or number of ids, that is needed lies before this offset."""
        self._written_at_bytes: dict[str | int, int] = dict.fromkeys(written, 0)
        self._written_bytes = 0
        self._unwritten: set[str | int] = set()
        """Numbers of ids that were frozen for a checkpoint that was given up."""
        self._end = checkpoint.end
        self._at_s = time.monotonic()

    def is_due(self, rooms: RoomPartition, facts: int) -> bool:
        """Whether enough has changed, or for long enough; `facts` since the last one."""
        if not rooms.changed:
            return False
        is_old = time.monotonic() - self._at_s >= limits.CHECKPOINT_INTERVAL_S
        return is_old or facts >= limits.CHECKPOINT_FACTS

    def freeze(self, rooms: RoomPartition) -> Frozen:
        """What is to be written, as it is now. It counts as unchanged from here on."""
        self._at_s = time.monotonic()
        old = self._old_ones()
        names = sorted(rooms.changed | {name for name in rooms.rooms if name in old})
        rooms.changed.clear()
        old |= self._unwritten
        again = [known for known in self._ids.sealed if known.number in old]
        fresh = self._ids.take(rooms.fresh_ids)
        rooms.fresh_ids.clear()
        self._unwritten.update(known.number for known in fresh)
        return Frozen(
            [freeze_room(rooms.rooms[name], self._versions.get(name, 0) + 1) for name in names],
            [*again, *fresh],
        )

    def begin(self, frozen: Frozen) -> int:
        """Where a reader will have to begin once this is written at the end."""
        for written in _names(frozen):
            self._lies_at[written] = self._end
        self._forget_old_ids()
        return min(self._lies_at.values(), default=self._end)

    def wrote(self, frozen: Frozen, written_bytes: int, last_offset: int) -> None:
        """It is on the log, up to this offset."""
        self._end = last_offset + 1
        self._written_bytes += written_bytes
        self._unwritten.difference_update(known.number for known in frozen.known_ids)
        for room in frozen.rooms:
            self._versions[room.room] = room.version
        for written in _names(frozen):
            self._written_at_bytes[written] = self._written_bytes
        self._forget_old_ids()

    def _old_ones(self) -> set[str | int]:
        bound = self._written_bytes - limits.CHECKPOINT_LOG_BYTES
        if bound < 0:
            return set()
        old = [name for name, at_bytes in self._written_at_bytes.items() if at_bytes < bound]
        return set(sorted(old, key=self._written_at_bytes.__getitem__)[:_RESTATED_RECORDS_MAX])

    def _forget_old_ids(self) -> None:
        live = self._ids.numbers()
        for places in (self._lies_at, self._written_at_bytes):
            for name in [name for name in places if isinstance(name, int) and name not in live]:
                del places[name]


class IdWindow:
    """The newest ids of a partition, in records that are sealed when they are full."""

    def __init__(self, known: Iterable[KnownIds]) -> None:
        *sealed, newest = [*known] or [KnownIds(0, [], [])]
        self.sealed: deque[KnownIds] = deque(sealed, maxlen=_SEALED_RECORDS)
        self._number = newest.number
        self._open = list(zip(newest.ids, newest.actors, strict=False))

    def take(self, fresh: Iterable[tuple[str, str]]) -> list[KnownIds]:
        """Add ids; the records that are to be written now."""
        self._open += fresh
        changed: list[KnownIds] = []
        while len(self._open) >= limits.CHECKPOINT_FACTS:
            self.sealed.append(self._record(self._open[: limits.CHECKPOINT_FACTS]))
            changed.append(self.sealed[-1])
            self._open = self._open[limits.CHECKPOINT_FACTS :]
            self._number += 1
        # Of a long fold only the newest can be live: their slots are reused.
        return [*changed[-_SEALED_RECORDS:], self._record(self._open)]

    def numbers(self) -> set[int]:
        """Of the records that are needed."""
        return {*(known.number for known in self.sealed), self._number}

    def _record(self, known: list[tuple[str, str]]) -> KnownIds:
        ids, actors = [each[0] for each in known], [each[1] for each in known]
        return KnownIds(self._number, ids, actors)


def _names(frozen: Frozen) -> list[str | int]:
    return [
        *(room.room for room in frozen.rooms),
        *(known.number for known in frozen.known_ids),
    ]
