"""The connection to whichever PostgreSQL is used: SQLAlchemy's asyncio engine over asyncpg."""

from typing import Final

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from engagement.settings import Settings

POOL_SIZE: Final = 8
"""Reads of one gateway at once; a projector uses one connection."""
CONNECT_TIMEOUT_S: Final = 5.0
"""A database that takes no connection within this is away: callers retry."""

_SESSION: Final = {
    # A plan for every parameter costs 0.2 ms; the same plan for a room of ten facts and a room of
    # a million costs seconds. For short reads compiling (JIT) never pays.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    # Whoever falls asleep inside a transaction (SIGSTOP) loses it, and its locks with it.
    "idle_in_transaction_session_timeout": "10000",
}

BY_KEY: Final = {
    # For sessions whose statements all go by an index, one plan each is enough; but one that is
    # made while a table is empty scans it, and still does when it has a million rows.
    "plan_cache_mode": "auto",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""Run-time parameters of sessions that look rows up by key and do nothing else."""


def asyncpg_dsn(dsn: str) -> str:
    """A connection URL as asyncpg takes it; raises ValueError unless it is PostgreSQL's."""
    scheme, separator, rest = dsn.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ValueError("ENGAGEMENT_DATABASE_URL must begin with postgresql://")
    return f"postgresql://{rest}"


def create_engine(settings: Settings, *, pool_size: int = POOL_SIZE, **session: str) -> AsyncEngine:
    """An engine; dead connections are noticed and replaced when they are taken from the pool.

    The URL goes to asyncpg as it is, so whatever libpq knows works in it (`sslmode`, several
    hosts, `target_session_attrs`). `session` are run-time parameters of every session, such as
    `synchronous_commit="off"`.
    """
    dsn = asyncpg_dsn(settings.dsn)
    parameters = {"application_name": "engagement", **_SESSION, **session}

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, server_settings=parameters)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
    )
