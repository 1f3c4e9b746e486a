"""Checkpoints on a real broker: large rooms, torn writes, old records, garbage."""

import uuid
from collections.abc import AsyncIterator

import pytest

from engagement.domain import limits
from engagement.domain.rooms import RoomState
from engagement.log import checkpoints
from engagement.log.checkpoints import (
    Checkpoint,
    Positions,
    freeze_room,
    marker,
    read_checkpoints,
    write_checkpoint,
)
from engagement.log.writer import LogWriter
from engagement.processors.checkpointing import _SEALED_RECORDS, Checkpointing
from engagement.settings import Settings
from tests.integration.log_reader import LogReader, new_topic
from tests.unit.domain_parts import MS, ROOM, Rooms, comment, join, taps

pytestmark = pytest.mark.engines


class Log:
    """A checkpoint topic of one test."""

    def __init__(self, settings: Settings, writer: LogWriter, topic: str) -> None:
        self.settings, self.writer, self.topic = settings, writer, topic

    async def write(
        self, rooms: dict[str, int], at: int, *, state: RoomState | None = None
    ) -> None:
        """Checkpoint rooms (name → version), folded up to `at` in both topics."""
        frozen = [freeze_room(state or likes(name, at), number) for name, number in rooms.items()]
        write_checkpoint(self.writer, 0, frozen, Positions(at, at), 0)
        await self.writer.acknowledged(self.topic, 0)

    async def put(self, *records: tuple[bytes | None, bytes | None]) -> None:
        for key, value in records:
            self.writer.append(self.topic, 0, key, value)
        await self.writer.acknowledged(self.topic, 0)

    async def read(self, *, with_leases: bool = True) -> Checkpoint:
        bootstrap = self.settings.bootstrap_servers
        return (await read_checkpoints(bootstrap, [0], with_leases=with_leases))[0]


def likes(room: str, count: int) -> RoomState:
    return RoomState(room, status="open", likes_total=count)


@pytest.fixture
async def log(engines: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Log]:
    topic = await new_topic(engines, f"test.state.{uuid.uuid4().hex[:8]}", 2)
    monkeypatch.setattr(checkpoints, "ROOM_STATE_TOPIC", topic)
    writer = LogWriter(engines.bootstrap_servers, client_id="test")
    await writer.start()
    yield Log(engines, writer, topic)
    await writer.stop()


async def test_a_partition_without_a_checkpoint_begins_with_nothing(log: Log) -> None:
    assert await log.read() == Checkpoint()
    assert await read_checkpoints(log.settings.bootstrap_servers, [], with_leases=True) == {}


async def test_a_room_comes_back_as_it_was(log: Log) -> None:
    rooms = Rooms().given_open()
    rooms.when(join(), "ann", session="gw/1")
    rooms.when(comment("held"), "ann")
    rooms.when(comment(), "ann")
    rooms.after(300 * MS)
    rooms.when(join(), "bob", session="gw/2")
    rooms.when(taps(3), "bob")
    await log.write({ROOM: 1}, 42, state=rooms.state())
    read = await log.read()
    assert read.rooms == {ROOM: rooms.state()}
    assert (read.room_offset, read.activity_offset) == (42, 42)
    assert (read.positions_of, read.versions) == ({ROOM: Positions(42, 42)}, {ROOM: 1})
    assert (await log.read(with_leases=False)).rooms[ROOM].leases == {}


async def test_a_room_of_any_size_comes_back_in_records_that_the_broker_takes(log: Log) -> None:
    """Held comments and mutes alone were larger than a record: the checkpoint failed for ever."""
    state = likes(ROOM, 1)
    for number in range(20_000):
        state.leases[f"gateway-12345678/{number}"] = f"viewer-{number}" + "x" * 100
    state.muted_until_us = {"m" * 120 + str(number): number for number in range(10_000)}
    state.banned = {"b" * 120 + str(number) for number in range(10_000)}
    await log.write({ROOM: 1}, 1, state=state)
    async with LogReader(log.settings, [log.topic], 1) as reader:
        sizes = [len(record.value) for record in await reader.to_the_end()]
    assert len(sizes) > 5
    assert max(sizes) < limits.RECORD_BYTES_MAX
    assert (await log.read()).rooms[ROOM] == state
    without = (await log.read(with_leases=False)).rooms[ROOM]
    assert (without.leases, without.banned) == ({}, state.banned)


async def test_the_newest_checkpoint_of_each_room_counts(log: Log) -> None:
    await log.write({"a": 1, "b": 1}, 10)
    await log.write({"a": 2}, 20)
    read = await log.read()
    assert {name: state.likes_total for name, state in read.rooms.items()} == {"a": 20, "b": 10}
    assert read.room_offset == 20
    assert read.versions == {"a": 2, "b": 1}


async def test_rooms_of_a_checkpoint_that_a_crash_tore_are_ahead_of_the_marker(log: Log) -> None:
    await log.write({"a": 1, "b": 1}, 10)
    await log.put(*freeze_room(likes("a", 20), 2).records(Positions(20, 25)))
    read = await log.read()
    assert read.rooms["a"].likes_total == 20
    assert read.positions_of == {"a": Positions(20, 25), "b": Positions(10, 10)}
    assert (read.room_offset, read.activity_offset) == (10, 10)


