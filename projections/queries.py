"""Reads on top of the projections: lists as pages of raw events, the room as it was, the replay.

A timeline is ordered by (epoch, media time, position on the log); comments are listed newest
first, by position on the log. A removed comment is a tombstone everywhere, also in a replay of the
time before its removal: the comment is left out, the removal stays in.

Every list is one statement, so it sees one state of the database; what makes up a state is in the
past, and does not change between two.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, exists, literal_column, select, tuple_
from sqlalchemy import union_all as union
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import limits
from engagement.domain.battle_views import battle_view
from engagement.domain.events import ROOM_BATTLE_TYPES
from engagement.domain.rooms import RoomState, evolve
from engagement.errors import BadRequestError
from engagement.log.codec import decode_fact
from projections.cursors import Place, decode_cursor, encode_cursor
from projections.gift_queries import (
    Period,
    battles_of,
    combos_at,
    earned,
    leaders,
    senders_by,
)
from projections.tables import ROOMS, SESSIONS, TIMELINE, TOMBSTONES

_T = TIMELINE.c
_MEDIA_ORDER: Final = (_T.epoch, _T.pts_ms, _T.partition, _T.offset)
_COMMENT: Final[ColumnElement[str]] = literal_column("'comment.posted'")
"""A literal and no parameter: only so does it match the condition of a partial index."""
_IS_COMMENT: Final = _T.type == _COMMENT
_IS_OTHER: Final = _T.type != _COMMENT
_STATE_TYPES: Final = (
    "room.opened", "room.closed", "viewers.counted", "likes.counted", *ROOM_BATTLE_TYPES,
)  # fmt: skip

TIMELINE_LIST: Final = "timeline"
COMMENTS_LIST: Final = "comments"
_INTEGER_MAX: Final = 2**63 - 1


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
    """All reads of the gateway. Bad cursors and limits raise BadRequestError."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def comments(self, room: str, before: str | None, limit: int) -> Page:
        """Comments, newest first, without the removed ones."""
        _check_limit(limit)
        statement = (
            select(_T.event, *_MEDIA_ORDER)
            .where(_T.room == room, _IS_COMMENT, ~_is_buried())
            .order_by(_T.offset.desc())
            .limit(limit + 1)
        )
        if before is not None:
            place = decode_cursor(COMMENTS_LIST, room, before, "before")
            statement = statement.where(_T.offset < place.offset)
        return _page(COMMENTS_LIST, room, await self._rows(statement), limit)

    async def leaderboard(
        self, room: str, limit: int, *, period: Period = "all", after: str | None = None
    ) -> Page:
        """Top senders by coins: of the newest live session, of today (UTC), or of all time."""
        _check_limit(limit)
        items, following = await leaders(self._rows, room, limit, period, after)
        return Page([msgspec.json.encode(item) for item in items], following)

    async def earnings(self, host: str, *, days: int = 31) -> dict[str, Any]:
        """What a host has earned by gifts: in all, and on the newest days (UTC)."""
        _check_limit(days)
        return await earned(self._rows, host, days)

    async def battles(self, room: str, limit: int) -> list[dict[str, Any]]:
        """The room's battles, newest first."""
        _check_limit(limit)
        return await battles_of(self._rows, room, limit)

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
        room's current one. Without any of the three it is the whole timeline, all epochs in order.
        """
        _check_limit(limit)
        if epoch is None and (from_ms is not None or to_ms is not None):
            epoch = await self.current_epoch(room)
        within: list[ColumnElement[bool]] = []
        if epoch is not None:
            within.append(_T.epoch == epoch)
        if from_ms is not None:
            within.append(_T.pts_ms >= from_ms)
        if to_ms is not None:
            within.append(_T.pts_ms < to_ms)
        if after is not None:
            place = decode_cursor(TIMELINE_LIST, room, after, "after")
            within.append(tuple_(*_MEDIA_ORDER) > tuple_(*place))
        rows = await self._rows(media_order(room, within, types, limit + 1))
        return _page(TIMELINE_LIST, room, rows, limit)

    async def current_epoch(self, room: str) -> int:
        """The epoch of the room's newest fact; 0 when there is none."""
        rows = await self._rows(select(ROOMS.c.epoch).where(ROOMS.c.room == room))
        return rows[0].epoch if rows else 0

    async def state(
        self, room: str, *, at_ms: int, epoch: int | None = None
    ) -> dict[str, Any] | None:
        """The room as it was at a media time; None when nothing of it had happened by then.

        Comments are the last ones, oldest first.
        """
        if epoch is None:
            epoch = await self.current_epoch(room)
        rows = await self._rows(_state_at(room, Place(epoch, at_ms, 2**31 - 1, _INTEGER_MAX)))
        if not rows:
            return None
        newest = {row.type: row for row in rows if row.type in _STATE_TYPES}
        opened, closed = newest.get("room.opened"), newest.get("room.closed")
        viewers, likes = newest.get("viewers.counted"), newest.get("likes.counted")
        ended = closed is not None and (opened is None or place_of(opened) < place_of(closed))
        nobody = viewers is None or (closed is not None and place_of(closed) > place_of(viewers))
        about = await self._first_session(room) if opened is None else _data(opened)
        comments = sorted((row for row in rows if row.type == "comment.posted"), key=place_of)
        until = Place(epoch, at_ms, 2**31 - 1, _INTEGER_MAX)
        since = None if opened is None else place_of(opened)
        return {
            "room": room,
            "title": about.get("title", ""),
            "host": about.get("host", ""),
            "status": "closed" if ended else "open",
            "online": 0 if nobody else _data(viewers)["online"],
            "likes": 0 if likes is None else _data(likes)["room_total"],
            "comments": [msgspec.json.decode(row.event) for row in comments],
            "top_senders": await senders_by(self._rows, room, since, until),
            "combos": [] if ended else await combos_at(self._rows, room, until),
            "battle": _battle_of(room, rows),
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
        """The timeline in media order, read ahead page by page; `after` is an item's cursor.

        It begins at `from_ms` of `epoch` (by default the current one), or at the very beginning,
        and goes on through all later epochs.
        """
        place: Place | None = None
        if after is not None:
            place = decode_cursor(TIMELINE_LIST, room, after, "after")
        elif from_ms is not None or epoch is not None:
            start_epoch = await self.current_epoch(room) if epoch is None else epoch
            place = Place(start_epoch, -_INTEGER_MAX if from_ms is None else from_ms, -1, -1)
        async for row in in_media_order(self._rows, room, place):
            cursor = encode_cursor(TIMELINE_LIST, room, place_of(row))
            yield ReplayItem(cursor, row.epoch, row.pts_ms, row.event.encode())

    async def _first_session(self, room: str) -> dict[str, Any]:
        """Title and host of a room that was open before its opening: chat that came early."""
        statement = (
            select(SESSIONS.c.title, SESSIONS.c.host)
            .where(SESSIONS.c.room == room, SESSIONS.c.opened_offset.is_not(None))
            .order_by(SESSIONS.c.opened_offset)
            .limit(1)
        )
        rows = await self._rows(statement)
        return {"title": rows[0].title, "host": rows[0].host} if rows else {}

    async def _rows(self, statement: Any) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            rows: Sequence[Any] = (await connection.execute(statement)).all()
            return rows


async def in_media_order(
    read: Callable[[Select[Any]], Awaitable[Sequence[Any]]], room: str, place: Place | None
) -> AsyncIterator[Any]:
    """Rows of a room's visible facts after a place, to the end; reads them page by page."""
    while True:
        within = [] if place is None else [tuple_(*_MEDIA_ORDER) > tuple_(*place)]
        rows = await read(media_order(room, within, None, limits.REPLAY_PAGE_EVENTS))
        for row in rows:
            place = place_of(row)
            yield row
        if len(rows) < limits.REPLAY_PAGE_EVENTS:
            return


def media_order(
    room: str,
    within: Iterable[ColumnElement[bool]],
    types: Sequence[str] | None,
    limit: int,
) -> Select[Any]:
    """The first `limit` visible facts in media order; merges one ordered index scan per kind."""
    conditions = [_T.room == room, *within]
    branches: list[Select[Any]] = []
    if types is None:
        branches.append(select(_T.event, *_MEDIA_ORDER).where(_IS_OTHER, *conditions))
    branches += [
        select(_T.event, *_MEDIA_ORDER).where(_IS_OTHER, _T.type == kind, *conditions)
        for kind in sorted(set(types or ()) - {"comment.posted"})
    ]
    if types is None or "comment.posted" in types or not branches:
        comments = select(_T.event, *_MEDIA_ORDER).where(_IS_COMMENT, *conditions, ~_is_buried())
        branches.append(comments)
    ordered = [branch.order_by(*_MEDIA_ORDER).limit(limit).subquery() for branch in branches]
    merged = union(*(select(branch) for branch in ordered)).subquery()
    order = [merged.c[column.name] for column in _MEDIA_ORDER]
    return select(merged).order_by(*order).limit(limit)


def _state_at(room: str, until: Place) -> Select[Any]:
    """The newest fact of each kind that makes the state, and the last comments, up to then."""
    by_then = and_(_T.room == room, tuple_(*_MEDIA_ORDER) <= tuple_(*until))
    newest_first = [column.desc() for column in _MEDIA_ORDER]
    columns = (_T.type, _T.event, *_MEDIA_ORDER)
    branches = [
        select(*columns)
        .where(_IS_OTHER, _T.type == kind, by_then)
        .order_by(*newest_first)
        .limit(1)
        .subquery()
        for kind in _STATE_TYPES
    ]
    comments = (
        select(*columns)
        .where(_IS_COMMENT, by_then, ~_is_buried())
        .order_by(*newest_first)
        .limit(limits.SNAPSHOT_COMMENTS)
        .subquery()
    )
    merged = union(*(select(branch) for branch in (*branches, comments))).subquery()
    return select(merged)


def _is_buried() -> ColumnElement[bool]:
    return exists().where(TOMBSTONES.c.room == _T.room, TOMBSTONES.c.target == _T.event_id)


def _battle_of(room: str, rows: Iterable[Any]) -> dict[str, Any] | None:
    """The room's newest battle, from the newest fact of each kind."""
    state = RoomState(room)
    # In the order of the log: revisions of two battles do not compare.
    for row in sorted(rows, key=lambda row: row.offset):
        if row.type in ROOM_BATTLE_TYPES:
            evolve(state, decode_fact(row.event.encode()))
    return None if state.battle is None else msgspec.to_builtins(battle_view(state.battle))


def _page(kind: str, room: str, rows: Sequence[Any], limit: int) -> Page:
    """A page of `limit` rows; one more was asked for, to know whether there is more."""
    page = rows[:limit]
    more = len(rows) > limit
    cursor = encode_cursor(kind, room, place_of(page[-1])) if more else None
    return Page([row.event.encode() for row in page], cursor)


def place_of(row: Any) -> Place:
    """Where a row stands in media order."""
    return Place(row.epoch, row.pts_ms, row.partition, row.offset)


def _data(row: Any) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.json.decode(row.event)["data"]
    return data


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= limits.PAGE_ITEMS_MAX:
        raise BadRequestError(f"1 to {limits.PAGE_ITEMS_MAX}", field="limit")
