"""The room processor as processes on a real broker: order, repeats, poison, kills, zombies."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from engagement.domain import limits
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC
from engagement.log.checkpoints import Checkpoint, read_checkpoints
from engagement.log.codec import encode_envelope, encode_fact
from engagement.log.topics import DEAD_LETTER_TOPIC, partition_of
from engagement.processors import recovery
from engagement.processors.dying import EXIT_CODE
from engagement.processors.recovery import recover
from engagement.settings import Settings
from tests.integration.log_reader import LogReader
from tests.integration.room_workers import (
    Stage,
    Workers,
    gone,
    now_us,
    rooms_in_every_partition,
)
from tests.unit import domain_parts as parts
from tests.unit.domain_parts import WORDS

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def workers(engines: Settings) -> Iterator[Workers]:
    """The workers of this module's tests."""
    running = Workers(engines)
    yield running
    running.stop_all()


@pytest.fixture
async def stage(engines: Settings, workers: Workers) -> AsyncIterator[Stage]:
    """Two running workers, whatever the test before has done to them."""
    for number in (0, 1):
        if number not in workers.processes or workers.processes[number].poll() is not None:
            workers.start(number)
    async with Stage(engines, workers) as stage:
        yield stage


@pytest.fixture
async def rooms(engines: Settings, stage: Stage) -> list[str]:
    """An open room in every partition, shared by two workers."""
    names = rooms_in_every_partition(engines)
    openings = [asked(room, parts.opening(), "host") for room in names]
    stage.send(*openings)
    await stage.until_facts(ids(openings))
    await shared(stage, names)
    return names


async def shared(stage: Stage, rooms: list[str]) -> None:
    """Both workers have some of these rooms: none is still on its way to one that just started."""
    while {stage.worker_of(room) for room in rooms} != {"0", "1"}:
        probes = [asked(room, parts.taps()) for room in rooms]
        stage.send(*probes)
        await stage.until_facts(ids(probes))


def asked(room: str, request: Any, actor: str = "ann", **how: Any) -> Accepted:
    return parts.asked(request, actor, room=room, at_us=now_us(), **how)


def ids(things: list[Accepted]) -> list[str]:
    return [each.request.id for each in things]


async def test_facts_of_a_room_are_in_the_order_of_its_requests(
    stage: Stage, rooms: list[str]
) -> None:
    sent = {room: [asked(room, parts.comment()) for _ in range(200)] for room in rooms}
    for number in range(0, 200, 10):
        stage.send(*(each for room in rooms for each in sent[room][number : number + 10]))
    for room in rooms:
        await stage.until_facts(ids(sent[room]))
        comments = [f.id for f in stage.facts([room], ROOM_TOPIC) if f.type == "comment.posted"]
        assert comments == ids(sent[room])


async def test_a_repeat_is_dropped_and_a_stolen_id_is_refused(
    stage: Stage, rooms: list[str]
) -> None:
    room = rooms[0]
    first, last = asked(room, parts.comment()), asked(room, parts.comment())
    thief = asked(room, first.request, "bob")
    for envelope in ([first, first], [first], [thief], [thief], [last]):
        stage.send(*envelope)
    await stage.until_facts(ids([last]))
    await stage.until(lambda: any(f.type == "request.refused" for f in stage.facts([room])))
    comments = [f.id for f in stage.facts([room]) if f.type == "comment.posted"]
    assert comments == ids([first, last])
    refused = [f.decode() for f in stage.facts([room]) if f.type == "request.refused"]
    assert [(each.request, each.code) for each in refused] == [(first.request.id, "id_reused")]


async def test_joins_and_taps_are_folded_into_windows_by_the_wall_clock(
    stage: Stage, rooms: list[str]
) -> None:
    room = rooms[1]
    stage.send(*(asked(room, parts.join(), f"v{n}", session=f"test-gateway/{n}") for n in range(5)))
    stage.send(*(asked(room, parts.taps(3), f"v{n}") for n in range(5)))

    def told() -> dict[str, Any]:
        return {f.type: f.decode() for f in stage.facts([room]) if f.type.endswith(".counted")}

    await stage.until(lambda: len(told()) == 2 and told()["likes.counted"].room_total == 15)
    await stage.until(lambda: told()["viewers.counted"].online == 5)


