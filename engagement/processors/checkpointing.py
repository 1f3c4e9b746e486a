"""When and what of a partition is checkpointed."""

import time
from collections.abc import Collection, Iterable
from typing import Final

from engagement.domain import limits
from engagement.domain.room_partition import RoomPartition
from engagement.log.checkpoints import Checkpoint, FrozenRoom, freeze_room

_RESTATED_ROOMS_MAX: Final = 500
"""Rooms that are written again in one checkpoint only because their record has grown old."""


class Checkpointing:
    """The bookkeeping of one partition's checkpoints: versions, and where each room's lies."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._versions = dict(checkpoint.versions)
        self._lies_at = dict.fromkeys(checkpoint.versions, checkpoint.begin)
        """No record of the room's newest checkpoint lies before this offset."""
        self._end = checkpoint.end
        self._written_bytes = 0
        self._written_at_bytes = dict.fromkeys(checkpoint.versions, 0)
        self._facts = 0
        self._at_s = time.monotonic()

    def is_due(self, rooms: RoomPartition, facts: int) -> bool:
        """Whether enough has changed, or for long enough; `facts` written in all."""
        if not rooms.changed:
            return False
        is_old = time.monotonic() - self._at_s >= limits.CHECKPOINT_INTERVAL_S
        return is_old or facts - self._facts >= limits.CHECKPOINT_FACTS

    def freeze(self, rooms: RoomPartition, facts: int) -> list[FrozenRoom]:
        """The rooms to be written, as they are now. They count as unchanged from here on."""
        self._facts, self._at_s = facts, time.monotonic()
        names = sorted(rooms.changed | self._old_ones(rooms.rooms))
        rooms.changed.clear()
        return [freeze_room(rooms.rooms[name], self._versions.get(name, 0) + 1) for name in names]

    def begin(self, frozen: Iterable[FrozenRoom]) -> int:
        """Where a reader will have to begin once these rooms are written at the end."""
        for room in frozen:
            self._lies_at[room.room] = self._end
        return min(self._lies_at.values(), default=self._end)

    def wrote(self, frozen: Iterable[FrozenRoom], written_bytes: int, last_offset: int) -> None:
        """They are on the log, up to this offset."""
        self._end = last_offset + 1
        self._written_bytes += written_bytes
        for room in frozen:
            self._versions[room.room] = room.version
            self._written_at_bytes[room.room] = self._written_bytes

    def _old_ones(self, rooms: Collection[str]) -> set[str]:
        bound = self._written_bytes - limits.CHECKPOINT_LOG_BYTES
        if bound < 0:
            return set()
        old = sorted(
            (at_bytes, name)
            for name, at_bytes in self._written_at_bytes.items()
            if at_bytes < bound
        )
        return {name for _, name in old[:_RESTATED_ROOMS_MAX] if name in rooms}