async def test_a_large_room_that_a_crash_tore_is_what_it_was_before(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 100)

    def records(count: int, version: int) -> list[tuple[bytes, bytes]]:
        return freeze_room(likes(ROOM, count), version).records(Positions(count, count))

    await log.put(*records(1, 1), marker(0, Positions(1, 1), 0))
    await log.put(*records(2, 2)[:-1])
    assert (await log.read()).rooms[ROOM].likes_total == 1
    # The next owner goes on from what was whole; its parts lie among the torn ones.
    await log.put(*records(3, 2)[:2])
    assert (await log.read()).rooms[ROOM].likes_total == 1
    # Compaction keeps the newest of each key: the parts of the whole one are not among the torn.
    torn, whole = records(2, 2)[:-1], records(1, 1)
    assert not {key for key, _ in torn} & {key for key, _ in whole}
    await log.put(*records(4, 2), marker(0, Positions(4, 4), 0))
    assert (await log.read()).rooms[ROOM].likes_total == 4


async def test_parts_of_two_owners_do_not_make_one_state(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 100)
    one = freeze_room(likes(ROOM, 1), 1).records(Positions(1, 1))
    two = freeze_room(likes(ROOM, 2), 1).records(Positions(2, 2))
    await log.put(*one, marker(0, Positions(1, 1), 0))
    mixed = [*one[:-1], two[-1]]
    assert len(one) > 2, "a room of several parts"
    await log.put(*mixed, marker(0, Positions(2, 2), 0))
    assert (await log.read()).rooms[ROOM].likes_total == 1


async def test_what_somebody_else_wrote_does_not_stop_a_start(log: Log) -> None:
    await log.write({"a": 1}, 10)
    garbage = b"\xff\x00 nothing of ours"
    await log.put(
        *((None, b"x"), (b"a", None), (b"a", garbage), (b"\xff", garbage), (b"b", b"")),
        *((b"a|0|1", garbage), (b"partition:0", garbage), (b"partition:0", None)),
        *((b"partition:0", b'{"positions":{"room":"x"}}'), (b"partition:7", b"{}")),
    )
    read = await log.read()
    assert {name: state.likes_total for name, state in read.rooms.items()} == {"a": 10}
    assert read.room_offset == 10


async def test_a_marker_far_from_the_end_is_found(log: Log) -> None:
    await log.write({"a": 1}, 10)
    for number in range(3):
        await log.put(*((b"junk-%d" % n, b"x" * number) for n in range(2_100)))
    assert (await log.read()).room_offset == 10


async def test_reading_begins_where_the_oldest_living_checkpoint_lies(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction waits for a segment to fill: without this a start read gigabytes."""
    monkeypatch.setattr(limits, "CHECKPOINT_LOG_BYTES", 20_000)
    rooms = Rooms()
    for name in ("quiet", "busy"):
        rooms.given_open(name)
    owner = Checkpointing(Checkpoint())
    begins = []
    for number in range(200):
        rooms.when(comment(), "ann", room="busy")
        frozen = owner.freeze(rooms.partition)
        begin = owner.begin(frozen)
        at = Positions(number, number)
        written = write_checkpoint(log.writer, 0, frozen.rooms, at, begin, frozen.known_ids)
        owner.wrote(frozen, written, await log.writer.acknowledged(log.topic, 0))
        begins.append(begin)
    assert begins == sorted(begins)
    assert begins[-1] > 300, "the quiet room was written again from time to time"
    read = await log.read()
    assert read.rooms == rooms.partition.rooms
    assert read.begin == begins[-1]


async def test_the_ids_of_the_filter_come_back_and_are_bounded(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading them from the last 50,000 facts of each topic took seconds, at every start."""
    monkeypatch.setattr(limits, "CHECKPOINT_FACTS", 100)
    monkeypatch.setattr(limits, "CHECKPOINT_LOG_BYTES", 30_000)
    rooms = Rooms().given_open()
    owner, window = Checkpointing(Checkpoint()), _SEALED_RECORDS * 100
    sent = []
    for number in range(61):
        for _ in range(7 if number % 2 else 93):
            sent.append(comment())
            rooms.when(sent[-1], "ann")
        frozen = owner.freeze(rooms.partition)
        if number % 7 == 3:
            continue  # Given up: the partition was revoked, and came back.
        at, begin = Positions(number, number), owner.begin(frozen)
        written = write_checkpoint(log.writer, 0, frozen.rooms, at, begin, frozen.known_ids)
        owner.wrote(frozen, written, await log.writer.acknowledged(log.topic, 0))
        if number == 30:
            owner = Checkpointing(await log.read())
    read = await log.read()
    known = [each for record in read.known_ids for each in record.ids]
    newest = [each.id for each in sent][-window:]
    assert known[-len(newest) :] == newest
    assert len(known) < 2 * window
    assert read.begin > 30, "what is read does not grow with the log"
    assert (await log.read(with_leases=False)).known_ids == []


async def test_a_checkpoint_is_due_after_so_many_facts_or_so_much_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rooms = Rooms().given_open().partition
    owner = Checkpointing(Checkpoint())
    assert not owner.is_due(rooms, limits.CHECKPOINT_FACTS - 1)
    assert owner.is_due(rooms, limits.CHECKPOINT_FACTS)
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_S", 0.0)
    assert owner.is_due(rooms, 0)
    rooms.changed.clear()
    assert not owner.is_due(rooms, limits.CHECKPOINT_FACTS)
