"""One fault run of money: an instance, a load, battles, faults, quiet, and the evidence."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiokafka.errors import KafkaError
from msgspec import Struct

from tests.faults.collect import dump_topics, end_offsets
from tests.faults.history import History
from tests.faults.instance import Instance, Kind, ports_from
from tests.faults.nemesis import Fault, Nemesis, draw_faults
from tests.faults.run import commit

from .battles import Hosts
from .load import SERVICE, MoneyLoad
from .plan import wallets

GATEWAYS = 2
WORKERS = 2
KINDS: tuple[Kind, ...] = ("gateway", "worker", "projector", "broker", "database", "media")
TOPICS = {"room": "live.room.v1", "ledger": "live.ledger.v1", "battle": "live.battle.v1"}
STABLE_S = 2.0
QUIET_S_MAX = 120.0
_ENCODE = msgspec.json.Encoder().encode


class Options(Struct, frozen=True):
    """What to run."""

    gifts: int
    kills: int
    pauses: int
    seconds: float
    seed: int
    directory: Path
    first_port: int
    wallets: int = 500


class Outcome(Struct):
    """What the run itself knows; the verdict on it is the judge's."""

    options: dict[str, Any]
    commit: str
    faults: dict[str, int]
    repeated: int
    fenced: float
    """Sessions that found their partitions taken, as the workers' metrics count them."""
    server_errors: list[str]
    never_came_back: list[str]
    verified: dict[str, int]
    """Exit codes of `engagement verify …`."""
    seconds: dict[str, float]


async def run(options: Options, say: Callable[[str], None]) -> Outcome:
    """Run it all; the evidence is in `options.directory` afterwards."""
    options.directory.mkdir(parents=True, exist_ok=True)
    instance = Instance(
        options.directory,
        ports_from(options.first_port),
        ENGAGEMENT_GATEWAYS=str(GATEWAYS),
        ENGAGEMENT_WORKERS=str(WORKERS),
        ENGAGEMENT_USER_REQUESTS_PER_S="500",
        ENGAGEMENT_USER_GIFTS_PER_S="500",
    )
    history = History(options.directory / "history.jsonl")
    began = time.monotonic()
    try:
        say("starting the instance")
        await instance.start(GATEWAYS)
        outcome = await _under_fire(options, instance, history, say)
        say("verifying")
        for name in ("ledger", "projections"):
            outcome.verified[name] = await _verify(instance, name)
        outcome.seconds["all"] = round(time.monotonic() - began, 1)
    finally:
        history.close()
        instance.stop()
    (options.directory / "outcome.json").write_bytes(_ENCODE(outcome))
    return outcome


async def _under_fire(
    options: Options, instance: Instance, history: History, say: Callable[[str], None]
) -> Outcome:
    gateways = instance.gateways(GATEWAYS)
    bought = wallets(options.wallets)
    async with MoneyLoad(gateways, options.seed) as load:
        await load.prepare(bought)
        say(f"{options.gifts} gifts in {options.seconds:.0f} s, {options.kills} kills")
        hosts = Hosts(load, options.seed)
        nemesis = Nemesis(instance, history, options.seed)
        faults: list[Fault] = draw_faults(options.seed, options.kills, options.pauses, KINDS)
        firing = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(nemesis.rage(faults, options.seconds))
            group.create_task(load.play(options.seed, options.gifts, list(bought), options.seconds))
            group.create_task(hosts.fight(options.seconds))
        say("waiting for the last answers")
        await load.finish()
        fired_s = time.monotonic() - firing
        for address in gateways:
            await instance.wait_ready(address)
        say("waiting for quiet")
        await _until(lambda: _stands_still(instance.bootstrap), QUIET_S_MAX, "rest")
        say("collecting the evidence")
        await _collect(options, instance, load, hosts, bought)
        return Outcome(
            options={"gifts": options.gifts, "seed": options.seed, "wallets": options.wallets},
            commit=commit(),
            faults=dict(sorted(nemesis.done.items())),
            repeated=load.repeated,
            fenced=0.0,
            server_errors=load.server_errors,
            never_came_back=nemesis.never_came_back,
            verified={},
            seconds={"load": round(fired_s, 1)},
        )


async def _collect(
    options: Options,
    instance: Instance,
    load: MoneyLoad,
    hosts: Hosts,
    bought: dict[str, int],
) -> None:
    directory = options.directory
    load.write(directory / "gifts.jsonl")
    with (directory / "altered.jsonl").open("wb") as file:
        for gift_id, told in load.altered.items():
            file.write(_ENCODE({"id": gift_id, "told": told}) + b"\n")
    with (directory / "wallets.jsonl").open("wb") as file:
        for account, coins in bought.items():
            _, wallet = await load.insist("GET", f"/v1/accounts/{account}", SERVICE)
            file.write(_ENCODE({**wallet, "bought": coins}) + b"\n")
    with (directory / "battles.jsonl").open("wb") as file:
        for battle in hosts.started:
            _, view = await load.insist("GET", f"/v1/battles/{battle}", SERVICE)
            file.write(_ENCODE(view) + b"\n")
    await dump_topics(instance.bootstrap, directory, TOPICS)


async def _verify(instance: Instance, name: str) -> int:
    """The product's own proof, which is no part of the verdict of the judge but must agree."""
    import sys

    from tests.faults.instance import ROOT

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engagement", "verify", name),
        cwd=ROOT,
        env=instance.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    (instance.directory / f"verify-{name}.txt").write_bytes(out)
    return process.returncode or 0


async def _stands_still(bootstrap: str) -> bool:
    before = await end_offsets(bootstrap, TOPICS)
    await asyncio.sleep(STABLE_S)
    return before == await end_offsets(bootstrap, TOPICS)


async def _until(condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(aiohttp.ClientError, KafkaError, OSError):
            if await condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.2)
