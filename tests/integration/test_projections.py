"""Projections on the real broker and the real database: bytes, repeats, poison."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import events
from engagement.domain.events import ROOM_TOPIC
from engagement.log.reader import LogReader
from engagement.log.topics import DEAD_LETTER_TOPIC, partition_of
from engagement.settings import Settings
from projections import timeline
from projections.queries import RoomQueries
from projections.rebuild import rebuild
from projections.registry import PROJECTIONS
from projections.runner import Projector
from projections.tables import LIKES, PRESENCE, ROOMS, SESSIONS, TIMELINE
from tests.facts import FactLog, folded_up_to, ids


async def rows_of(database: AsyncEngine, statement: Any) -> list[Any]:
    async with database.connect() as connection:
        return list((await connection.execute(statement)).all())


async def test_the_timeline_holds_the_very_bytes_of_the_log(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    facts.open(room, pts_ms=0)
    facts.comment(room, '\u0000 \u2028 \U0001f600 \\ " </script>', pts_ms=100)
    facts.put(room, "likes.counted", events.LikesCounted(1, 250, 5, 5, ["é"]), pts_ms=-20)
    end = await facts.written(room)
    await folded_up_to(engines, database, room, end)

    partition = partition_of(room, engines.partitions)
    logged: dict[int, bytes] = {}
    async with LogReader(engines.bootstrap_servers, ROOM_TOPIC) as reader:
        await reader.assign({partition: 0})
        async for records in reader.read_to({partition: end + 1}, 1000):
            logged |= {each.offset: each.value for each in records if each.key == room.encode()}
    statement = select(TIMELINE.c.offset, TIMELINE.c.event).where(TIMELINE.c.room == room)
    stored = await rows_of(database, statement)
    assert {row.offset: row.event.encode() for row in stored} == logged
    assert len(logged) == 3


async def test_a_fact_that_was_written_twice_is_one_fact_however_far_apart(
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
    await folded_up_to(engines, database, room, await facts.written(room))

    facts.comment(room, "hello", pts_ms=1, fact_id=twice)
    between = facts.comment(room, "between", pts_ms=3)
    facts.put(room, "viewers.counted", counted, pts_ms=2, fact_id=window)
    facts.comment(room, "hello", pts_ms=1, fact_id=twice)
    await folded_up_to(engines, database, room, await facts.written(room))

    assert ids((await queries.timeline(room)).items) == [twice, window, between]
    assert ids((await queries.comments(room, None, 10)).items) == [between, twice]
    row = (await rows_of(database, select(PRESENCE).where(PRESENCE.c.room == room)))[0]
    assert (row.online, row.window) == (3, 1)


async def test_the_same_id_in_two_rooms_is_two_facts(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    other = room + "-b"
    shared = facts.comment(room, "here", pts_ms=1)
    facts.comment(other, "there", pts_ms=1, fact_id=shared)
    for each in (room, other):
        await folded_up_to(engines, database, each, await facts.written(each))
    for each in (room, other):
        assert ids((await queries.timeline(each)).items) == [shared]


async def test_a_row_that_the_fold_did_not_write_does_not_stop_it(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    """A row at an offset that is still to come was made by hand; it would block its fact."""
    facts.open(room, pts_ms=0)
    end = await facts.written(room)
    await folded_up_to(engines, database, room, end)
    async with database.begin() as connection:
        here = select(TIMELINE).where(TIMELINE.c.room == room)
        row = (await connection.execute(here)).one()
        stray = {**row._mapping, "offset": end + 1, "event_id": "stray"}
        await connection.execute(insert(TIMELINE).values(stray))

    comment = facts.comment(room, "hello", pts_ms=1)
    await folded_up_to(engines, database, room, await facts.written(room))
    assert ids((await queries.timeline(room)).items)[1:] == [comment]


async def test_counts_and_sessions_follow_the_log(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    facts.open(room, title="So\0up", pts_ms=0)
    for window, online in enumerate((2, 7, 4)):
        counted = events.ViewersCounted(window, 250, online, 1, 0, [], [])
        facts.put(room, "viewers.counted", counted, pts_ms=window)
        counted_likes = events.LikesCounted(window, 250, 5, 5 * window, [])
        facts.put(room, "likes.counted", counted_likes, pts_ms=window, epoch=3)
    closed = events.RoomClosed(f"session-of-{room}", "the end")
    facts.put(room, "room.closed", closed, pts_ms=60, epoch=3)
    end = await facts.written(room)
    await folded_up_to(engines, database, room, end)

    presence = (await rows_of(database, select(PRESENCE).where(PRESENCE.c.room == room)))[0]
    likes = (await rows_of(database, select(LIKES).where(LIKES.c.room == room)))[0]
    newest = (await rows_of(database, select(ROOMS).where(ROOMS.c.room == room)))[0]
    session = (await rows_of(database, select(SESSIONS).where(SESSIONS.c.room == room)))[0]
    assert (presence.online, likes.total) == (4, 10)
    assert (newest.epoch, newest.pts_ms, newest.offset) == (3, 60, end)
    assert (session.title, session.host, session.reason) == ("So\ufffdup", "ana", "the end")
    assert session.opened_offset < session.closed_offset == end


async def test_poison_goes_to_the_dead_letters_and_the_flow_goes_on(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    reader = AIOKafkaConsumer(bootstrap_servers=engines.bootstrap_servers)
    await reader.start()
    dead = TopicPartition(DEAD_LETTER_TOPIC, 0)
    before = (await reader.end_offsets([dead]))[dead]
    values = (
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"id":"x","type":"no.such","time":"","roomid":"r"}',
        b"x" * 1_048_000,
    )
    for value in values:
        facts.append_raw(room, value)
    kept = facts.comment(room, "still here", pts_ms=1)
    end = await facts.written(room)
    await folded_up_to(engines, database, room, end)

    assert ids((await queries.timeline(room)).items) == [kept]
    reader.assign([dead])
    reader.seek(dead, before)
    letters: list[Any] = []
    while len(letters) < len(values):
        for records in (await reader.getmany(timeout_ms=1000)).values():
            letters += records
    await reader.stop()
    headers = [dict(letter.headers) for letter in letters]
    assert [int(each["offset"]) for each in headers] == list(range(end - len(values), end))
    assert {each["topic"] for each in headers} == {ROOM_TOPIC.encode()}
    assert b"not a fact" in headers[1]["reason"]
    assert [letter.value for letter in letters[:5]] == list(values[:5])


async def test_a_record_without_a_value_is_set_aside(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    queries: RoomQueries,
    room: str,
) -> None:
    """A tombstone record, as some tool may write into any topic, has no bytes to keep."""
    producer = AIOKafkaProducer(bootstrap_servers=engines.bootstrap_servers)
    await producer.start()
    partition = partition_of(room, engines.partitions)
    await producer.send_and_wait(ROOM_TOPIC, None, key=room.encode(), partition=partition)
    await producer.stop()
    kept = facts.comment(room, "still here", pts_ms=1)
    await folded_up_to(engines, database, room, await facts.written(room))
    assert ids((await queries.timeline(room)).items) == [kept]


async def test_a_row_that_the_database_refuses_is_set_aside_alone(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    queries: RoomQueries,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the checks of the reader forget must not stop a partition.

    A version that knows better brings it back with a rebuild.
    """
    honest = timeline.row_of

    def careless(fact: Any) -> Any:
        row = honest(fact)
        return (*row[:7], "\0", *row[8:]) if '"bad"' in fact.event else row

    monkeypatch.setattr(timeline, "row_of", careless)
    sent = [facts.comment(room, "bad" if n in (3, 40) else "good", pts_ms=n) for n in range(60)]
    end = await facts.written(room)
    running = Projector(database, engines.bootstrap_servers, name="careless")
    task = asyncio.create_task(running.run())
    try:
        await folded_up_to(engines, database, room, end)
    finally:
        running.stop()
        await task
    good = [fact for number, fact in enumerate(sent) if number not in (3, 40)]
    assert ids((await queries.timeline(room)).items) == good
    count = select(func.count()).where(TIMELINE.c.room == room)
    assert (await rows_of(database, count))[0][0] == 58

    monkeypatch.undo()
    await rebuild(database, engines.bootstrap_servers, PROJECTIONS, lambda done, total: None)
    assert ids((await queries.timeline(room)).items) == sent
