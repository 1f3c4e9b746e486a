"""One fault run: an instance, a load, faults, quiet, and the evidence written down."""

import asyncio
import contextlib
import random
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct

from . import collect
from .evidence import POISON_MARK
from .history import History
from .instance import ROOT, Instance, Kind, ports_from
from .load import Load
from .nemesis import KILLED, Nemesis, draw_faults
from .plan import CLOSED_ROOM, DENIED_WORD, HELD_WORD, Call, Plan, host_of, rooms
from .watchers import Watchers

GATEWAYS = 2
WORKERS = 2
VIEWERS_PER_ROOM = 2
QUIET_S_MAX = 90.0
STABLE_S = 1.5
"""The ends of the topics must have stood still for this long: windows last 250 ms."""
SETUP_S_MAX = 60.0
POISON_RECORDS = 8
POISONED_TOPICS = ("live.requests.v1", "live.room.v1")
GARBAGE = ("\ufffd %s", '{"gateway": "%s"', '["%s"]', '{"v": 1, "gateway": "%s"}', '"%s"')


class Options(Struct, frozen=True):
    """What to run."""

    requests: int
    kills: int
    pauses: int
    seconds: float
    seed: int
    directory: Path
    first_port: int = 28_100
    kinds: tuple[Kind, ...] = KILLED
    """What is killed, in turn."""
    environment: dict[str, str] = {}
    patience_s: float = QUIET_S_MAX
    """How long each thing that must come in the end may take."""


class Outcome(Struct):
    """What the run itself knows; the verdict on it is the checker's."""

    seconds: dict[str, float]
    faults: dict[str, int]
    repeated: int
    server_errors: list[str]
    never_came_back: list[str]


def instance_of(options: Options) -> Instance:
    """The private instance of a run."""
    return Instance(
        options.directory,
        ports_from(options.first_port),
        ENGAGEMENT_GATEWAYS=str(GATEWAYS),
        ENGAGEMENT_WORKERS=str(WORKERS),
        ENGAGEMENT_MODERATION_DENY=f'["{DENIED_WORD}"]',
        ENGAGEMENT_MODERATION_HOLD=f'["{HELD_WORD}"]',
        ENGAGEMENT_USER_REQUESTS_PER_S="200",
        **options.environment,
    )


async def run(options: Options, say: Callable[[str], None]) -> Outcome:
    """Run it all; the evidence is in `options.directory` afterwards."""
    options.directory.mkdir(parents=True, exist_ok=True)
    instance = instance_of(options)
    history = History(options.directory / "history.jsonl")
    history.note("run", seed=options.seed, requests=options.requests, commit=commit())
    began = time.monotonic()
    try:
        say("starting the instance")
        await instance.start(GATEWAYS)
        outcome = await _under_fire(options, instance, history, say)
        outcome.seconds["start"] = round(outcome.seconds["start"] - began, 1)
        say("collecting the evidence")
        collecting = time.monotonic()
        await collect.dump_topics(instance.bootstrap, options.directory)
        names = [*rooms(), CLOSED_ROOM]
        await collect.dump_http(instance.gateways(GATEWAYS)[0], names, options.directory)
        await collect.dump_rows(instance.dsn, options.directory)
        outcome.seconds["collect"] = round(time.monotonic() - collecting, 1)
        outcome.seconds["all"] = round(time.monotonic() - began, 1)
    finally:
        history.close()
        instance.stop()
    (options.directory / "outcome.json").write_bytes(msgspec.json.encode(outcome))
    return outcome


async def _under_fire(
    options: Options, instance: Instance, history: History, say: Callable[[str], None]
) -> Outcome:
    gateways = instance.gateways(GATEWAYS)
    plan = Plan(options.seed, options.requests)
    viewers = Watchers(gateways, options.directory / "viewers.jsonl", options.seed)
    ready = time.monotonic()
    async with Load(plan, gateways, history, options.seed) as load, viewers:
        await _open_rooms(gateways, plan, load, history)
        viewers.start(rooms(), VIEWERS_PER_ROOM)
        say(f"{options.requests} requests in {options.seconds:.0f} s, {options.kills} kills")
        nemesis = Nemesis(instance, history, options.seed)
        faults = draw_faults(options.seed, options.kills, options.pauses, options.kinds)
        firing = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(nemesis.rage(faults, options.seconds))
            group.create_task(load.play(options.seconds, options.requests))
            group.create_task(_poison(instance, history, options))
        say("waiting for the last answers")
        viewers.calm()
        await load.finish()
        quieting = time.monotonic()
        for address in gateways:
            await instance.wait_ready(address)
        for call in plan.farewell():
            await load.insist(call)
        last = await _sentinels(plan, load, history)
        say("waiting for the last viewer")
        await _hopefully(
            lambda: _all_have(gateways[0], viewers, last), options.patience_s, say, "last comments"
        )
    say("waiting for quiet")
    for condition, what in (
        (lambda: _empty(gateways[0]), "everybody's leaving"),
        (lambda: _stands_still(instance.bootstrap), "rest"),
    ):
        await _hopefully(condition, options.patience_s, say, what)
    return Outcome(
        seconds={
            "start": ready,
            "load": round(quieting - firing, 1),
            "quiet": round(time.monotonic() - quieting, 1),
        },
        faults=dict(sorted(nemesis.done.items())),
        repeated=load.repeated,
        server_errors=load.server_errors,
        never_came_back=nemesis.never_came_back,
    )


