"""The log of the simulation: records in lists, and writers whose records and answers get lost."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final, NamedTuple

from engagement.errors import UnavailableError
from tests.simulation.loop import Process, SimulatedLoop

Place = tuple[str, int]
"""Topic and partition."""
Headers = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """One record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    time_us: int
    """When the broker took it."""


T0_US: Final = 1_700_000_000_000_000
"""The wall time at which the loop's clock is 0."""


class Network:
    """How long things take and what gets lost, by the seed alone."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        self.loop = loop
        self.random = Random(seed)
        self.slowness = 1.0
        """Everything takes so many times longer."""
        self.loses = 0.0
        """How often a batch is not taken, or a transaction not committed, or its answer lost."""
        self.log_away_until_s = 0.0
        self.database_away_until_s = 0.0

    def calm(self) -> None:
        """Nothing gets lost from here on."""
        self.slowness, self.loses = 1.0, 0.0
        self.log_away_until_s = self.database_away_until_s = 0.0

    def wall_us(self) -> int:
        """The true time, Unix µs."""
        return T0_US + round(self.loop.time() * 1_000_000)

    def delay_s(self) -> float:
        """One way: mostly a millisecond, at times a hundred."""
        chance = self.random.random()
        scale_s = 0.0005 if chance < 0.7 else 0.005 if chance < 0.97 else 0.1
        return self.random.random() * scale_s * self.slowness

    async def pass_by(self) -> None:
        """Travel one way."""
        await asyncio.sleep(self.delay_s())

    def is_lost(self) -> bool:
        """Whether this one does not arrive."""
        return self.loses > 0 and self.random.random() < self.loses


class Log:
    """All topics."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._records: dict[Place, list[Record]] = defaultdict(list)
        self._waiting: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self.appended = 0
        """Records on all topics."""
        self.is_closed = False
        """When all is over, what those who are buried still have on their way is not taken."""

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> int:
        """Write a record; its offset."""
        if self.is_closed:
            return -1
        records = self._records[topic, partition]
        now_us = self._network.wall_us()
        records.append(Record(topic, partition, len(records), key, value, tuple(headers), now_us))
        self.appended += 1
        for waiting in self._waiting.pop(topic, ()):
            self._network.loop.outside(self._network.delay_s(), _tell, waiting)
        return len(records) - 1

    def end(self, topic: str, partition: int) -> int:
        """The offset of the next record."""
        return len(self._records[topic, partition])

    def read(self, topic: str, partition: int, start: int, most: int = 1 << 30) -> list[Record]:
        """Records from an offset on."""
        return self._records[topic, partition][start : start + most]

    def topics(self) -> Mapping[Place, Sequence[Record]]:
        """Everything."""
        return self._records

    async def more(self, topic: str, timeout_s: float) -> None:
        """Return when something is appended to a topic, or when so much time has passed."""
        loop = self._network.loop
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting[topic].append(waiting)
        timer = loop.call_later(timeout_s, _tell, waiting)
        try:
            await waiting
        finally:
            timer.cancel()


