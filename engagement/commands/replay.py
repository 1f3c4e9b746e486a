"""`engagement replay`: a room's timeline in media order, from the projection or the topic alone."""

import asyncio
import sys
from collections.abc import AsyncIterator
from itertools import zip_longest

from rich.console import Console
from sqlalchemy import select

from engagement.commands.progress import counted
from engagement.database.connection import create_engine
from engagement.domain.events import ROOM_TOPIC
from engagement.errors import NotFoundError
from engagement.settings import Settings
from projections.cursors import Place
from projections.queries import in_media_order, place_of
from projections.room_log import TimelineEvent, timeline_from_log
from projections.tables import POSITIONS, ROOMS


def replay(settings: Settings, room: str, *, from_log: bool, compare: bool, speed: float) -> int:
    """Exit code 0; 1 when `compare` finds a difference. Raises NotFoundError without events."""
    import uvloop

    if compare:
        return uvloop.run(_compare(settings, room))
    return uvloop.run(_print(settings, room, from_log=from_log, speed=speed))


async def _print(settings: Settings, room: str, *, from_log: bool, speed: float) -> int:
    if from_log:
        with counted("reading the log") as tell:
            events = await timeline_from_log(settings.bootstrap_servers, room, tell)
    else:
        _, events = await _from_projection(settings, room)
    if not events:
        raise NotFoundError(f"no events of room {room!r}", code="room_not_found")
    async for event in paced(events, speed):
        sys.stdout.buffer.write(event.event + b"\n")
        if speed:
            sys.stdout.flush()
    return 0


async def paced(events: list[TimelineEvent], speed: float) -> AsyncIterator[TimelineEvent]:
    """The events, each when its media time has come at this speed; 0 is at once.

    An epoch begins when the one before it has ended: what lay between is not media. Times are kept
    from the epoch's first event, so that pauses which last too long do not add up.
    """
    loop = asyncio.get_running_loop()
    epoch, start_s, start_ms = None, 0.0, 0
    for event in events:
        if event.epoch != epoch:
            epoch, start_s, start_ms = event.epoch, loop.time(), event.pts_ms
        if speed:
            due_s = start_s + (event.pts_ms - start_ms) / 1000 / speed
            await asyncio.sleep(max(0.0, due_s - loop.time()))
        yield event


async def _compare(settings: Settings, room: str) -> int:
    """Both timelines up to the projection's position, event by event."""
    end, projection = await _from_projection(settings, room)
    with counted("reading the log") as tell:
        log = await timeline_from_log(settings.bootstrap_servers, room, tell, end)
    console = Console()
    for number, (says, shows) in enumerate(zip_longest(log, projection)):
        if says == shows:
            continue
        known = says or shows
        what = "differs from the log"
        if shows is None or (says is not None and Place(*says[:4]) < Place(*shows[:4])):
            what = "is not in the projection"
        elif says is None or Place(*says[:4]) > Place(*shows[:4]):
            known, what = shows, "is not on the log"
        console.print(
            f"[red]different[/]: event {number}, partition {known.partition}, "
            f"offset {known.offset} {what}"
        )
        return 1
    console.print(f"[green]equal[/]: {len(log)} events")
    return 0


async def _from_projection(settings: Settings, room: str) -> tuple[int, list[TimelineEvent]]:
    """The position of the room's partition and the timeline, of one instant."""
    engine = create_engine(settings)
    try:
        async with engine.connect() as fresh:
            connection = await fresh.execution_options(isolation_level="REPEATABLE READ")

            async def read(statement: object) -> object:
                return (await connection.execute(statement)).all()  # type: ignore[call-overload]

            position = (
                select(POSITIONS.c.next_offset)
                .join(ROOMS, ROOMS.c.partition == POSITIONS.c.partition)
                .where(POSITIONS.c.topic == ROOM_TOPIC, ROOMS.c.room == room)
            )
            end = (await connection.execute(position)).scalar_one_or_none() or 0
            events = [
                TimelineEvent(*place_of(row), row.event.encode())
                async for row in in_media_order(read, room, None)  # type: ignore[arg-type]
            ]
            return end, events
    finally:
        await engine.dispose()
