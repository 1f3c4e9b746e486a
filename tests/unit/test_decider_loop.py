"""The loop that decides in SQL, over ports that are in memory: what it owns, takes and tells."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.ledger import BrokenInvariantError
from engagement.errors import FencedError, PositionMovedError, UnavailableError
from engagement.processors import metrics
from engagement.processors.outbox import OutboxRow, OutRecord
from engagement.processors.transacted import AwayError, Span, TransactedProcessor

TOPIC = "asked"


class Asked(Struct, frozen=True):
    """A record of the source topic."""

    partition: int
    offset: int
    value: bytes | None
    topic: str = TOPIC
    key: bytes | None = None


class World:
    """A log, a database and a clock that only a sleep moves; sessions may be told to fail."""

    def __init__(self, partitions: int = 2) -> None:
        self.now_s = 100.0
        self.log: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
        self.positions = dict.fromkeys(self.log, 0)
        self.outbox: dict[int, dict[int, Sequence[OutRecord]]] = {n: {} for n in self.log}
        self.next_row = dict.fromkeys(self.log, 1)
        self.told: list[bytes] = []
        self.mine = set(self.log)
        """What the next renewal gives."""
        self.failures: list[BaseException] = []
        """Raised by the next commits."""
        self.slow_commits_s = 0.0
        self.lost_appends = False
        self.sessions = self.released = 0
        self.commits: list[dict[int, Span]] = []
        self.mine_after_commit: set[int] | None = None

    @asynccontextmanager
    async def session(self, topic: str) -> AsyncIterator["InMemory"]:
        assert topic == TOPIC
        self.sessions += 1
        yield InMemory(self)

    def monotonic_s(self) -> float:
        return self.now_s

    def now_us(self) -> int:
        return int(self.now_s * 1e6)

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


class Commit:
    """What one transaction will have written."""

    def __init__(self, world: World) -> None:
        self.connection = self
        self._world = world
        self.kept: list[tuple[int, OutboxRow]] = []
        self.forgotten: list[tuple[int, int]] = []

    async def keep(self, told: Mapping[int, Sequence[OutRecord]]) -> Mapping[int, OutboxRow]:
        next_row = self._world.next_row
        rows = {each: OutboxRow(next_row[each], records) for each, records in told.items()}
        self.kept.extend(rows.items())
        return rows

    async def forget(self, up_to: Mapping[int, int]) -> None:
        self.forgotten.extend(up_to.items())


class InMemory:
    """A session."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._reading: dict[int, int] = {}

    async def renew(self) -> Mapping[int, int]:
        return {number: self._world.positions[number] for number in sorted(self._world.mine)}

    async def release(self) -> None:
        self._world.released += 1

    async def assign(self, positions: Mapping[int, int]) -> None:
        self._reading = dict(positions)

    async def fetch(self, most: int, timeout_ms: int) -> Sequence[Asked]:
        found = []
        for partition, at in self._reading.items():
            values = self._world.log[partition][at:most]
            found += [Asked(partition, at + index, each) for index, each in enumerate(values)]
            self._reading[partition] += len(values)
        if not found:
            await self._world.sleep(timeout_ms / 1000)
        return found

    async def unpublished(self, partition: int) -> Sequence[OutboxRow]:
        rows = sorted(self._world.outbox[partition].items())
        return [OutboxRow(number, records) for number, records in rows]

    @asynccontextmanager
    async def transaction(self, spans: Mapping[int, Span]) -> AsyncIterator[Commit]:
        world = self._world
        for partition, span in spans.items():
            if world.positions[partition] != span.start:
                raise PositionMovedError(f"at {world.positions[partition]}")
        commit = Commit(world)
        yield commit
        if not spans:
            return
        world.now_s += world.slow_commits_s
        if world.failures:
            raise world.failures.pop(0)
        world.commits.append(dict(spans))
        world.mine = world.mine if world.mine_after_commit is None else world.mine_after_commit
        world.positions.update({partition: span.end for partition, span in spans.items()})
        for partition, row in commit.kept:
            world.outbox[partition][row.number] = row.records
            world.next_row[partition] += 1
        for partition, up_to in commit.forgotten:
            for number in [each for each in world.outbox[partition] if each <= up_to]:
                del world.outbox[partition][number]

    def append(self, record: OutRecord) -> None:
        if record.topic == TOPIC:
            self._world.log[record.partition].append(record.value)
        elif not self._world.lost_appends:
            self._world.told.append(record.value)

    def acknowledged(self, topic: str, partition: int) -> Awaitable[object]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self._world.lost_appends:
            future.set_exception(UnavailableError("the broker is away"))
        else:
            future.set_result(0)
        return future


