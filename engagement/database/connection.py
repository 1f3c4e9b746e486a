"""The connection pool to whichever PostgreSQL is used."""

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from engagement.settings import Settings

POOL_SIZE = 8
"""Reads of one gateway at once; a projector uses one connection."""
IDLE_IN_TRANSACTION_MS = 5_000
"""A process that sleeps inside a transaction (SIGSTOP) loses it, and with it the row lock that
keeps its successor out."""


def async_url(dsn: str) -> str:
    """The SQLAlchemy URL of a postgresql:// DSN, with the asyncpg driver."""
    scheme, separator, rest = dsn.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ValueError("ENGAGEMENT_DATABASE_URL must begin with postgresql://")
    return f"postgresql+asyncpg://{rest}"


def create_engine(settings: Settings) -> AsyncEngine:
    """An engine; dead connections are noticed and replaced when they are taken from the pool."""
    return create_async_engine(
        async_url(settings.dsn),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={
            "timeout": 5,
            "server_settings": {
                "application_name": "engagement",
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
            },
        },
    )
