"""Facts for tests that need a log without the process that would write it."""

import json
import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import events
from engagement.domain.events import Decided
from engagement.domain.media_time import Stamp
from engagement.log.codec import encode_fact
from engagement.log.topics import partition_of
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from projections.tables import POSITIONS
from tests.waiting import until

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


async def folded_up_to(settings: Settings, database: AsyncEngine, room: str, offset: int) -> None:
    """Wait until the projections hold the fact at this offset of the room's partition."""
    partition = partition_of(room, settings.partitions)

    async def reached() -> bool:
        async with database.connect() as connection:
            found = await connection.execute(
                select(POSITIONS.c.next_offset).where(
                    POSITIONS.c.topic == events.ROOM_TOPIC, POSITIONS.c.partition == partition
                )
            )
            return (found.scalar_one_or_none() or 0) > offset

    await until(reached, f"{room} folded up to {offset}")


def ids(page_items: list[bytes]) -> list[str]:
    """The ids of raw events."""
    return [json.loads(item)["id"] for item in page_items]