async def test_poison_goes_to_the_dead_letters_and_costs_only_itself(
    engines: Settings, stage: Stage, rooms: list[str]
) -> None:
    room, elsewhere = rooms[2], rooms[3]
    partition = partition_of(room, engines.partitions)
    good = [asked(room, parts.comment()) for _ in range(2)]
    lost = asked(elsewhere, parts.comment())
    envelope = encode_envelope(Envelope("g", [good[0], good[1]]))
    spoilt = envelope.replace(b'"comment.post"', b'"comment.pest"', 1)
    huge_time = encode_envelope(
        Envelope("g", [Accepted(room, "a", "viewer", 1 << 62, lost.request)])
    )
    poison: list[bytes | None] = [
        *(None, b"", b"\xff\xfe garbage", b"null", b"[]", b"{}", b'"text"', b"[" * 100_000),
        b'{"gateway":7,"requests":[]}',
        b'{"gateway":"g","requests":{}}',
        b'{"gateway":"g","v":2,"requests":[]}',
        *(spoilt, huge_time, encode_envelope(Envelope("g", [lost]))),
    ]
    topic = [DEAD_LETTER_TOPIC]
    async with LogReader(engines, topic, 1) as reader:
        await reader.from_the_end()
        for each in poison[:-1]:
            stage.put(partition, each)
        stage.put(partition, poison[-1], key=None)
        last = asked(room, parts.comment())
        stage.send(last)
        await stage.until_facts(ids([good[1], last]))
        letters = await reader.until(lambda read: len(read) >= len(poison))
    assert [letter.value for letter in letters] == poison
    headers = [dict(letter.headers) for letter in letters]
    assert all(each["reason"] and each["topic"] == b"live.requests.v1" for each in headers)
    assert {each["partition"] for each in headers} == {b"%d" % partition}
    offsets = [int(each["offset"]) for each in headers]
    assert offsets == list(range(offsets[0], offsets[0] + len(poison)))
    assert b"request 0" in headers[-3]["reason"]
    assert not [f for f in stage.facts([room, elsewhere]) if f.id == lost.request.id]


async def test_garbage_among_the_facts_stops_nobody(
    engines: Settings, stage: Stage, rooms: list[str]
) -> None:
    room = rooms[4]
    partition = partition_of(room, engines.partitions)
    before = dict(stage.workers.processes)
    for topic in (ROOM_TOPIC, ACTIVITY_TOPIC):
        stage.put_fact(topic, partition, b"\xff nothing of ours")
    for _ in range(3):
        thing = asked(room, parts.comment())
        stage.send(thing, asked(room, parts.taps()))
        await stage.until_facts(ids([thing]))
    assert all(process.poll() is None for process in before.values())


async def test_facts_of_another_writer_end_the_worker_which_then_knows_them(
    engines: Settings, stage: Stage, rooms: list[str]
) -> None:
    """Two that write to one partition decide without each other; the log tells them."""
    room = rooms[5]
    number = int(stage.worker_of(room))
    muted = parts.Rooms().given_open(room).when(parts.mute("ann", 600), room=room, at_us=now_us())
    stage.put_fact(ROOM_TOPIC, partition_of(room, engines.partitions), encode_fact(muted[0]))
    stage.send(asked(room, parts.taps()), asked(room, parts.comment(), "bob"))
    assert await gone(stage.workers.processes[number]) == EXIT_CODE
    stage.workers.start(number)
    refused = asked(room, parts.comment(), "ann")
    stage.send(refused)

    def codes() -> list[str]:
        facts = [f.decode() for f in stage.facts([room]) if f.type == "request.refused"]
        return [each.code for each in facts if each.request == refused.request.id]

    await stage.until(lambda: codes() == ["muted"])