class Echo:
    """Tells what it was asked; has one timer a partition."""

    topic = TOPIC

    def __init__(self) -> None:
        self.taken: list[tuple[int, list[bytes | None]]] = []
        self.known: set[int] = set()
        self.timers: dict[int, int] = {}
        self.wrong: BaseException | None = None

    async def apply(
        self, transaction: Any, by_partition: Mapping[int, Sequence[Any]]
    ) -> Mapping[int, list[OutRecord]]:
        if self.wrong is not None:
            raise self.wrong
        told = {}
        for partition, records in by_partition.items():
            values = [each.value for each in records]
            self.taken.append((partition, values))
            told[partition] = [OutRecord("told", partition, None, each) for each in values if each]
        return told

    async def owned(self, transaction: Any, partition: int) -> None:
        self.known.add(partition)

    def committed(self, partition: int) -> None:
        assert partition in self.known

    def forget(self, partition: int) -> None:
        self.known.discard(partition)

    async def due(self, partition: int, now_us: int) -> list[OutRecord]:
        if self.timers.get(partition, now_us + 1) > now_us:
            return []
        del self.timers[partition]
        return [OutRecord(TOPIC, partition, None, b"time")]


class Running:
    """A processor over a world, for as long as a test lasts."""

    def __init__(self, world: World, echo: Echo) -> None:
        self.processor = TransactedProcessor(world, echo)  # type: ignore[arg-type]
        self._task = asyncio.create_task(self.processor.run())

    async def until(self, holds: Any) -> None:
        for _ in range(5_000):
            if holds():
                return
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0)
        raise AssertionError("never came true")

    async def stop(self) -> None:
        self.processor.stop()
        await asyncio.wait_for(self._task, 10)

    async def failure(self) -> BaseException | None:
        await asyncio.wait({self._task}, timeout=10)
        return self._task.exception()


async def test_what_was_asked_is_decided_once_in_order_and_told() -> None:
    world, echo = World(), Echo()
    world.log[0] += [b"a", b"b"]
    world.log[1] += [b"x"]
    running = Running(world, echo)
    await running.until(lambda: len(world.told) == 3)
    world.log[0].append(b"c")
    await running.until(lambda: len(world.told) == 4)
    await running.stop()
    assert [value for value in world.told if value != b"x"] == [b"a", b"b", b"c"]
    assert world.positions == {0: 3, 1: 1}
    assert world.released == 1
    assert running.processor.owned == frozenset()


async def test_published_rows_leave_the_table_with_the_next_transaction() -> None:
    world, echo = World(1), Echo()
    running = Running(world, echo)
    for number in range(1, 4):
        world.log[0].append(b"%d" % number)
        await running.until(lambda number=number: len(world.told) == number)
    await running.stop()
    assert 1 not in world.outbox[0]
    assert 3 in world.outbox[0]


async def test_every_partition_gets_its_share_of_a_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DECIDED_BYTES_MAX", 20)
    world, echo = World(2), Echo()
    world.log[0] += [b"12345"] * 6
    world.log[1] += [b"1234567890123456", None, b"end"]
    running = Running(world, echo)
    await running.until(lambda: world.positions == {0: 6, 1: 3})
    await running.stop()
    assert [(partition, len(values)) for partition, values in echo.taken] == [
        (0, 2), (1, 1), (0, 2), (1, 2), (0, 2)
    ]  # fmt: skip
    assert max(len(spans) for spans in world.commits) == 2


