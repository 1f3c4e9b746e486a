"""Who gets in: so many sessions, so many joins a second, so many answers being made. Pure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engagement.errors import UnavailableError
from media.rtp.retransmission import TokenBucket
from media.webrtc import bounds


class Admission:
    """Keeps joins from costing the stream anything: an answer is milliseconds of the one core
    that also forwards every packet."""

    def __init__(self, joins_per_s: float) -> None:
        self._joins = TokenBucket(joins_per_s, max(1.0, min(joins_per_s, bounds.JOIN_BURST)))
        self._negotiating = asyncio.Semaphore(bounds.NEGOTIATIONS_AT_ONCE)
        self._waiting = 0

    def admit(self, now_ms: float, held: int, held_max: int) -> None:
        """Let a join in. Raises UnavailableError when it is full, or too many come at once."""
        if held >= held_max:
            raise UnavailableError("this server is full", code="full", retry_after_s=10)
        if self._waiting >= bounds.NEGOTIATIONS_WAITING_MAX or not self._joins.take(now_ms):
            wait_s = max(1.0, self._joins.wait_s())
            raise UnavailableError(
                "too many join at once", code="joining_too_fast", retry_after_s=wait_s
            )

    @asynccontextmanager
    async def negotiation(self) -> AsyncIterator[None]:
        """A turn at making an answer."""
        self._waiting += 1
        try:
            async with self._negotiating:
                yield
        finally:
            self._waiting -= 1
