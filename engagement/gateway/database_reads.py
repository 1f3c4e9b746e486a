"""Reading the database from a call: within a time, or told to come back."""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from engagement.domain import limits
from engagement.errors import UnavailableError

log = structlog.get_logger()

T = TypeVar("T")

AWAY: Final = (
    *(SQLAlchemyError, OSError, TimeoutError),
    # Not all that happens while a connection is made is wrapped.
    *(asyncpg.PostgresError, asyncpg.InterfaceError),
)
"""What a database that cannot be asked right now may raise."""


async def ask(query: Awaitable[T]) -> T:
    """The answer of the database. Raises UnavailableError when there is none in time."""
    try:
        async with asyncio.timeout(limits.QUERY_TIMEOUT_S):
            return await query
    except AWAY as error:
        log.warning("database.unavailable", error=repr(error)[:300])
        raise UnavailableError(
            "the database does not answer", code="database_unavailable", retry_after_s=2
        ) from None
