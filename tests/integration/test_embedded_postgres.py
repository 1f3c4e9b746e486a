"""The embedded database: what was committed survives it, also where root keeps private data."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from engagement import child_process
from engagement.database import unprivileged
from engagement.database.embedded import EmbeddedPostgres, ensure_database
from engagement.errors import ConflictError
from engagement.settings import Settings
from tests.conftest import free_ports

pytestmark = pytest.mark.engines


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory that other users may walk down to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "data"


@pytest.fixture
def settings(directory: Path) -> Settings:
    return Settings(data_dir=directory, database_port=free_ports(1)[0])


@pytest.fixture
def postgres(settings: Settings) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(settings)
    yield server
    server.stop()


async def execute(settings: Settings, *statements: str) -> None:
    await asyncio.to_thread(ensure_database, settings)
    connection = await asyncpg.connect(settings.dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def stored(settings: Settings) -> list[int]:
    await asyncio.to_thread(ensure_database, settings)
    connection = await asyncpg.connect(settings.dsn)
    rows = await connection.fetch("SELECT number FROM numbers ORDER BY number")
    await connection.close()
    return [row["number"] for row in rows]


async def test_what_was_committed_survives_a_kill_and_a_stop(
    settings: Settings, postgres: EmbeddedPostgres
) -> None:
    server = postgres.start()
    await execute(settings, "CREATE TABLE numbers (number int)", "INSERT INTO numbers VALUES (1)")
    server.send_signal(signal.SIGKILL)
    server.wait()
    postgres.start()
    assert await stored(settings) == [1]
    await execute(settings, "INSERT INTO numbers VALUES (2)")
    postgres.stop()
    assert not (postgres.directory / "postmaster.pid").exists()
    postgres.start()
    assert await stored(settings) == [1, 2]


async def test_it_is_durable_and_listens_on_loopback_only(
    settings: Settings, postgres: EmbeddedPostgres
) -> None:
    postgres.start()
    await asyncio.to_thread(ensure_database, settings)
    connection = await asyncpg.connect(settings.dsn)
    shown = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses")
    }
    version = await connection.fetchval("SHOW server_version")
    await connection.close()
    assert shown == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "127.0.0.1",
    }
    assert version.startswith("18")


async def test_a_second_server_of_the_same_directory_is_refused_and_harms_nothing(
    settings: Settings, postgres: EmbeddedPostgres
) -> None:
    postgres.start()
    await execute(settings, "CREATE TABLE numbers (number int)")
    with pytest.raises(ConflictError, match=f"pid {os.getpid()}"):
        EmbeddedPostgres(settings).start()
    assert await stored(settings) == []


OWNER = """
import sys, time
from pathlib import Path
from engagement import child_process
from engagement.database.embedded import EmbeddedPostgres
from engagement.settings import Settings
child_process.die_with_parent = lambda *_: None
print(EmbeddedPostgres(
    Settings(data_dir=Path(sys.argv[1]), database_port=int(sys.argv[2]))
).start().pid, flush=True)
time.sleep(600)
"""


async def test_the_orphan_of_a_killed_owner_is_ended_before_the_next_server_starts(
    settings: Settings, postgres: EmbeddedPostgres
) -> None:
    """Two servers over one directory would destroy it."""
    owner = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        [sys.executable, "-c", OWNER, settings.data_dir, str(settings.database_port)],
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    orphan = int(await asyncio.to_thread(owner.stdout.readline))
    await execute(settings, "CREATE TABLE numbers (number int)", "INSERT INTO numbers VALUES (1)")
    owner.kill()
    owner.wait()
    assert child_process.command_of(orphan)
    server = postgres.start()
    assert not child_process.command_of(orphan)
    assert await stored(settings) == [1]
    assert set(child_process.working_in(postgres.directory)) >= {server.pid}


async def test_an_initdb_that_was_killed_half_way_is_begun_anew(
    settings: Settings, postgres: EmbeddedPostgres
) -> None:
    draft = postgres.directory.with_name("postgres.new")
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    postgres.start()
    await execute(settings, "CREATE TABLE numbers (number int)")
    assert not draft.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's data is out of others' reach")
async def test_data_in_a_private_home_lives_outside_and_ends_with_that_home(
    settings: Settings, directory: Path
) -> None:
    directory.parent.chmod(0o700)
    postgres = EmbeddedPostgres(settings)
    postgres.start()
    await execute(settings, "CREATE TABLE numbers (number int)", "INSERT INTO numbers VALUES (1)")
    postgres.stop()
    outside = postgres.directory
    assert outside.is_relative_to(unprivileged.OUTSIDE)
    assert EmbeddedPostgres(settings).directory == outside

    shutil.rmtree(directory)
    anew = EmbeddedPostgres(settings)
    assert anew.directory != outside
    assert not outside.exists()
    anew.start()
    with pytest.raises(asyncpg.UndefinedTableError):
        await stored(settings)
    anew.stop()
    shutil.rmtree(anew.directory)
