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
from .history import History, now
from .instance import ROOT, Instance, Kind, ports_from
from .load import Load
from .money.beside import Money, verify
from .nemesis import KILLED, Nemesis, draw_faults
from .plan import CLOSED_ROOM, DENIED_WORD, HELD_WORD, ROOMS, Call, Plan, host_of, room_names
from .watchers import Watchers

GATEWAYS = 2
WORKERS = 2
VIEWERS_PER_ROOM = 2
QUIET_S_MAX = 90.0
STABLE_S = 1.5
"""The ends of the topics must have stood still for this long: windows last 250 ms."""
SETUP_S_MAX = 60.0
FILMED_ROOMS = 4
LAST_SECONDS = 5.0
"""Of battles: when most gifts come, and the faults when all battles are at once."""
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
    gifts: int = 0
    """Gifts beside the other requests; with them come wallets, deposits and battles."""
    rooms: int = ROOMS
    battle_s: int = 0
    """All battles at once and so long, and all faults in their last seconds; 0: battles of some
    seconds one after the other."""
    sleeps: int = 0
    """How often a worker is stopped until others have taken its money over, and woken up."""
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
    fenced: int = 0
    """Sessions of workers that found their partitions taken."""
    battles: int = 0
    verified: dict[str, int] = {}
    """Exit codes of `engagement verify …`, where there was money."""


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
        ENGAGEMENT_USER_GIFTS_PER_S="200",
        ENGAGEMENT_SYNTHETIC_ROOMS=msgspec.json.encode(filmed(options)).decode(),
        **options.environment,
    )


def filmed(options: Options) -> list[str]:
    """Rooms with a host who has a camera: their facts are stamped by a media clock."""
    return room_names(options.rooms)[:FILMED_ROOMS]


async def run(options: Options, say: Callable[[str], None]) -> Outcome:
    """Run it all; the evidence is in `options.directory` afterwards."""
    options.directory.mkdir(parents=True, exist_ok=True)
    instance = instance_of(options)
    history = History(options.directory / "history.jsonl")
    history.note(
        "run",
        seed=options.seed,
        requests=options.requests,
        gifts=options.gifts,
        commit=commit(),
        unix_us_at_0=(time.time_ns() - now()) // 1000,
    )
    began = time.monotonic()
    try:
        say("starting the instance")
        await instance.start(GATEWAYS)
        outcome = await _Run(options, instance, history, say).play()
        outcome.seconds["start"] = round(outcome.seconds["start"] - began, 1)
        say("collecting the evidence")
        collecting = time.monotonic()
        await collect.dump_topics(instance.bootstrap, options.directory)
        names = [*room_names(options.rooms), CLOSED_ROOM]
        await collect.dump_http(instance.gateways(GATEWAYS)[0], names, options.directory)
        await collect.dump_rows(instance.dsn, options.directory)
        if options.gifts:
            say("verifying")
            outcome.verified = await verify(instance)
        outcome.seconds["collect"] = round(time.monotonic() - collecting, 1)
        outcome.seconds["all"] = round(time.monotonic() - began, 1)
    finally:
        history.close()
        instance.stop()
    (options.directory / "outcome.json").write_bytes(msgspec.json.encode(outcome))
    return outcome