async def _open_rooms(gateways: list[str], plan: Plan, load: Load, history: History) -> None:
    """Open all rooms, close one, and let hosts ban and mute."""
    async with aiohttp.ClientSession(f"http://{gateways[0]}") as session:
        await asyncio.gather(*(_open(session, room) for room in (*rooms(), CLOSED_ROOM)))
        host = host_of(CLOSED_ROOM)
        async with session.delete(f"/v1/rooms/{CLOSED_ROOM}", headers={"X-User": host}) as answer:
            answer.raise_for_status()
    for room in rooms():
        history.note("room", room=room, status="open", host=host_of(room))
    history.note("room", room=CLOSED_ROOM, status="closed", host=host_of(CLOSED_ROOM))
    await _until(lambda: _all_know(gateways), SETUP_S_MAX, "the gateways do not know the rooms")
    asks = [ask for room in rooms() for ask in plan.setup(room).asks]
    calls = [Call("http", ask.room, [ask], single=True) for ask in asks]
    if not all(await asyncio.gather(*(load.insist(call) for call in calls))):
        raise RuntimeError("a ban or a mute was refused")


async def _open(session: aiohttp.ClientSession, room: str) -> None:
    host = host_of(room)
    async with session.put(
        f"/v1/rooms/{room}", json={"title": room, "host": host}, headers={"X-User": host}
    ) as answer:
        if answer.status not in (200, 201):
            raise RuntimeError(f"PUT {room}: {answer.status} {await answer.text()}")


async def _all_know(gateways: list[str]) -> bool:
    for address in gateways:
        async with aiohttp.ClientSession(f"http://{address}") as session:
            for room in (*rooms(), CLOSED_ROOM):
                async with session.get(f"/v1/rooms/{room}", headers={"X-User": "a"}) as answer:
                    if answer.status != 200:
                        return False
                    status = (await answer.json())["status"]
                    if status != ("closed" if room == CLOSED_ROOM else "open"):
                        return False
    return True


async def _sentinels(plan: Plan, load: Load, history: History) -> dict[str, str]:
    """One last comment per room, acknowledged."""
    last = {}
    for room in rooms():
        call = plan.sentinel(room)
        if not await load.insist(call):
            raise RuntimeError(f"the last comment of {room} was not taken")
        last[room] = call.asks[0].id
        history.note("sentinel", room=room, id=last[room])
    return last


async def _hopefully(
    condition: Callable[[], Awaitable[bool]],
    timeout_s: float,
    say: Callable[[str], None],
    what: str,
) -> None:
    """Wait, but not for ever: that it never comes is for the checker to find."""
    try:
        await _until(condition, timeout_s, what)
    except TimeoutError:
        say(f"gave up waiting for {what}")


async def _all_have(address: str, viewers: Watchers, last: dict[str, str]) -> bool:
    for number, room in enumerate(rooms() * VIEWERS_PER_ROOM):
        if last[room] not in viewers.seen[number]:
            return False
    return await _timelines_have(address, last)


async def _empty(address: str) -> bool:
    async with aiohttp.ClientSession(f"http://{address}") as session:
        for room in rooms():
            async with session.get(f"/v1/rooms/{room}", headers={"X-User": "auditor"}) as answer:
                if answer.status != 200 or (await answer.json())["online"]:
                    return False
    return True


async def _timelines_have(address: str, last: dict[str, str]) -> bool:
    async with aiohttp.ClientSession(f"http://{address}") as session:
        for room, request_id in last.items():
            async with session.get(
                f"/v1/rooms/{room}/comments?limit=1", headers={"X-User": "auditor"}
            ) as answer:
                if answer.status != 200 or request_id not in await answer.text():
                    return False
    return True


async def _stands_still(bootstrap: str) -> bool:
    before = await collect.end_offsets(bootstrap)
    await asyncio.sleep(STABLE_S)
    return before == await collect.end_offsets(bootstrap)


async def _until(condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(aiohttp.ClientError, KafkaError, OSError):
            if await condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.2)


async def _poison(instance: Instance, history: History, options: Options) -> None:
    """Write garbage into the requests topic now and then, as a broken producer would."""
    draw = random.Random(options.seed)
    for number in range(POISON_RECORDS):
        await asyncio.sleep(options.seconds / (POISON_RECORDS + 1))
        garbage = draw.choice(GARBAGE) % f"{POISON_MARK}{number}"
        place = draw.choice(POISONED_TOPICS), draw.randrange(8)
        offset = await _write_garbage(instance.bootstrap, *place, garbage.encode())
        history.note("poison", topic=place[0], partition=place[1], offset=offset)


async def _write_garbage(bootstrap: str, topic: str, partition: int, value: bytes) -> int:
    """The offset of the record; -1 when nobody told it: it may be on the log or not."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(20):
            producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
            try:
                await producer.start()
                sent = await producer.send_and_wait(topic, value, partition=partition)
                return int(sent.offset)
            finally:
                await producer.stop()
    return -1


def commit() -> str:
    """The commit that is run, with a mark when the tree differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    dirty = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if dirty else "")


def facts_of_the_machine() -> dict[str, Any]:
    """Cores and memory."""
    import os
    import platform

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "system": platform.system(),
        "python": platform.python_version(),
    }
