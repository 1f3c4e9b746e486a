"""Projections on the real broker and the real database."""

import asyncio
import json
import signal
import subprocess
import sys

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import events
from engagement.domain.events import ROOM_TOPIC
from engagement.settings import Settings
from projections.queries import RoomQueries
from projections.runner import Projector
from projections.store import FencedError, ProjectionStore
from projections.tables import LIKES, OWNERS, PRESENCE, ROOMS, TIMELINE
from tests.conftest import process_environment
from tests.facts import FactLog, folded_up_to, ids
from tests.waiting import until


async def test_a_timeline_is_in_media_order_and_holds_the_bytes_of_the_log(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    facts.open(room, pts_ms=0)
    late = facts.comment(room, "late", pts_ms=900)
    early = facts.comment(room, "early \u0000 \u2028 \U0001f600", pts_ms=100)
    second_epoch = facts.comment(room, "again", pts_ms=50, epoch=2)
    await folded_up_to(engines, database, room, await facts.written(room))

    whole = await queries.timeline(room)
    assert ids(whole.items)[1:] == [early, late, second_epoch]
    assert whole.next is None
    assert json.loads(whole.items[1])["data"]["text"] == "early \u0000 \u2028 \U0001f600"

    in_epoch = await queries.timeline(room, epoch=1, from_ms=100, to_ms=900)
    assert ids(in_epoch.items) == [early]
    newest_epoch = await queries.timeline(room, from_ms=0)
    assert ids(newest_epoch.items) == [second_epoch]


async def test_paging_through_a_timeline_yields_each_event_once(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    sent = [facts.comment(room, str(n), pts_ms=n // 3) for n in range(50)]
    await folded_up_to(engines, database, room, await facts.written(room))

    seen: list[str] = []
    after = None
    while True:
        page = await queries.timeline(room, limit=7, after=after)
        seen += ids(page.items)
        after = page.next
        if after is None:
            break
    assert seen == sent

    newest_first: list[str] = []
    before = None
    while True:
        page = await queries.comments(room, before, 9)
        newest_first += ids(page.items)
        before = page.next
        if before is None:
            break
    assert newest_first == sent[::-1]
    assert [item.event for item in [i async for i in queries.replay(room)]] == (
        await queries.timeline(room, limit=100)
    ).items


async def test_a_fact_that_was_written_twice_is_folded_once(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    twice = facts.comment(room, "hello", pts_ms=1)
    facts.comment(room, "hello", pts_ms=1, fact_id=twice)
    counted = events.ViewersCounted(1, 250, 3, 3, 0, [], [])
    window = facts.put(room, "viewers.counted", counted, pts_ms=2)
    facts.put(room, "viewers.counted", counted, pts_ms=2, fact_id=window)
    await folded_up_to(engines, database, room, await facts.written(room))

    assert ids((await queries.timeline(room)).items) == [twice, window]
    async with database.connect() as connection:
        row = (await connection.execute(select(PRESENCE).where(PRESENCE.c.room == room))).one()
    assert (row.online, row.joined_total) == (3, 3)


async def test_a_removed_comment_is_left_out_wherever_its_tombstone_stands(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    kept = facts.comment(room, "kept", pts_ms=1)
    gone = facts.comment(room, "gone", pts_ms=2)
    first = facts.put(room, "comment.removed", events.CommentRemoved(gone, "ana"), pts_ms=3)
    await folded_up_to(engines, database, room, await facts.written(room))

    assert ids((await queries.comments(room, None, 10)).items) == [kept]
    assert ids((await queries.timeline(room)).items) == [kept, first]
    state = await queries.state(room, at_ms=2, epoch=1)
    assert state is None, "a room that was never opened has no state"


async def test_the_state_of_a_room_is_what_it_was_at_that_media_time(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    facts.open(room, title="Soup", pts_ms=0)
    facts.put(room, "viewers.counted", events.ViewersCounted(1, 250, 2, 2, 0, [], []), pts_ms=10)
    facts.put(room, "likes.counted", events.LikesCounted(1, 250, 5, 5, []), pts_ms=20)
    first = facts.comment(room, "first", pts_ms=30)
    facts.put(room, "viewers.counted", events.ViewersCounted(2, 250, 7, 5, 0, [], []), pts_ms=40)
    facts.comment(room, "second", pts_ms=50)
    closed = events.RoomClosed(f"session-of-{room}", "closed")
    facts.put(room, "room.closed", closed, pts_ms=60)
    await folded_up_to(engines, database, room, await facts.written(room))

    then = await queries.state(room, at_ms=35)
    assert then is not None
    assert (then["status"], then["online"], then["likes"]) == ("open", 2, 5)
    assert [comment["id"] for comment in then["comments"]] == [first]
    end = await queries.state(room, at_ms=60)
    assert end is not None
    assert (end["status"], end["online"], len(end["comments"])) == ("closed", 0, 2)

    async with database.connect() as connection:
        row = (await connection.execute(select(ROOMS).where(ROOMS.c.room == room))).one()
        likes = (await connection.execute(select(LIKES).where(LIKES.c.room == room))).one()
    assert (row.status, row.title, row.host, likes.total) == ("closed", "Soup", "ana", 5)


async def test_poison_goes_to_the_dead_letters_and_the_flow_goes_on(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    reader = AIOKafkaConsumer(bootstrap_servers=engines.bootstrap_servers)
    await reader.start()
    dead = TopicPartition("live.dead-letter.v1", 0)
    before = (await reader.end_offsets([dead]))[dead]
    for value in (
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"id":"x","type":"no.such","time":"","roomid":"r"}',
    ):
        facts.append_raw(room, value)
    kept = facts.comment(room, "still here", pts_ms=1)
    await folded_up_to(engines, database, room, await facts.written(room))

    assert ids((await queries.timeline(room)).items) == [kept]
    reader.assign([dead])
    reader.seek(dead, before)
    letters = []
    while len(letters) < 5:
        for records in (await reader.getmany(timeout_ms=1000)).values():
            letters += records
    await reader.stop()
    headers = dict(letters[1].headers)
    assert headers["topic"] == ROOM_TOPIC.encode()
    assert b"not a fact" in headers["reason"]
    assert int(headers["offset"]) >= 0
    assert letters[1].value == b"\xff\xfe"


async def test_a_projector_that_lost_its_lease_commits_nothing(
    engines: Settings, database: AsyncEngine, room: str
) -> None:
    topic = f"fencing-{room}"
    old = ProjectionStore(database, topic, "old")
    new = ProjectionStore(database, topic, "new")
    assert await old.claim()
    assert not await new.claim(), "the lease is fresh"
    async with database.begin() as connection:
        await connection.execute(
            OWNERS.update()
            .where(OWNERS.c.topic == topic)
            .values(renewed_at=func.now() - func.make_interval(0, 0, 0, 0, 0, 0, 60))
        )
    assert await new.claim()
    with pytest.raises(FencedError):
        await old.write([], [], {0: (0, 1)})
    assert await new.positions([0]) == {0: 0}
    assert await new.write([], [], {0: (0, 1)}) == 0
    with pytest.raises(FencedError):
        await new.write([], [], {0: (0, 5)})
    assert await new.positions([0]) == {0: 1}


async def test_a_projector_killed_again_and_again_folds_everything_once(
    engines: Settings, database: AsyncEngine, facts: FactLog, queries: RoomQueries, room: str
) -> None:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.run_projector"], env=process_environment(engines)
        )

    async def rows() -> int:
        async with database.connect() as connection:
            statement = select(func.count()).where(TIMELINE.c.room == room)
            return (await connection.execute(statement)).scalar_one()

    sent: list[str] = []
    process = start()
    try:
        for _ in range(4):
            before = len(sent)
            for part in range(20):
                sent += [facts.comment(room, "x" * 100, pts_ms=len(sent)) for _ in range(400)]
                if part == 2:
                    await until(lambda floor=before: _more_than(rows, floor), "some rows")  # type: ignore[misc]
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    process = start()
                await asyncio.sleep(0)
        await folded_up_to(engines, database, room, await facts.written(room))
    finally:
        process.terminate()
        process.wait()
    assert await rows() == len(sent)
    items = [item async for item in queries.replay(room)]
    assert ids([item.event for item in items]) == sent


async def _more_than(rows: object, floor: int) -> bool:
    return await rows() > floor  # type: ignore[operator]
