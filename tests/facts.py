"""Facts for tests that need a log without the process that would write it."""

import uuid
from typing import Any

from engagement.domain import events
from engagement.domain.events import Decided
from engagement.domain.media_time import Stamp
from engagement.log.codec import encode_fact
from engagement.log.topics import partition_of
from engagement.log.writer import LogWriter

FIRST_US = 1_700_000_000_000_000


class FactLog:
    """Writes the facts of rooms to the log, in order."""

    def __init__(self, writer: LogWriter, partitions: int) -> None:
        self._writer = writer
        self._partitions = partitions
        self._at_us = FIRST_US

    def put(
        self,
        room: str,
        kind: str,
        data: Any,
        *,
        pts_ms: int,
        epoch: int = 1,
        actor: str = "ana",
        fact_id: str | None = None,
    ) -> str:
        """Append one fact; returns its id."""
        self._at_us += 1000
        fact_id = fact_id or str(uuid.uuid4())
        decided = Decided(
            kind=kind,
            id=fact_id,
            room=room,
            at_us=self._at_us,
            stamp=Stamp(epoch=epoch, pts_ms=pts_ms, err_ms=21.0, anchor="a"),
            data=data,
            actor=actor,
            cause=fact_id,
        )
        partition = partition_of(room, self._partitions)
        self._writer.append(
            events.TOPIC_OF_TYPE[kind], partition, room.encode(), encode_fact(decided)
        )
        return fact_id

    def comment(self, room: str, text: str, **placed: Any) -> str:
        """Append a comment."""
        return self.put(room, "comment.posted", events.CommentPosted(text), **placed)

    def open(self, room: str, title: str = "Cooking", **placed: Any) -> str:
        """Append the opening of a room by `ana`."""
        opened = events.RoomOpened(title, "ana", f"session-of-{room}")
        return self.put(room, "room.opened", opened, **placed)

    def append_raw(self, room: str, value: bytes) -> None:
        """Append anything at all to a room's partition."""
        partition = partition_of(room, self._partitions)
        self._writer.append(events.ROOM_TOPIC, partition, room.encode(), value)

    async def written(self, room: str) -> int:
        """Wait until the broker has it all; the offset of the room's last fact."""
        partition = partition_of(room, self._partitions)
        return await self._writer.acknowledged(events.ROOM_TOPIC, partition)
