"""`engagement migrate`: bring the database's schema to this version's."""

import asyncio
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import migrations
from engagement.database.connection import create_engine
from engagement.settings import Settings

MIGRATION_LOCK: Final = 0x6C697665
"""Key of the advisory lock: two processes that start at once migrate one after the other."""


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration without a file: the scripts are part of the wheel."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config


def head() -> str | None:
    """The newest revision that this version knows."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def upgrade_to_head(settings: Settings) -> None:
    """Upgrade; returns at once when there is nothing to do."""
    asyncio.run(_migrate(settings, "head"))


def migrate_to(settings: Settings, revision: str) -> None:
    """Upgrade or downgrade to a revision (`base` removes everything)."""
    asyncio.run(_migrate(settings, revision))


async def current_revision(settings: Settings) -> str | None:
    """The revision that the database is at, or None before the first."""
    engine = create_engine(settings)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_revision()
            )
    finally:
        await engine.dispose()


async def _migrate(settings: Settings, revision: str) -> None:
    engine = create_engine(settings)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            await connection.run_sync(_run, revision)
    finally:
        await engine.dispose()


def _run(connection: Connection, revision: str) -> None:
    config = configuration(connection)
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    current = MigrationContext.configure(connection).get_current_revision()
    downward = revision == "base" or (
        revision != "head"
        and current is not None
        and revision in known
        and known.index(revision) > known.index(current)
    )
    (command.downgrade if downward else command.upgrade)(config, revision)