class _Run:
    """One run on an instance that is ready."""

    def __init__(
        self, options: Options, instance: Instance, history: History, say: Callable[[str], None]
    ) -> None:
        self._options = options
        self._instance = instance
        self._history = history
        self._say = say
        self._gateways = instance.gateways(GATEWAYS)
        self._plan = Plan(options.seed, options.requests, options.gifts, options.rooms)
        self._load = Load(self._plan, self._gateways, history, options.seed)
        self._viewers = Watchers(self._gateways, options.directory / "viewers.jsonl", options.seed)
        hosts = {room: host_of(room) for room in self._plan.rooms}
        self._money = Money(self._gateways, history, hosts, options.gifts, options.seed)
        self._nemesis = Nemesis(instance, history, options.seed)

    async def play(self) -> Outcome:
        """From the opening of the rooms until nothing moves any more."""
        options, ready = self._options, time.monotonic()
        async with self._load, self._money, self._viewers:
            await _open_rooms(self._gateways, self._plan, self._load, self._history)
            if options.gifts:
                await self._money.prepare()
            each = VIEWERS_PER_ROOM if options.rooms <= ROOMS else 1
            self._viewers.start(self._plan.rooms, each)
            what = f"{options.requests} requests, {options.gifts} gifts"
            self._say(f"{what} in {options.seconds:.0f} s, {options.kills} kills")
            firing = time.monotonic()
            await self._fire()
            self._say("waiting for the last answers")
            self._viewers.calm()
            await self._load.finish()
            quieting = time.monotonic()
            await self._calm_down()
            if options.gifts:
                await self._money.collect(options.directory)
        return Outcome(
            seconds={
                "start": ready,
                "load": round(quieting - firing, 1),
                "quiet": round(time.monotonic() - quieting, 1),
            },
            faults=dict(sorted(self._nemesis.done.items())),
            repeated=self._load.repeated,
            server_errors=[*self._load.server_errors, *self._money.server_errors],
            never_came_back=self._nemesis.never_came_back,
            fenced=self._instance.logged("processor.fenced"),
            battles=len(self._money.hosts.started),
        )

    async def _fire(self) -> None:
        """The load, the faults, and what goes on beside them."""
        options = self._options
        faults = draw_faults(
            options.seed, options.kills, options.pauses, options.kinds, sleeps=options.sleeps
        )
        until_faults_s = 0.0
        if options.battle_s:
            deadline = await self._money.hosts.fight_at_once(options.battle_s)
            until_faults_s = deadline - LAST_SECONDS - time.monotonic()
        fault_s = LAST_SECONDS if options.battle_s else options.seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nemesis.rage(faults, fault_s, after_s=until_faults_s))
            group.create_task(self._load.play(options.seconds, options.requests + options.gifts))
            group.create_task(_poison(self._instance, self._history, options))
            if options.battle_s:
                group.create_task(self._money.hosts.finish())
            elif options.gifts:
                group.create_task(self._money.play(options.seconds))

    async def _calm_down(self) -> None:
        """Until every viewer has the last comment of its room, all have left and nothing moves."""
        for address in self._gateways:
            await self._instance.wait_ready(address)
        for call in self._plan.farewell():
            await self._load.insist(call)
        last = await _sentinels(self._plan, self._load, self._history)
        self._say("waiting for the last viewer")
        gateway = self._gateways[0]
        await self._hopefully(lambda: _all_have(gateway, self._viewers, last), "last comments")
        await self._viewers.stop()
        self._say("waiting for quiet")
        await self._hopefully(lambda: _empty(gateway, self._plan.rooms), "everybody's leaving")
        await self._hopefully(lambda: _stands_still(self._instance.bootstrap), "rest")

    async def _hopefully(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait, but not for ever: that it never comes is for the checker to find."""
        try:
            await _until(condition, self._options.patience_s, what)
        except TimeoutError:
            self._say(f"gave up waiting for {what}")


async def _open_rooms(gateways: list[str], plan: Plan, load: Load, history: History) -> None:
    """Open all rooms, close one, and let hosts ban and mute."""
    async with aiohttp.ClientSession(f"http://{gateways[0]}") as session:
        await asyncio.gather(*(_open(session, room) for room in (*plan.rooms, CLOSED_ROOM)))
        host = host_of(CLOSED_ROOM)
        async with session.delete(f"/v1/rooms/{CLOSED_ROOM}", headers={"X-User": host}) as answer:
            answer.raise_for_status()
    for room in plan.rooms:
        history.note("room", room=room, status="open", host=host_of(room))
    history.note("room", room=CLOSED_ROOM, status="closed", host=host_of(CLOSED_ROOM))
    await _until(
        lambda: _all_know(gateways, plan.rooms), SETUP_S_MAX, "the gateways do not know the rooms"
    )
    asks = [ask for room in plan.rooms for ask in plan.setup(room).asks]
    calls = [Call("http", ask.room, [ask], single=True) for ask in asks]
    if not all(await asyncio.gather(*(load.insist(call) for call in calls))):
        raise RuntimeError("a ban or a mute was refused")


async def _open(session: aiohttp.ClientSession, room: str) -> None:
    host = host_of(room)

    async def opened() -> bool:
        async with session.put(
            f"/v1/rooms/{room}", json={"title": room, "host": host}, headers={"X-User": host}
        ) as answer:
            if answer.status < 500 and answer.status not in (200, 201):
                raise RuntimeError(f"PUT {room}: {answer.status} {await answer.text()}")
            return answer.status < 300

    await _until(opened, SETUP_S_MAX, f"{room} does not open")


async def _all_know(gateways: list[str], rooms: list[str]) -> bool:
    for address in gateways:
        async with aiohttp.ClientSession(f"http://{address}") as session:
            for room in (*rooms, CLOSED_ROOM):
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
    for room in plan.rooms:
        call = plan.sentinel(room)
        if not await load.insist(call):
            raise RuntimeError(f"the last comment of {room} was not taken")
        last[room] = call.asks[0].id
        history.note("sentinel", room=room, id=last[room])
    return last


async def _all_have(address: str, viewers: Watchers, last: dict[str, str]) -> bool:
    if not all(last[viewers.rooms[number]] in seen for number, seen in viewers.seen.items()):
        return False
    return await _timelines_have(address, last)


async def _empty(address: str, rooms: list[str]) -> bool:
    async with aiohttp.ClientSession(f"http://{address}") as session:
        for room in rooms:
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
