"""Waiting on conditions: tests never sleep for a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(
    condition: Callable[[], Awaitable[T]], what: str = "the condition", within_s: float = 30
) -> T:
    """The first truthy answer of `condition`; AssertionError when there is none in time."""
    deadline_s = time.monotonic() + within_s
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > deadline_s:
            raise AssertionError(f"{what} did not come true within {within_s} s; last: {answer!r}")
        await asyncio.sleep(0.02)
