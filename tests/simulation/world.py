"""One simulated world: workers, gateways and people over a log and a database in memory, faults by
the seed, and everything that an auditor may look at afterwards.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from engagement.domain.media_time import RoomClock
from engagement.log.topics import (
    BATTLE_REQUESTS_TOPIC,
    GIFT_REQUESTS_TOPIC,
    REQUESTS_TOPIC,
    partition_of,
)
from tests.simulation import auditor
from tests.simulation.gateways import Gateway
from tests.simulation.log import Log, Network
from tests.simulation.loop import Process, SimulatedLoop, StuckError
from tests.simulation.people import HOSTS, VIEWERS, People
from tests.simulation.rooms import Group
from tests.simulation.sql import Database
from tests.simulation.worker import Worker

SILENCE_S: Final = 8.0
"""So long nothing is written when nothing is left to do: barriers and combos take less."""
CLOCK_OFF_S_MAX: Final = 20.0
"""A gateway whose clock is so far ahead accepts gifts so far in the future: their combos, and the
battles it opens, end so much later."""
PATIENCE_S: Final = 200.0
"""By then everything has come to its end, or never will."""
_LOOK_S: Final = 0.25


@dataclass(frozen=True)
class Faults:
    """What happens to a world, chosen by its seed."""

    workers: int
    kills: int
    stops: int
    clocks: int
    outages: int
    shuffles: int
    loses: float
    slowness: float


def faults_of(seed: int) -> Faults:
    """Every eighth world has none; half of the others have all kinds."""
    random = Random(f"faults {seed}")
    if seed % 8 == 0:
        return Faults(random.randint(1, 3), 0, 0, 0, 0, 0, 0.0, 1.0)
    return Faults(
        workers=random.randint(1, 3),
        kills=random.randint(0, 6),
        stops=random.choice([0, 0, 1, 2]),
        clocks=random.choice([0, 0, 0, 2]),
        outages=random.choice([0, 0, 1, 2]),
        shuffles=random.choice([0, 0, 1]),
        loses=random.choice([0.0, 0.01, 0.05]),
        slowness=random.choice([1.0, 1.0, 4.0]),
    )


@dataclass
class Verdict:
    """What became of a world."""

    seed: int
    anomalies: list[str]
    digest: str
    """Of all that is on the log: the same seed has the same."""
    counts: dict[str, int]


class World:
    """Everything there is."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.faults = faults_of(seed)
        self.wrong: list[str] = []
        random = Random(f"world {seed}")
        self.partitions = random.choice([1, 2, 3])
        self.network = Network(loop, seed)
        self.log = Log(self.network)
        self.database = Database(self.network)
        self.database.committed = self._look_at_books
        self.group = Group(self.network, self.partitions)
        self.gateways = [
            Gateway(f"gw{number}", self.log, self.network, self.partitions) for number in range(2)
        ]
        for gateway in self.gateways:
            gateway.clock_off_us = random.randint(-5_000, 5_000)
        self.people = People(
            seed, self.gateways, self.log, self.partitions, length_s=random.uniform(5, 9)
        )
        self.workers: list[Worker] = []
        self.buried: list[Process] = []
        self.counts = {"kills": 0, "stops": 0}
        self._is_over = False

    def clock(self, room: str) -> RoomClock | None:
        """No room has a media clock here: stamps are tested elsewhere."""
        return None

    async def live(self) -> None:
        """From the first worker to the last word."""
        for number in range(self.faults.workers):
            self._start_worker(number)
        self._supervise()
        trouble = asyncio.ensure_future(self._make_trouble())
        await self.people.live()
        await trouble
        self.network.calm()
        for worker in self.workers:
            worker.process.calm()
        await self._until_silent()
        self._is_over = self.log.is_closed = True
        for worker in self.workers:
            self.buried.append(worker.process)
        for process in self.buried:
            await process.bury()

    def _start_worker(self, number: int) -> Worker:
        worker = Worker(
            Process(self.loop, f"worker{number}"),
            self.log,
            self.database,
            self.network,
            self.group,
            partitions=self.partitions,
            clock=self.clock,
            wrong=self.wrong.append,
        )
        if number < len(self.workers):
            self.buried.append(self.workers[number].process)
            self.workers[number] = worker
        else:
            self.workers.append(worker)
        worker.start()
        return worker

    def _supervise(self) -> None:
        """Start what has died, after a while; look who may work on the rooms."""
        if self._is_over:
            return
        self.group.look()
        for number, worker in enumerate(self.workers):
            if worker.process.state == "dead" and self.network.random.random() < 0.3:
                self._start_worker(number)
        self.loop.outside(_LOOK_S, self._supervise)

    # --- faults ----------------------------------------------------------------------------------

    async def _make_trouble(self) -> None:
        random, faults = self.network.random, self.faults
        self.network.loses, self.network.slowness = faults.loses, faults.slowness
        troubles: list[Callable[[], object]] = [self._kill] * faults.kills
        troubles += [self._stop] * faults.stops
        troubles += [self._shift_clock] * faults.clocks
        troubles += [self._cut_off] * faults.outages
        troubles += [self.group.shuffle] * faults.shuffles
        random.shuffle(troubles)
        for trouble in troubles:
            await asyncio.sleep(random.random() * 14 / len(troubles))
            trouble()

    def _kill(self) -> None:
        worker = self.network.random.choice(self.workers)
        steps = self.network.random.choice([1, 20, 200, 2_000])
        worker.process.after_steps(self.network.random.randint(1, steps), worker.process.kill)
        self.counts["kills"] += 1

    def _stop(self) -> None:
        process = self.network.random.choice(self.workers).process

        def stop() -> None:
            process.stop()
            self.loop.outside(self.network.random.uniform(0.2, 11), process.wake)

        process.after_steps(self.network.random.randint(1, 300), stop)
        self.counts["stops"] += 1

    def _shift_clock(self) -> None:
        random = self.network.random
        whose: Any = random.choice([worker.process for worker in self.workers] + self.gateways)
        off_s = random.choice([-1, 1]) * random.choice([0.3, 4.0, CLOCK_OFF_S_MAX])
        whose.clock_off_us = round(off_s * 1e6)
        self.loop.outside(random.uniform(0.5, 4), setattr, whose, "clock_off_us", 0)

    def _cut_off(self) -> None:
        until_s = self.loop.time() + self.network.random.choice([0.2, 1.0, 4.0])
        if self.network.random.random() < 0.5:
            self.network.log_away_until_s = until_s
        else:
            self.network.database_away_until_s = until_s

    # --- the end ---------------------------------------------------------------------------------

    async def _until_silent(self) -> None:
        """Until all is decided, told and heard."""
        deadline_s = self.loop.time() + PATIENCE_S
        written, since_s = -1, self.loop.time()
        silence_s = SILENCE_S + (CLOCK_OFF_S_MAX if self.faults.clocks else 0.0)
        while self.loop.time() - since_s < silence_s or not self._is_done():
            if self.loop.time() > deadline_s:
                self.wrong.append(f"stuck: {self._what_is_left()}")
                return
            await asyncio.sleep(_LOOK_S)
            if self.log.appended != written:
                written, since_s = self.log.appended, self.loop.time()

    def _is_done(self) -> bool:
        return not any(self._what_is_left().values())

    def _what_is_left(self) -> dict[str, int]:
        left = {}
        for number in range(self.partitions):
            for topic in (GIFT_REQUESTS_TOPIC, BATTLE_REQUESTS_TOPIC):
                at = self.database.position(topic, number).next_offset
                left[f"{topic}/{number}"] = self.log.end(topic, number) - at
            at = self.group.committed[number]
            left[f"{REQUESTS_TOPIC}/{number}"] = self.log.end(REQUESTS_TOPIC, number) - at
        return left

    def _look_at_books(self, changed: set[str]) -> None:
        if changed & {"accounts", "holds"}:
            accounts, holds = self.database.table("accounts"), self.database.table("holds")
            self.wrong += auditor.books_in_balance(accounts, holds)
        if "battles" in changed:
            states = [row[2] for row in self.database.table("battles").values()]
            self.wrong += auditor.one_battle_a_room(states)

    def evidence(self) -> auditor.Evidence:
        """Everything that was written, as bytes and plain values."""
        topics: dict[str, dict[int, list[auditor.Record]]] = {}
        for (topic, partition), records in self.log.topics().items():
            topics.setdefault(topic, {})[partition] = [
                auditor.Record(each.offset, each.value or b"", dict(each.headers), each.time_us)
                for each in records
            ]
        tables = {name: dict(rows) for name, rows in self.database.tables.items()}
        return auditor.Evidence(
            topics=topics,
            tables=tables,
            commits=[asdict(each) for each in self.database.journal],
            acts=[asdict(each) for each in self.people.acts],
            rubbish=[asdict(each) for each in self.people.rubbish],
            homes={
                who: partition_of(who, self.partitions)
                for who in (*VIEWERS, *HOSTS.values(), "catalogue")
            },
            partitions=self.partitions,
            clocks_are_true=not self.faults.clocks,
            is_calm=self.seed % 8 == 0,
            end_us=self.network.wall_us(),
        )

    def digest(self) -> str:
        """Of every byte on the log."""
        sum_ = hashlib.sha256()
        for place, records in sorted(self.log.topics().items()):
            for each in records:
                sum_.update(repr((place, each)).encode())
        return sum_.hexdigest()[:16]


def run(seed: int) -> Verdict:
    """Let a world live, and audit it."""
    loop = SimulatedLoop()
    world = World(loop, seed)
    try:
        loop.run_until_complete(world.live())
    except StuckError as error:
        world.wrong.append(f"stuck: {error}")
    finally:
        loop.close()
    anomalies = list(dict.fromkeys(world.wrong))
    anomalies += auditor.audit(world.evidence())
    counts = {**world.counts, "records": world.log.appended, "acts": len(world.people.acts)}
    return Verdict(seed, anomalies, world.digest(), counts)
