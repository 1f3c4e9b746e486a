"""A room's timeline from the topic alone: what the projection must show, without a database."""

from typing import NamedTuple

from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC
from engagement.log.codec import PoisonError
from engagement.log.reader import LogReader
from engagement.log.topics import partition_of
from projections.rebuild import Tell
from projections.room_facts import FactReader


class TimelineEvent(NamedTuple):
    """One event and its place; these sort in media order."""

    epoch: int
    pts_ms: int
    partition: int
    offset: int
    event: bytes


async def timeline_from_log(
    bootstrap: str, room: str, tell: Tell, end: int | None = None
) -> list[TimelineEvent]:
    """All visible facts of a room before `end` (default: now), in media order.

    Reads the whole partition and keeps the room's events in memory. Repeats are left out, and so
    are removed comments, wherever their removal stands.
    """
    events: dict[str, TimelineEvent] = {}
    comments: set[str] = set()
    removed: set[str] = set()
    marks = room.encode()
    async with LogReader(bootstrap, ROOM_TOPIC) as reader:
        partitions = await reader.partitions()
        facts = FactReader(partitions)
        number = partition_of(room, partitions)
        goal = (await reader.ends(partitions))[number] if end is None else end
        await reader.assign({number: 0})
        async for records in reader.read_to({number: goal}, limits.PROJECTION_BATCH_RECORDS):
            for record in records:
                if marks not in (record.value or b""):
                    continue
                try:
                    fact = facts.read(record)
                except PoisonError:
                    continue
                raw = fact.raw
                if raw.roomid != room:
                    continue
                place = (raw.mediaepoch, raw.mediapts, record.partition, record.offset)
                if raw.id not in events and raw.type == "comment.posted":
                    comments.add(raw.id)
                events.setdefault(raw.id, TimelineEvent(*place, record.value))
                if raw.type == "comment.removed":
                    removed.add(fact.data.target)
            tell(records[-1].offset + 1, goal)
    hidden = comments & removed
    return sorted(event for fact_id, event in events.items() if fact_id not in hidden)
