"""Projectors, database and broker are killed in mid-stream; the sums equal the truth."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.commands.migrate import upgrade_to_head
from engagement.database.connection import create_engine
from engagement.database.embedded import EmbeddedPostgres, ensure_database
from engagement.domain import events
from engagement.log import admin
from engagement.log.embedded import EmbeddedKafka
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from projections.queries import RoomQueries
from projections.registry import PROJECTIONS
from projections.tables import LIKES, POSITIONS, PROJECTORS, TIMELINE
from projections.verify import verify
from tests.conftest import free_ports, open_directory, process_environment
from tests.facts import FactLog, folded_up_to, ids
from tests.waiting import until

BURST = 1_500
"""Facts between two kills: several batches."""

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


class Bed:
    """Engines of our own, to be killed without disturbing anybody, and the projectors on them."""

    def __init__(self, directory: Path) -> None:
        kafka_port, _, database_port, port, media_port = free_ports(5)
        self.settings = Settings(
            data_dir=directory,
            kafka_port=kafka_port,
            database_port=database_port,
            port=port,
            media_port=media_port,
            auth="dev",
        )
        self.kafka = EmbeddedKafka(self.settings)
        self.postgres = EmbeddedPostgres(self.settings)
        self.projectors: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        self.kafka.start()
        self.postgres.start()
        await admin.wait_for_broker(self.settings.bootstrap_servers)
        await admin.create_topics(self.settings)
        await asyncio.to_thread(ensure_database, self.settings)
        await asyncio.to_thread(upgrade_to_head, self.settings)

    def project(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.run_projector"], env=process_environment(self.settings)
        )
        self.projectors.append(process)
        return process

    def stop_projectors(self) -> list[int]:
        """Exit codes of those that were still there."""
        alive = [process for process in self.projectors if process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        self.projectors.clear()
        return [process.wait(10) for process in alive]

    def stop(self) -> None:
        self.stop_projectors()
        self.kafka.stop()
        self.postgres.stop()


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    root = open_directory()
    bed = Bed(root)
    try:
        asyncio.run(bed.start())
        yield bed
    finally:
        bed.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
async def database(bed: Bed) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(bed.settings)
    yield engine
    bed.stop_projectors()
    await engine.dispose()


@pytest.fixture
async def facts(bed: Bed) -> AsyncIterator[FactLog]:
    writer = LogWriter(bed.settings.bootstrap_servers, client_id="tests")
    await writer.start()
    yield FactLog(writer, bed.settings.partitions)
    await writer.stop()


class Stream:
    """Facts of a few rooms, and what the projections must make of them."""

    def __init__(self, facts: FactLog, room: str) -> None:
        self._facts = facts
        self.rooms = [f"{room}-{number}" for number in range(5)]
        self.sent: dict[str, list[str]] = {name: [] for name in self.rooms}
        self.likes = 0

    async def burst(self, count: int = BURST) -> None:
        for number in range(count):
            name = self.rooms[number % len(self.rooms)]
            sent = self.sent[name]
            if number % 50 == 49:
                self.likes += 1
                counted = events.LikesCounted(self.likes, 250, 1, self.likes, [])
                sent.append(self._facts.put(name, "likes.counted", counted, pts_ms=len(sent)))
            else:
                sent.append(self._facts.comment(name, "x" * 100, pts_ms=len(sent)))
            if number % 100 == 0:
                await asyncio.sleep(0)

    async def is_projected(self, bed: Bed, database: AsyncEngine) -> None:
        """Once everything is folded: every fact once, in order, and the log agrees."""
        for name in self.rooms:
            end = await self._facts.written(name)
            await folded_up_to(bed.settings, database, name, end)
        queries = RoomQueries(database)
        for name, sent in self.sent.items():
            items = [item.event async for item in queries.replay(name)]
            assert ids(items) == sent
        async with database.connect() as connection:
            rows = select(func.count()).where(TIMELINE.c.room.in_(self.rooms))
            assert (await connection.execute(rows)).scalar_one() == sum(
                map(len, self.sent.values())
            )
            most = select(func.max(LIKES.c.total)).where(LIKES.c.room.in_(self.rooms))
            assert (await connection.execute(most)).scalar_one() == self.likes
        found = await verify(
            database, bed.settings.bootstrap_servers, PROJECTIONS, lambda done, total: None
        )
        assert found.difference is None, found.difference


@pytest.fixture
def stream(facts: FactLog, room: str) -> Stream:
    return Stream(facts, room)


async def folding(database: AsyncEngine) -> Callable[[], Awaitable[bool]]:
    """A condition: the projections have moved since now."""

    async def folded() -> int:
        try:
            async with database.connect() as connection:
                total = select(func.coalesce(func.sum(POSITIONS.c.next_offset), 0))
                return int((await connection.execute(total)).scalar_one())
        except (DBAPIError, OSError):
            return 0  # It is starting up again.

    before = await folded()

    async def moved() -> bool:
        return await folded() > before

    return moved


async def test_projectors_killed_again_and_again_fold_everything_once(
    bed: Bed, database: AsyncEngine, stream: Stream
) -> None:
    process = bed.project()
    for _ in range(5):
        moved = await folding(database)
        await stream.burst()
        await until(moved, "the projector is in mid-stream")
        process.kill()
        process.wait()
        await stream.burst(BURST // 2)
        process = bed.project()
    await stream.is_projected(bed, database)
    assert bed.stop_projectors() == [0]


async def test_two_projectors_of_which_one_is_killed_fold_everything_once(
    bed: Bed, database: AsyncEngine, stream: Stream
) -> None:
    bed.project()
    for _ in range(3):
        victim = bed.project()
        moved = await folding(database)
        await stream.burst()
        await until(moved, "they are in mid-stream")
        victim.kill()
        victim.wait()
    await stream.is_projected(bed, database)


async def test_a_database_that_crashes_in_mid_stream_costs_nothing(
    bed: Bed, database: AsyncEngine, stream: Stream
) -> None:
    """It loses commits that were not on its disk yet; their positions with them."""
    bed.project()
    for _ in range(3):
        moved = await folding(database)
        await stream.burst()
        await until(moved, "the projector is in mid-stream")
        async with database.connect() as connection:
            victim = text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
            pid = (await connection.execute(victim)).scalar_one()
        os.kill(pid, signal.SIGKILL)  # The server takes it for a crash, and recovers.
        await stream.burst(BURST // 2)
        moved = await folding(database)
        await until(moved, "it goes on")
    await stream.is_projected(bed, database)
    assert bed.stop_projectors() == [0], "the projector itself has survived"


async def test_a_broker_that_is_killed_in_mid_stream_costs_nothing(
    bed: Bed, database: AsyncEngine, stream: Stream
) -> None:
    bed.project()
    for _ in range(2):
        moved = await folding(database)
        await stream.burst()
        await until(moved, "the projector is in mid-stream")
        bed.kafka.kill()
        bed.kafka.start()
        await stream.burst(BURST // 2)
        await admin.wait_for_broker(bed.settings.bootstrap_servers)
    await stream.is_projected(bed, database)
    assert bed.stop_projectors() == [0], "the projector itself has survived"


async def test_a_projector_that_sleeps_through_its_lease_wakes_up_to_nothing(
    bed: Bed, database: AsyncEngine, stream: Stream
) -> None:
    async def owners() -> set[int]:
        async with database.connect() as connection:
            owned = select(POSITIONS.c.owner).where(POSITIONS.c.owner.is_not(None))
            return set((await connection.execute(owned)).scalars())

    async def tokens() -> set[int]:
        async with database.connect() as connection:
            return set((await connection.execute(select(PROJECTORS.c.token))).scalars())

    sleeper = bed.project()
    moved = await folding(database)
    await stream.burst()
    await until(moved, "the first one is in mid-stream")
    asleep = await owners()
    assert len(asleep) == 1
    sleeper.send_signal(signal.SIGSTOP)
    await stream.burst()
    bed.project()

    async def taken_over() -> bool:
        now = await owners()
        return len(now) == 1 and not now & asleep

    await until(taken_over, "the second one owns everything", 30)
    await stream.burst()
    sleeper.send_signal(signal.SIGCONT)
    await stream.burst()

    async def shared() -> bool:
        return len(await owners()) == 2 and not await tokens() & asleep

    await until(shared, "the sleeper takes part again, under a new token", 30)
    await stream.burst()
    await stream.is_projected(bed, database)
    assert bed.stop_projectors() == [0, 0]
