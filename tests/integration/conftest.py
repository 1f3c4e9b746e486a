"""What integration tests share: the database, a log of facts, a running projector."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.connection import create_engine
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from projections.queries import RoomQueries
from projections.runner import Projector
from tests.facts import FactLog


@pytest.fixture
async def database(engines: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(engines)
    yield engine
    await engine.dispose()


@pytest.fixture
async def facts(engines: Settings) -> AsyncIterator[FactLog]:
    writer = LogWriter(engines.bootstrap_servers, client_id="tests")
    await writer.start()
    yield FactLog(writer, engines.partitions)
    await writer.stop()


@pytest.fixture
async def projector(engines: Settings, database: AsyncEngine) -> AsyncIterator[Projector]:
    running = Projector(database, engines.bootstrap_servers, name="tests")
    task = asyncio.create_task(running.run())
    yield running
    running.stop()
    await task


@pytest.fixture
def queries(database: AsyncEngine) -> RoomQueries:
    return RoomQueries(database)