async def test_a_partition_that_is_given_away_is_forgotten_and_the_rest_goes_on() -> None:
    world, echo = World(), Echo()
    running = Running(world, echo)
    await running.until(lambda: running.processor.owned == {0, 1})
    world.mine = {1}
    await running.until(lambda: running.processor.owned == {1})
    assert echo.known == {1}
    world.log[0].append(b"not ours")
    world.log[1].append(b"ours")
    await running.until(lambda: world.told == [b"ours"])
    world.mine = {0, 1}
    await running.until(lambda: world.told == [b"ours", b"not ours"])
    await running.stop()


async def test_what_was_read_for_a_partition_that_is_given_away_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DECIDED_BYTES_MAX", 2)
    world, echo = World(), Echo()
    world.slow_commits_s = limits.PROJECTOR_CLAIM_S  # Ownership is looked at after each.
    world.log[0] += [b"a", b"b", b"c"]
    world.log[1] += [b"x", b"y", b"z"]
    world.mine_after_commit = {1}
    running = Running(world, echo)
    await running.until(lambda: world.positions[1] == 3)
    assert world.positions[0] == 1
    world.mine_after_commit, world.mine = None, {0, 1}
    await running.until(lambda: len(world.told) == 6)
    await running.stop()
    assert world.sessions == 1
    assert [value for value in world.told if value < b"x"] == [b"a", b"b", b"c"]
    assert [value for value in world.told if value >= b"x"] == [b"x", b"y", b"z"]


async def test_a_timer_is_written_to_the_own_topic_and_decided_there() -> None:
    world, echo = World(), Echo()
    echo.timers = {1: int(101e6)}
    running = Running(world, echo)
    await running.until(lambda: world.told == [b"time"])
    await running.stop()
    assert echo.taken == [(1, [b"time"])]


@pytest.mark.parametrize(
    "failure", [AwayError("the database is away"), PositionMovedError("moved"), FencedError("dead")]
)
async def test_a_transaction_that_fails_is_decided_again_and_told_once(failure: Exception) -> None:
    world, echo = World(1), Echo()
    world.failures = [failure]
    world.log[0].append(b"a")
    running = Running(world, echo)
    await running.until(lambda: world.told == [b"a"])
    await running.stop()
    assert world.sessions == 2
    assert len(echo.taken) == 2
    assert world.positions == {0: 1}


async def test_what_the_log_did_not_take_is_told_by_the_next_session() -> None:
    world, echo = World(1), Echo()
    world.lost_appends = True
    world.log[0].append(b"a")
    running = Running(world, echo)
    await running.until(lambda: world.sessions == 2)
    assert world.told == []
    assert world.positions == {0: 1}
    world.lost_appends = False
    await running.until(lambda: world.told == [b"a"])
    await running.stop()
    assert len(echo.taken) == 1


@pytest.mark.parametrize(("slept_s", "fenced"), [(limits.PROJECTOR_LEASE_S + 1, 1), (0.0, 0)])
async def test_an_owner_whose_lease_ran_out_meanwhile_is_counted_as_fenced(
    slept_s: float, fenced: int
) -> None:
    """Whoever took over has ended its database session: that is how it hears of it."""
    count = metrics.FENCED.labels(TOPIC)
    before = count._value.get()
    world, echo = World(1), Echo()
    world.failures, world.slow_commits_s = [AwayError("the connection was closed")], slept_s
    world.log[0].append(b"a")
    running = Running(world, echo)
    await running.until(lambda: world.sessions == 2)
    world.slow_commits_s = 0.0
    await running.stop()
    assert count._value.get() == before + fenced


async def test_broken_books_end_the_processor_and_nothing_is_written() -> None:
    world, echo = World(1), Echo()
    echo.wrong = BrokenInvariantError("the books are wrong")
    world.log[0].append(b"a")
    running = Running(world, echo)
    assert isinstance(await running.failure(), BrokenInvariantError)
    assert (world.positions, world.told, world.commits) == ({0: 0}, [], [])
