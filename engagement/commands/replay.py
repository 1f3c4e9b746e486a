"""`engagement replay`: a room's timeline in media order, from the projection or the topic alone."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from engagement.commands.progress import counted
from engagement.database.connection import create_engine
from engagement.domain.events import ROOM_TOPIC
from engagement.domain.media_time import WALL_EPOCH
from engagement.errors import NotFoundError
from engagement.log.codec import PoisonError
from engagement.log.topics import partition_of
from engagement.settings import Settings
from projections.queries import RoomQueries
from projections.room_facts import FactReader
from projections.shadow import Tell


class TimelineEvent(NamedTuple):
    """One event and its place; tuples of these sort in media order."""

    epoch: int
    pts_ms: int
    partition: int
    offset: int
    event: bytes


def replay(settings: Settings, room: str, *, from_log: bool, compare: bool, speed: float) -> int:
    """Exit code 0; 1 when `compare` finds a difference. Raises NotFoundError without events."""
    return asyncio.run(_replay(settings, room, from_log=from_log, compare=compare, speed=speed))


async def _replay(
    settings: Settings, room: str, *, from_log: bool, compare: bool, speed: float
) -> int:
    if compare:
        return await _compare(settings, room)
    events = await (timeline_from_log if from_log else _from_projection)(settings, room)
    if not events:
        raise NotFoundError(f"no events of room {room!r}", code="room_not_found")
    async for event in paced(events, speed):
        sys.stdout.buffer.write(event.event + b"\n")
        if speed:
            sys.stdout.flush()
    return 0


async def paced(events: list[TimelineEvent], speed: float) -> AsyncIterator[TimelineEvent]:
    """The events, each when its media time has come at this speed; 0 is at once.

    An epoch begins when the one before it has ended: what lay between is not media.
    """
    previous = events[0]
    for event in events:
        if speed and event.epoch == previous.epoch:
            await asyncio.sleep(max(0, event.pts_ms - previous.pts_ms) / 1000 / speed)
        yield event
        previous = event


async def _compare(settings: Settings, room: str) -> int:
    console = Console()
    log, projection = await asyncio.gather(
        timeline_from_log(settings, room), _from_projection(settings, room)
    )
    for position, (left, right) in enumerate(zip(log, projection, strict=False)):
        if left.event != right.event:
            console.print(
                f"[red]different[/] at event {position}, partition {left.partition}, "
                f"offset {left.offset}"
            )
            return 1
    if len(log) != len(projection):
        console.print(f"[red]different[/]: {len(log)} on the log, {len(projection)} projected")
        return 1
    console.print(f"[green]equal[/]: {len(log)} events")
    return 0


async def _from_projection(settings: Settings, room: str) -> list[TimelineEvent]:
    engine = create_engine(settings)
    try:
        items = RoomQueries(engine).replay(room)
        return [
            TimelineEvent(item.epoch or WALL_EPOCH, item.pts_ms, 0, 0, item.event)
            async for item in items
        ]
    finally:
        await engine.dispose()


async def timeline_from_log(settings: Settings, room: str) -> list[TimelineEvent]:
    """A room's timeline from its partition of the topic and nothing else, tombstones applied."""
    partition = TopicPartition(ROOM_TOPIC, partition_of(room, settings.partitions))
    # Not `seek_to_beginning`: aiokafka may overwrite it by the default reset, "latest", when that
    # is in flight already.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        with counted("reading the log") as tell:
            return await _fold(consumer, partition, end, room, tell)
    finally:
        await consumer.stop()


async def _fold(
    consumer: AIOKafkaConsumer, partition: TopicPartition, end: int, room: str, tell: Tell
) -> list[TimelineEvent]:
    reader = FactReader()
    events: dict[str, TimelineEvent] = {}
    removed: set[str] = set()
    at = await consumer.position(partition)
    while at < end:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                try:
                    placed = reader.read(record)
                except PoisonError:
                    continue
                if placed is None or placed.raw.roomid != room:
                    continue
                raw = placed.raw
                if raw.type == "comment.removed":
                    removed.add(placed.data.target)
                events[raw.id] = TimelineEvent(
                    raw.mediaepoch, raw.mediapts, record.partition, record.offset, record.value
                )
        at = await consumer.position(partition)
        tell(at, end)
    return sorted(event for fact_id, event in events.items() if fact_id not in removed)
