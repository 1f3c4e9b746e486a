"""Reads on top of the projections: lists as pages of raw events, the room as it was, the replay.

Order of a timeline is (epoch, media time, position on the log). A removed comment is a tombstone
everywhere: the comment is left out, the removal stays in.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import limits
from projections.cursors import decode_cursor, encode_cursor
from projections.tables import COMMENTS, ROOMS, TIMELINE, TOMBSTONES

_T = TIMELINE.c
_MEDIA_ORDER: Final = (_T.epoch, _T.pts_ms, _T.partition, _T.offset)
REPLAY_PAGE: Final = 500
"""Events that a replay reads ahead."""


@dataclass(frozen=True)
class Page:
    """Raw CloudEvents, and the cursor of the next page (None at the end)."""

    items: list[bytes]
    next: str | None


@dataclass(frozen=True)
class ReplayItem:
    """One event of a replay, and the cursor to go on from after it."""

    cursor: str
    epoch: int
    pts_ms: int
    event: bytes


class RoomQueries:
    """All reads of the gateway; bad cursors raise BadRequestError."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def comments(self, room: str, before: str | None, limit: int) -> Page:
        """Comments, newest first, without the removed ones."""
        statement = (
            select(TIMELINE.c.event, COMMENTS.c.partition, COMMENTS.c.offset)
            .join(
                TIMELINE,
                and_(
                    TIMELINE.c.partition == COMMENTS.c.partition,
                    TIMELINE.c.offset == COMMENTS.c.offset,
                ),
            )
            .where(COMMENTS.c.room == room, ~_is_buried(COMMENTS.c.room, COMMENTS.c.event_id))
            .order_by(COMMENTS.c.offset.desc())
            .limit(limit + 1)
        )
        if before is not None:
            (offset,) = decode_cursor(before, 1, "before")
            statement = statement.where(COMMENTS.c.offset < offset)
        rows = await self._rows(statement)
        more = len(rows) > limit
        page = rows[:limit]
        cursor = encode_cursor(page[-1].offset) if more and page else None
        return Page([row.event.encode() for row in page], cursor)

    async def leaderboard(self, room: str, limit: int) -> list[dict[str, Any]]:
        """Top senders by coins. Gifts are not decided yet, so nobody has sent any."""
        return []

    async def timeline(
        self,
        room: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        epoch: int | None = None,
        types: Sequence[str] | None = None,
        limit: int = limits.PAGE_ITEMS_DEFAULT,
        after: str | None = None,
    ) -> Page:
        """Facts in media order.

        `from_ms` (inclusive) and `to_ms` (exclusive) are media time of `epoch`, by default the
        room's newest. Without any of the three it is the whole timeline, all epochs in order.
        """
        statement = _visible(room).order_by(*_MEDIA_ORDER).limit(limit + 1)
        if epoch is None and (from_ms is not None or to_ms is not None):
            epoch = await self.current_epoch(room)
        if epoch is not None:
            statement = statement.where(_T.epoch == epoch)
        if from_ms is not None:
            statement = statement.where(_T.pts_ms >= from_ms)
        if to_ms is not None:
            statement = statement.where(_T.pts_ms < to_ms)
        if types:
            statement = statement.where(_T.type.in_(types))
        if after is not None:
            place = decode_cursor(after, 4, "after")
            statement = statement.where(tuple_(*_MEDIA_ORDER) > place)
        rows = await self._rows(statement)
        more = len(rows) > limit
        page = rows[:limit]
        cursor = encode_cursor(*_place(page[-1])) if more and page else None
        return Page([row.event.encode() for row in page], cursor)

    async def current_epoch(self, room: str) -> int:
        """The newest epoch of the room's facts; 0 when there is none."""
        rows = await self._rows(select(func.max(_T.epoch).label("epoch")).where(_T.room == room))
        return rows[0].epoch or 0

    async def state(
        self, room: str, *, at_ms: int, epoch: int | None = None
    ) -> dict[str, Any] | None:
        """The room as it was at a media time, or None when it is not known."""
        if epoch is None:
            epoch = await self.current_epoch(room)
        known = await self._rows(select(ROOMS).where(ROOMS.c.room == room))
        if not known:
            return None
        until = tuple_(_T.epoch, _T.pts_ms) <= (epoch, at_ms)
        opened = await self._newest(room, ("room.opened",), until)
        life = await self._newest(room, ("room.opened", "room.closed"), until)
        viewers = await self._newest(room, ("viewers.counted",), until)
        likes = await self._newest(room, ("likes.counted",), until)
        status = "unknown" if life is None else "open"
        closed = life is not None and life["type"] == "room.closed"
        about = opened["data"] if opened else {}
        return {
            "room": room,
            "title": about.get("title", known[0].title),
            "host": about.get("host", known[0].host),
            "status": "closed" if closed else status,
            "online": 0 if closed or viewers is None else viewers["data"]["online"],
            "likes": 0 if likes is None else likes["data"]["room_total"],
            "comments": await self._comments_at(room, epoch, at_ms),
            "top_senders": [],
            "battle": None,
            "epoch": epoch,
            "at_ms": at_ms,
        }

    async def replay(
        self,
        room: str,
        *,
        from_ms: int | None = None,
        epoch: int | None = None,
        after: str | None = None,
    ) -> AsyncIterator[ReplayItem]:
        """The timeline in media order, read ahead page by page; `after` is an item's cursor."""
        place: tuple[int, ...] | None = None
        if after is not None:
            place = decode_cursor(after, 4, "after")
        elif from_ms is not None or epoch is not None:
            start_epoch = await self.current_epoch(room) if epoch is None else epoch
            start_ms = -(2**63) if from_ms is None else from_ms
            place = (start_epoch, start_ms, -1, -1)
        while True:
            statement = _visible(room).order_by(*_MEDIA_ORDER).limit(REPLAY_PAGE)
            if place is not None:
                statement = statement.where(tuple_(*_MEDIA_ORDER) > place)
            rows = await self._rows(statement)
            for row in rows:
                place = _place(row)
                yield ReplayItem(encode_cursor(*place), row.epoch, row.pts_ms, row.event.encode())
            if len(rows) < REPLAY_PAGE:
                return

    async def _newest(
        self, room: str, types: Sequence[str], until: ColumnElement[bool]
    ) -> dict[str, Any] | None:
        statement = (
            select(_T.event)
            .where(_T.room == room, _T.type.in_(types), _T.type != "comment.posted", until)
            .order_by(_T.epoch.desc(), _T.pts_ms.desc(), _T.offset.desc())
            .limit(1)
        )
        rows = await self._rows(statement)
        return msgspec.json.decode(rows[0].event) if rows else None

    async def _comments_at(self, room: str, epoch: int, at_ms: int) -> list[dict[str, Any]]:
        """The last comments up to then; one that was removed since is not shown either."""
        statement = (
            select(_T.event)
            .where(
                _T.room == room,
                _T.type == "comment.posted",
                tuple_(_T.epoch, _T.pts_ms) <= (epoch, at_ms),
                ~_is_buried(_T.room, _T.event_id),
            )
            .order_by(*(column.desc() for column in _MEDIA_ORDER))
            .limit(limits.SNAPSHOT_COMMENTS)
        )
        rows = await self._rows(statement)
        return [msgspec.json.decode(row.event) for row in reversed(rows)]

    async def _rows(self, statement: Select[Any]) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            rows: Sequence[Any] = (await connection.execute(statement)).all()
            return rows


def _visible(room: str) -> Select[Any]:
    """The events of a room that anyone may see."""
    hidden = and_(_T.type == "comment.posted", _is_buried(_T.room, _T.event_id))
    return select(_T.event, *_MEDIA_ORDER).where(_T.room == room, ~hidden)


def _is_buried(room: ColumnElement[str], event_id: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(TOMBSTONES.c.room == room, TOMBSTONES.c.target == event_id)


def _place(row: Any) -> tuple[int, int, int, int]:
    return (row.epoch, row.pts_ms, row.partition, row.offset)
