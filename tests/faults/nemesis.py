"""What goes wrong in a run, and when: drawn from a seed, every kind often enough."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence

import asyncpg
from msgspec import Struct

from .history import History, now
from .instance import Instance, Kind

KILLED: tuple[Kind, ...] = ("gateway", "worker", "projector", "media", "broker", "database")
PAUSED: tuple[Kind, ...] = ("worker", "projector")
SHORT_PAUSE_S = (0.5, 3.0)
LONG_PAUSE_S = (11.0, 13.0)
"""Longer than the session timeout of 10 s: another worker takes over, then the old one wakes."""
COMEBACK_S_MAX = 30.0
TOPICS_DECIDED = 2
"""Requests for gifts and for battles."""
OWNERS_SQL = """
    SELECT topic, count(DISTINCT owner) + count(*) FILTER (WHERE owner IS NULL) AS owners
    FROM decider_positions GROUP BY topic
"""
"""Beside what collect.py reads, the only thing here that knows a table."""


class Fault(Struct, frozen=True):
    """One thing to do to one process."""

    what: str
    """`kill`; `pause`; or `sleep`, a pause of a worker until others have taken its money over."""
    kind: Kind
    pause_s: float = 0.0


def draw_faults(
    seed: int, kills: int, pauses: int, kinds: Sequence[Kind] = KILLED, *, sleeps: int = 0
) -> list[Fault]:
    """So many kills and pauses: every kind in turn, in random order; one pause is long."""
    draw = random.Random(seed)
    faults = [Fault("kill", kinds[number % len(kinds)]) for number in range(kills)]
    for number in range(pauses):
        span = LONG_PAUSE_S if number == 0 else SHORT_PAUSE_S
        faults.append(Fault("pause", PAUSED[number % len(PAUSED)], draw.uniform(*span)))
    faults += [Fault("sleep", "worker")] * sleeps
    draw.shuffle(faults)
    return faults


class Nemesis:
    """Does the faults, evenly spread with jitter, and waits for nobody's recovery but one:
    the same kind is not killed again before its last victim has been replaced."""

    def __init__(self, instance: Instance, history: History, seed: int) -> None:
        self._instance = instance
        self._history = history
        self._random = random.Random(seed)
        self._wakers: set[asyncio.Task[None]] = set()
        self._sizes: dict[Kind, int] = {}
        self._asleep: set[int] = set()
        self.done: Counter[str] = Counter()
        self.never_came_back: list[str] = []

    async def rage(self, faults: list[Fault], seconds: float, *, after_s: float = 0.0) -> None:
        """Do all faults within the time, which begins after a while."""
        self._sizes = {kind: len(pids) for kind, pids in self._instance.processes().items()}
        await asyncio.sleep(after_s)
        for pause_s in self._pauses(len(faults), seconds):
            await asyncio.sleep(pause_s)
            await self._do(faults.pop())
        await asyncio.gather(*self._wakers)
        for kind in self._sizes:
            await self._replaced(kind)

    def _pauses(self, count: int, seconds: float) -> Iterator[float]:
        for _ in range(count):
            yield self._random.uniform(0.4, 1.6) * seconds / (count + 1)

    async def _do(self, fault: Fault) -> None:
        await self._replaced(fault.kind)
        if not self._awake(fault.kind):
            await asyncio.gather(*self._wakers)  # Nobody is killed in its sleep.
            await self._replaced(fault.kind)
        pid = self._random.choice(self._awake(fault.kind))
        if fault.what == "kill":
            self._send("kill", fault.kind, pid, signal.SIGKILL)
            return
        if fault.what == "sleep":
            await self._sleep_until_replaced(pid)
            return
        self._asleep.add(pid)
        self._send("stop", fault.kind, pid, signal.SIGSTOP)
        waker = asyncio.create_task(self._wake(fault.kind, pid, fault.pause_s))
        self._wakers.add(waker)

    async def _sleep_until_replaced(self, pid: int) -> None:
        """Stop a worker, let others take over all that it decides about in SQL, wake it up, and
        let it have its share again."""
        self._send("stop", "worker", pid, signal.SIGSTOP)
        try:
            await self._until_owners(1)
        finally:
            self._send("continue", "worker", pid, signal.SIGCONT)
        await self._until_owners(self._sizes["worker"])

    async def _until_owners(self, count: int) -> None:
        """Wait until so many processes share each of the topics that are decided in SQL."""
        deadline = asyncio.get_running_loop().time() + COMEBACK_S_MAX
        connection = await asyncpg.connect(self._instance.dsn)
        try:
            while True:
                rows = await connection.fetch(OWNERS_SQL)
                if len(rows) == TOPICS_DECIDED and all(row["owners"] == count for row in rows):
                    return
                if asyncio.get_running_loop().time() > deadline:
                    raise TimeoutError(f"{rows}, not {count} owners each")
                await asyncio.sleep(0.05)
        finally:
            await connection.close()

    def _awake(self, kind: Kind) -> list[int]:
        pids = self._instance.processes().get(kind, [])
        return [pid for pid in pids if pid not in self._asleep]

    async def _wake(self, kind: Kind, pid: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._send("continue", kind, pid, signal.SIGCONT)
        self._asleep.discard(pid)

    async def _replaced(self, kind: Kind) -> None:
        """Wait until as many processes of this kind run as in the beginning."""
        deadline = asyncio.get_running_loop().time() + COMEBACK_S_MAX
        while len(self._instance.processes().get(kind, [])) < self._sizes.get(kind, 0):
            if asyncio.get_running_loop().time() > deadline:
                self.never_came_back.append(kind)
                return
            await asyncio.sleep(0.1)

    def _send(self, what: str, kind: Kind, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            self.done[f"{what} {kind}"] += 1
            self._history.note("fault", what=what, kind=kind, at=now())