class _Lane:
    """One partition: records that wait, and how many of them are on their way."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes | None, bytes | None, Headers]] = []
        self.taken = 0
        """Records ever handed to the network."""
        self.waiters: list[tuple[int, asyncio.Future[int]]] = []
        """How many records must have been acknowledged, and who is to be told."""
        self.lost: Exception | None = None
        self.last_offset = -1
        self.sender: asyncio.Task[None] | None = None


class Writer:
    """What `engagement.log.writer.LogWriter` promises: order within a partition, one batch on its
    way, and after a failure nothing is known of what waited, in any partition."""

    def __init__(self, log: Log, network: Network, process: Process) -> None:
        self._log = log
        self._network = network
        self._process = process
        self._lanes: dict[Place, _Lane] = {}
        self._closed_until_s = 0.0
        self._stopped = False

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
    ) -> None:
        """Queue a record. Raises UnavailableError while the log cannot be reached."""
        is_closed = self._stopped or self._network.loop.time() < self._closed_until_s
        if is_closed or not self._process.is_alive:
            raise UnavailableError("the log cannot be reached")
        lane = self._lanes.setdefault((topic, partition), _Lane())
        lane.waiting.append((key, value, headers))
        lane.lost = None
        if lane.sender is None:
            lane.sender = self._process.start(self._send(lane, topic, partition))

    def acknowledged(self, topic: str, partition: int) -> asyncio.Future[int]:
        """Done when all that was appended so far is on the log; the offset of the last."""
        future: asyncio.Future[int] = self._network.loop.create_future()
        lane = self._lanes.get((topic, partition))
        if lane is None:
            future.set_result(-1)
        elif lane.sender is not None:
            lane.waiters.append((lane.taken + len(lane.waiting), future))
        elif lane.lost is not None:
            _refuse(future, lane.lost)
        else:
            future.set_result(lane.last_offset)
        return future

    async def stop(self, within_s: float = 3.0) -> None:
        """Send what waits, for so long; what the log has not taken by then has failed."""
        self._stopped = True
        senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
        if senders:
            await asyncio.wait(senders, timeout=within_s)
        if any(lane.sender is not None for lane in self._lanes.values()):
            self._fail(UnavailableError("the writer was stopped"))

    async def _send(self, lane: _Lane, topic: str, partition: int) -> None:
        me = asyncio.current_task()
        await asyncio.sleep(0)
        while lane.waiting:
            count = self._network.random.randint(1, len(lane.waiting))
            batch, lane.waiting = lane.waiting[:count], lane.waiting[count:]
            before = lane.taken
            lane.taken += count
            answer: asyncio.Future[int] = self._network.loop.create_future()
            self._network.loop.outside(
                self._network.delay_s(), self._arrive, topic, partition, batch, answer
            )
            try:
                first = await answer
            except UnavailableError as error:
                if lane.sender is me:
                    self._fail(error)
                return
            if lane.sender is not me:
                return  # Another partition has failed meanwhile, and this one with it.
            lane.last_offset = first + count - 1
            done = [each for each in lane.waiters if each[0] <= lane.taken]
            lane.waiters = [each for each in lane.waiters if each[0] > lane.taken]
            for upto, waiter in done:
                if not waiter.done():
                    waiter.set_result(first + upto - before - 1)
        lane.sender = None

    def _arrive(
        self, topic: str, partition: int, batch: Iterable[Any], answer: asyncio.Future[int]
    ) -> None:
        """A batch is at the broker. Who sent it may be dead by now."""
        network = self._network
        away_s = network.log_away_until_s - network.loop.time()
        if away_s > 0:
            # An idempotent producer tries again as long as it lives.
            if self._process.is_alive and not self._stopped:
                again_s = away_s + network.delay_s()
                network.loop.outside(again_s, self._arrive, topic, partition, batch, answer)
            else:
                _refuse(answer, UnavailableError("the log is away"))
            return
        died = not self._process.is_alive
        is_lost = network.is_lost() or (died and network.random.random() < 0.5)
        if is_lost and network.random.random() < 0.5:
            _refuse(answer, UnavailableError("the log has not taken it"))
            return
        first = -1
        for key, value, headers in batch:
            offset = self._log.append(topic, partition, key, value, headers)
            first = offset if first < 0 else first
        if is_lost:
            _refuse(answer, UnavailableError("nobody knows whether the log has taken it"))
        else:
            network.loop.outside(network.delay_s(), _tell, answer, first)

    def _fail(self, error: Exception) -> None:
        self._closed_until_s = self._network.loop.time() + self._network.random.random() * 0.3
        for lane in self._lanes.values():
            if lane.sender is None:
                continue
            lane.lost, lane.sender = error, None
            lane.waiting.clear()
            waiters, lane.waiters = lane.waiters, []
            for _, waiter in waiters:
                _refuse(waiter, error)


def _tell(future: asyncio.Future[Any], result: Any = None) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # Looked at: an answer that nobody awaits is no news.
