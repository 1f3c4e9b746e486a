"""The comments that a joining viewer sees, for rooms whose last ones were before our tail.

A gateway that has just started has read back a part of each partition. The last comments of a
quiet room may lie further back: they are asked for once per room, from the projection. When the
database does not answer, the viewer joins without them.
"""

import asyncio
from collections import deque
from typing import Protocol

import msgspec
import structlog
from msgspec import Struct

from engagement.domain import limits
from engagement.gateway.frames import Event
from engagement.gateway.hub import Channel

log = structlog.get_logger()

_WAIT_S = 0.5


class _Id(Struct):
    id: str


class CommentPage(Protocol):
    """A page of comments, newest first."""

    @property
    def items(self) -> list[bytes]:
        """CloudEvents."""


class Comments(Protocol):
    """Who has the comments of the past."""

    async def comments(self, room: str, before: str | None, limit: int) -> CommentPage:
        """The newest comments before a cursor."""


class RecentComments:
    """Completes channels, each once."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self._asked: dict[str, asyncio.Task[None]] = {}

    async def complete(self, channel: Channel) -> None:
        """Fill in what the tail did not hold. Never raises, never waits long."""
        if channel.began_here or len(channel.comments) >= limits.SNAPSHOT_COMMENTS:
            return
        asking = self._asked.get(channel.room)
        if asking is None:
            asking = self._asked[channel.room] = asyncio.ensure_future(self._fill(channel))
        if not asking.done():
            await asyncio.wait({asking}, timeout=_WAIT_S)

    def forget(self, room: str) -> None:
        """The room's channel is gone: another one is completed anew."""
        self._asked.pop(room, None)

    async def _fill(self, channel: Channel) -> None:
        try:
            async with asyncio.timeout(limits.QUERY_TIMEOUT_S):
                page = await self._comments.comments(channel.room, None, limits.SNAPSHOT_COMMENTS)
        except Exception as error:  # Whatever a database does, viewers join.
            log.warning("comments.unavailable", error=repr(error))
            self._asked.pop(channel.room, None)
            return
        # Without an offset of their own they are before everything that the ring holds.
        here = {event.id for event in channel.comments}
        older: list[Event] = []
        for raw in reversed(page.items):
            comment_id = msgspec.json.decode(raw, type=_Id).id
            if comment_id not in here:
                older.append(Event(-1, "comment.posted", comment_id, raw, 0))
        space = limits.SNAPSHOT_COMMENTS - len(channel.comments)
        kept = [*older[-space:], *channel.comments] if space else list(channel.comments)
        channel.comments = deque(kept, maxlen=limits.SNAPSHOT_COMMENTS)
        channel.began_here = True
