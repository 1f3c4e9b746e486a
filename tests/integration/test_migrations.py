"""Migrations: up, down, up; and what they make is what the code declares."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from engagement.commands import migrate
from engagement.database.connection import create_engine
from engagement.database.tables import METADATA as LIVE
from engagement.settings import Settings
from projections.tables import METADATA as PROJECTED

ALL = [*LIVE, PROJECTED]


@pytest.fixture
def empty_database(engines: Settings) -> Iterator[Settings]:
    """A database of its own on the running server."""

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(engines.dsn)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute("DROP DATABASE IF EXISTS migrating"))
    asyncio.run(execute("CREATE DATABASE migrating"))
    dsn = engines.dsn.rpartition("/")[0] + "/migrating"
    yield engines.model_copy(update={"database_url": dsn})
    asyncio.run(execute("DROP DATABASE migrating"))


def look(settings: Settings, at: object) -> object:
    async def run() -> object:
        engine = create_engine(settings)
        async with engine.connect() as connection:
            answer = await connection.run_sync(at)  # type: ignore[arg-type]
        await engine.dispose()
        return answer

    return asyncio.run(run())


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, ALL))


def test_up_down_up_ends_where_the_code_is(empty_database: Settings) -> None:
    migrate.upgrade_to_head(empty_database)
    assert look(empty_database, differences) == []
    assert look(empty_database, tables) == {name for each in ALL for name in each.tables}
    migrate.migrate_to(empty_database, "base")
    assert look(empty_database, tables) == set()
    migrate.upgrade_to_head(empty_database)
    assert look(empty_database, differences) == []
    assert asyncio.run(migrate.current_revision(empty_database)) == migrate.head()
    migrate.upgrade_to_head(empty_database)


def test_two_processes_may_migrate_at_once(empty_database: Settings) -> None:
    async def both() -> None:
        await asyncio.gather(
            *(asyncio.to_thread(migrate.upgrade_to_head, empty_database) for _ in range(3))
        )

    asyncio.run(both())
    assert look(empty_database, differences) == []