async def test_a_killed_worker_loses_and_doubles_nothing_and_stalls_only_its_own_rooms(
    stage: Stage, rooms: list[str]
) -> None:
    sent: dict[str, list[Accepted]] = {room: [] for room in rooms}

    def post() -> None:
        for room in rooms:
            things = [asked(room, parts.comment()), asked(room, parts.taps(2))]
            sent[room] += things
            stage.send(*things)

    async def crowd() -> None:
        while True:
            post()
            await asyncio.sleep(0.005)

    post()
    load = asyncio.create_task(crowd())
    stalls_s = []
    for victim in (0, 1, 0):
        await shared(stage, rooms)
        mine = [room for room in rooms if stage.worker_of(room) == str(victim)]
        others = [room for room in rooms if room not in mine]
        stage.workers.kill(victim)
        killed_s = time.monotonic()
        # The victim is not started again before all others have gone on: they do not wait for it.
        await stage.until_facts(sent[room][-1].request.id for room in others)
        stage.workers.start(victim)
        await stage.until_facts(sent[room][-1].request.id for room in mine)
        stalls_s.append(time.monotonic() - killed_s)
    load.cancel()
    print(f"stalls {stalls_s} s")
    await stage.sent()
    for room in rooms:
        await stage.until_facts(ids(sent[room]))
        facts = {f.id: f for f in stage.facts([room])}.values()
        comments = [f.id for f in facts if f.type == "comment.posted"]
        assert comments == [each.request.id for each in sent[room][::2]]
        totals = [f.decode().room_total for f in facts if f.type == "likes.counted"]
        assert totals == sorted(set(totals))
    all_facts = stage.facts(rooms, ROOM_TOPIC)
    repeats = len(all_facts) - len({fact.id for fact in all_facts})
    assert repeats == 0, f"{repeats} of {len(all_facts)} facts were written twice"


async def test_a_zombie_writes_nothing_after_its_partitions_have_moved(
    stage: Stage, rooms: list[str]
) -> None:
    """Stopped for longer than its session, then continued: it must not write what it decided."""
    victim = 0
    mine = [room for room in rooms if stage.worker_of(room) == str(victim)]
    zombie = stage.workers.processes[victim]
    stage.workers.signal(victim, signal.SIGSTOP)
    things = [asked(room, parts.comment()) for room in mine]
    stage.send(*things)
    await stage.until_facts(ids(things))
    assert {stage.worker_of(room) for room in mine} == {"1"}
    zombie.send_signal(signal.SIGCONT)
    assert await gone(zombie) == EXIT_CODE
    stage.workers.start(victim)
    more = [asked(room, parts.comment()) for room in rooms]
    stage.send(*more)
    await stage.until_facts(ids(more))
    counts = Counter(fact.id for fact in stage.facts(mine) if fact.type == "comment.posted")
    assert [counts[each] for each in ids(things)] == [1] * len(things)


async def test_a_worker_that_is_told_to_end_leaves_nothing_undone(
    engines: Settings,
    stage: Stage,
    rooms: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In time, with everything acknowledged, committed and checkpointed: a start from there is
    the same as one from the log alone."""
    things = [asked(r, parts.comment(), f"v{n}") for n in range(20) for r in rooms]
    likes = [asked(r, parts.taps(n), f"v{n}") for n in range(1, 20) for r in rooms]
    stage.send(*things, *likes)
    await stage.until_facts(ids([*things, *likes]))
    for number in (0, 1):
        began_s = time.monotonic()
        assert stage.workers.stop(number) == 0
        assert time.monotonic() - began_s < 5
    bootstrap, numbers = engines.bootstrap_servers, range(engines.partitions)
    written = await read_checkpoints(bootstrap, numbers, with_leases=True)
    from_checkpoint = await recover(bootstrap, numbers, WORDS)

    async def no_checkpoints(_: str, partitions: list[int], **__: Any) -> dict[int, Checkpoint]:
        return {number: Checkpoint() for number in partitions}

    monkeypatch.setattr(recovery, "read_checkpoints", no_checkpoints)
    monkeypatch.setattr(limits, "SEED_FACTS_PER_PARTITION", 10_000_000)
    from_the_log = await recover(bootstrap, numbers, WORDS)
    for number in numbers:
        one, other = from_checkpoint[number], from_the_log[number]
        assert one.positions == other.positions
        assert one.positions.room == written[number].room_offset
        assert one.rooms.changed == set()
        assert one.order == other.order
        assert {r: one.rooms.rooms[r] for r in rooms if r in one.rooms.rooms} == {
            r: other.rooms.rooms[r] for r in rooms if r in other.rooms.rooms
        }
    reader = LogReader(engines, [ROOM_TOPIC, ACTIVITY_TOPIC], engines.partitions)
    async with reader:
        await reader.from_the_end()
        for number in (0, 1):
            stage.workers.start(number)
        last = [asked(room, parts.comment()) for room in rooms]
        stage.send(*last)
        await stage.until_facts(ids(last))
        await reader.to_the_end()
    # Nothing was left to be decided again: the first facts after the start are the new ones.
    comments = [r for r in reader.records if b'"comment.posted"' in r.value]
    assert len(comments) == len(last)
