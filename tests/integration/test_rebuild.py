"""Rebuild, verify and replay: the projections are the fold of the log, and can be made again."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.tables import METADATA as LIVE
from engagement.domain import events
from engagement.errors import BadRequestError, ConflictError, UnavailableError
from engagement.log.topics import partition_of
from engagement.settings import Settings
from projections.compare import Difference
from projections.queries import RoomQueries
from projections.rebuild import rebuild
from projections.rebuild_fold import Folded
from projections.rebuild_share import RebuildShare
from projections.registry import PROJECTIONS, named
from projections.runner import Projector
from projections.tables import LIKES, METADATA, TIMELINE, TOMBSTONES
from projections.verify import verify
from tests.conftest import process_environment
from tests.facts import FactLog, folded_up_to, ids
from tests.waiting import until


async def first_difference(engines: Settings, database: AsyncEngine) -> Difference | None:
    found = await verify(database, engines.bootstrap_servers, PROJECTIONS, lambda done, total: None)
    return found.difference


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


@pytest.mark.parametrize("damage", ["changed", "missing", "extra", "count", "tombstone", "nowhere"])
async def test_verify_names_the_first_wrong_offset_and_a_rebuild_mends_it(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    room: str,
    damage: str,
) -> None:
    await a_room_with_history(engines, database, facts, room)
    partition = partition_of(room, engines.partitions)
    table = {"count": "likes", "tombstone": "comment_tombstones"}.get(damage, "timeline")
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
            values = {**row._mapping, "offset": at, "event_id": "made up"}
            await connection.execute(TIMELINE.insert().values(values))
        elif damage == "nowhere":
            at, partition = -1, 999
            values = {**row._mapping, "partition": 999, "event_id": "made up"}
            await connection.execute(TIMELINE.insert().values(values))
        elif damage == "tombstone":
            there = TOMBSTONES.c.room == room
            at = (await connection.execute(select(TOMBSTONES.c.offset).where(there))).scalar_one()
            await connection.execute(delete(TOMBSTONES).where(there))
        else:
            likes = (await connection.execute(select(LIKES).where(LIKES.c.room == room))).one()
            at = likes.offset
            await connection.execute(update(LIKES).where(LIKES.c.room == room).values(total=8))

    found = await first_difference(engines, database)
    rebuilt = await rebuild(
        database, engines.bootstrap_servers, PROJECTIONS, lambda done, total: None
    )
    assert found is not None
    assert (found.table, found.partition, found.offset) == (table, partition, at)
    assert rebuilt.difference is not None
    assert rebuilt.difference.table == table
    assert rebuilt.difference.partition == partition
    assert await first_difference(engines, database) is None, "the rebuild mended it"


async def test_two_rebuilds_make_the_same_rows(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    await a_room_with_history(engines, database, facts, room)
    for _ in range(2):
        rebuilt = await rebuild(
            database, engines.bootstrap_servers, PROJECTIONS, lambda done, total: None
        )
        assert rebuilt.difference is None
        assert rebuilt.records >= rebuilt.facts > 200
    async with database.connect() as connection:
        schemas = await connection.execute(
            text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'engagement%'")
        )
        assert schemas.all() == [], "nothing is left behind"
        everything: Any = [*LIVE, METADATA]
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), everything)
        )
        assert differences == [], "the tables that were moved in are those of the migrations"


async def test_two_processes_share_a_long_log_and_make_the_same_rows(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await a_room_with_history(engines, database, facts, room)
    monkeypatch.setattr("projections.rebuild.SHARED_RECORDS_MIN", 1)
    shared = SharedFold(process_environment(engines))
    rebuilt = await rebuild(
        database, engines.bootstrap_servers, PROJECTIONS, lambda done, total: None, shared
    )
    assert 0 < shared.records < rebuilt.records, "each of them folded a part"
    assert rebuilt.difference is None
    assert await first_difference(engines, database) is None


async def test_a_share_that_fails_fails_the_rebuild(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await a_room_with_history(engines, database, facts, room)
    monkeypatch.setattr("projections.rebuild.SHARED_RECORDS_MIN", 1)
    lost = RebuildShare(process_environment(engines) | {"ENGAGEMENT_DATABASE_PORT": "19999"})
    with pytest.raises(UnavailableError, match="share of the rebuild"):
        await rebuild(
            database, engines.bootstrap_servers, PROJECTIONS, lambda done, total: None, lost
        )
    assert await first_difference(engines, database) is None, "nothing has changed"


class SharedFold(RebuildShare):
    """Knows how much it has folded."""

    records = 0

    async def fold(self, *arguments: Any) -> Folded:
        folded = await super().fold(*arguments)
        self.records = folded.records
        return folded


async def test_only_one_rebuild_runs_at_a_time(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    await a_room_with_history(engines, database, facts, room)
    runs = [
        rebuild(database, engines.bootstrap_servers, PROJECTIONS, lambda done, total: None)
        for _ in range(2)
    ]
    answers = await asyncio.gather(*runs, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, ConflictError)]
    assert len(refused) == 1, answers


async def test_a_rebuild_that_meets_a_long_read_waits_for_it_and_disturbs_nobody(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    kept = await a_room_with_history(engines, database, facts, room)
    async with database.connect() as reading:
        await reading.execute(select(TIMELINE.c.offset).limit(1))
        running = asyncio.create_task(
            rebuild(
                database, engines.bootstrap_servers, named("timeline"), lambda done, total: None
            )
        )

        async def gave_way() -> bool:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            async with database.connect() as connection:
                return bool((await connection.execute(waiting)).scalar_one())

        await until(gave_way, "the exchange waits for the reader")
        page = await queries.timeline(room, types=["comment.posted"], limit=1000)
        assert comments_of(page.items) == kept
        await reading.rollback()
        assert (await running).difference is None


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
            rebuilt = await rebuild(
                database, engines.bootstrap_servers, named(name), lambda done, total: None
            )
            assert rebuilt.difference is None
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
