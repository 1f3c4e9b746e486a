"""Rebuild, verify and replay: the projections are the fold of the log, and can be made again."""

import asyncio
import json
import subprocess
import sys

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import events
from engagement.errors import BadRequestError
from engagement.log.topics import partition_of
from engagement.settings import Settings
from projections.queries import RoomQueries
from projections.registry import PROJECTIONS, named
from projections.runner import Projector
from projections.shadow import Difference, Shadow
from projections.tables import LIKES, TIMELINE
from tests.conftest import process_environment
from tests.facts import FactLog, folded_up_to, ids


async def first_difference(engines: Settings, database: AsyncEngine) -> Difference | None:
    shadow = Shadow(database, engines.bootstrap_servers, PROJECTIONS)
    async with shadow.caught_up(lambda *_: None) as connection:
        return await shadow.difference(connection)


async def a_room_with_history(
    engines: Settings, database: AsyncEngine, facts: FactLog, room: str
) -> list[str]:
    """Opens a room; returns the ids of the comments that are left in it, in media order."""
    facts.open(room, pts_ms=0)
    kept = [facts.comment(room, f"comment {n}", pts_ms=n * 10) for n in range(200)]
    gone = facts.comment(room, "gone", pts_ms=5)
    facts.put(room, "comment.removed", events.CommentRemoved(gone, "ana"), pts_ms=6)
    facts.put(room, "likes.counted", events.LikesCounted(7, 250, 9, 9, []), pts_ms=7)
    facts.append_raw(room, b"poison")
    facts.comment(room, "twice", pts_ms=1, fact_id=kept[0])
    await folded_up_to(engines, database, room, await facts.written(room))
    return kept


def comments_of(items: list[bytes]) -> list[str]:
    return ids([item for item in items if json.loads(item)["type"] == "comment.posted"])


async def test_the_projections_equal_the_fold_of_the_log(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    await a_room_with_history(engines, database, facts, room)
    assert await first_difference(engines, database) is None


@pytest.mark.parametrize("damage", ["changed", "missing", "extra", "count"])
async def test_verify_names_the_first_wrong_offset(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    room: str,
    damage: str,
) -> None:
    await a_room_with_history(engines, database, facts, room)
    partition = partition_of(room, engines.partitions)
    async with database.begin() as connection:
        rows = select(TIMELINE).where(TIMELINE.c.room == room).order_by(TIMELINE.c.offset)
        row = (await connection.execute(rows)).all()[100]
        here = (TIMELINE.c.partition == partition) & (TIMELINE.c.offset == row.offset)
        at = row.offset
        if damage == "changed":
            await connection.execute(update(TIMELINE).where(here).values(pts_ms=row.pts_ms + 1))
        elif damage == "missing":
            await connection.execute(delete(TIMELINE).where(here))
        elif damage == "extra":
            at = -5
            values = {**row._mapping, "offset": at}
            await connection.execute(TIMELINE.insert().values(values))
        else:
            likes = (await connection.execute(select(LIKES).where(LIKES.c.room == room))).one()
            at = likes.offset
            await connection.execute(update(LIKES).where(LIKES.c.room == room).values(total=8))
    found = await first_difference(engines, database)
    shadow = Shadow(database, engines.bootstrap_servers, PROJECTIONS)
    async with shadow.caught_up(lambda *_: None) as connection:
        await shadow.swap(connection)

    assert found is not None
    assert found.offset == at
    assert found.table == ("likes" if damage == "count" else "timeline")
    assert await first_difference(engines, database) is None, "the rebuild mended it"


async def test_a_rebuild_under_load_never_shows_a_wrong_timeline(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    kept = await a_room_with_history(engines, database, facts, room)
    done = asyncio.Event()
    reads = 0

    async def read() -> None:
        nonlocal reads
        while not done.is_set():
            page = await queries.timeline(room, types=["comment.posted"], limit=1000)
            assert comments_of(page.items)[: len(kept)] == kept
            reads += 1

    async def write() -> None:
        number = 0
        while not done.is_set():
            facts.comment(room, "more", pts_ms=10_000 + number)
            number += 1
            await asyncio.sleep(0.002)

    reader, load = asyncio.create_task(read()), asyncio.create_task(write())
    try:
        for name in (None, "timeline", "comments", "likes"):
            shadow = Shadow(database, engines.bootstrap_servers, named(name))
            async with shadow.caught_up(lambda *_: None) as connection:
                assert await shadow.difference(connection) is None
                await shadow.swap(connection)
    finally:
        done.set()
        await asyncio.gather(reader, load)
    assert reads > 3
    await folded_up_to(engines, database, room, await facts.written(room))
    assert await first_difference(engines, database) is None


async def test_the_timeline_of_the_topic_alone_equals_the_projection(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    kept = await a_room_with_history(engines, database, facts, room)

    def engagement(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "engagement", *arguments],
            env=process_environment(engines),
            capture_output=True,
            text=True,
            timeout=60,
        )

    from_log = await asyncio.to_thread(engagement, "replay", room, "--from-log")
    assert from_log.returncode == 0, from_log.stderr
    projected = await queries.timeline(room, limit=1000)
    assert from_log.stdout.encode().splitlines() == projected.items
    assert comments_of(projected.items) == kept

    compared = await asyncio.to_thread(engagement, "replay", room, "--compare")
    assert (compared.returncode, "equal" in compared.stdout) == (0, True), compared

    async with database.begin() as connection:
        await connection.execute(
            delete(TIMELINE).where(TIMELINE.c.room == room, TIMELINE.c.event_id == kept[7])
        )
    compared = await asyncio.to_thread(engagement, "replay", room, "--compare")
    assert compared.returncode == 1
    rebuilt = await asyncio.to_thread(engagement, "rebuild", "timeline")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "differed" in rebuilt.stdout
    compared = await asyncio.to_thread(engagement, "replay", room, "--compare")
    assert compared.returncode == 0

    nobody = await asyncio.to_thread(engagement, "replay", "no-such-room")
    assert nobody.returncode == 1
    assert "room_not_found" in nobody.stderr


def test_an_unknown_projection_is_refused_by_name() -> None:
    from engagement.commands.rebuild import chosen

    with pytest.raises(BadRequestError, match="leaderbord"):
        chosen("leaderbord")
