"""Reads of what gifts and battles add up to."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import BigInteger, Select, func, literal, select, text, tuple_

from engagement.domain import limits
from projections.cursors import Place
from projections.tables import BATTLE_BOARDS, EARNINGS, LEADERBOARD, SESSIONS, TIMELINE

Period = Literal["session", "day", "all"]
Read = Callable[[Any], Awaitable[Sequence[Any]]]

_TODAY: Final = text("to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')")


async def leaders(read: Read, room: str, limit: int, period: Period) -> list[dict[str, Any]]:
    """Senders by coins, then by name; who has nothing left after reversals is not among them."""
    board = LEADERBOARD.c
    statement = (
        select(board.actor, board.coins, board.gifts)
        .where(board.room == room, board.period == period, board.key == _key(room, period))
        .where(board.coins > 0)
        .order_by(board.coins.desc(), board.actor)
        .limit(limit)
    )
    return [
        {"rank": rank, "actor": row.actor, "coins": row.coins, "gifts": row.gifts}
        for rank, row in enumerate(await read(statement), start=1)
    ]


def _key(room: str, period: Period) -> Any:
    if period == "all":
        return literal("")
    if period == "day":
        return _TODAY
    newest = (
        select(SESSIONS.c.session)
        .where(SESSIONS.c.room == room, SESSIONS.c.opened_offset.is_not(None))
        .order_by(SESSIONS.c.opened_offset.desc())
        .limit(1)
    )
    return newest.scalar_subquery()


async def earned(read: Read, host: str, days: int) -> dict[str, Any]:
    """A host's share of gifts, in all and by day, newest first."""
    mine = EARNINGS.c.host == host
    [total] = await read(_sums().where(mine))
    by_day = await read(
        _sums(EARNINGS.c.day)
        .where(mine)
        .group_by(EARNINGS.c.day)
        .order_by(EARNINGS.c.day.desc())
        .limit(days)
    )
    return {
        "host": host,
        "coins": total.coins,
        "gifts": total.gifts,
        "days": [{"day": row.day, "coins": row.coins, "gifts": row.gifts} for row in by_day],
    }


def _sums(*columns: Any) -> Select[Any]:
    return select(
        *columns,
        func.coalesce(func.sum(EARNINGS.c.coins), 0).cast(BigInteger).label("coins"),
        func.coalesce(func.sum(EARNINGS.c.gifts), 0).cast(BigInteger).label("gifts"),
    )


async def battles_of(read: Read, room: str, limit: int) -> list[dict[str, Any]]:
    """The room's battles, newest first."""
    board = BATTLE_BOARDS.c
    statement = (
        select(BATTLE_BOARDS).where(board.room == room).order_by(board.offset.desc()).limit(limit)
    )
    return [_battle(row) for row in await read(statement)]


def _battle(row: Any) -> dict[str, Any]:
    totals = msgspec.json.decode(row.totals or "{}")
    sides = msgspec.json.decode(row.sides or "[]")
    return {
        "battle": row.battle,
        "status": row.status or "invited",
        "revision": row.revision,
        "sides": [{**side, "score": totals.get(side["room"], 0)} for side in sides],
        "started": row.started,
        "deadline": row.deadline,
        "result": row.result,
        "winner": row.winner,
        "reason": row.reason,
        "top": msgspec.json.decode(row.top or "[]"),
    }


async def senders_by(
    read: Read, room: str, since: Place | None, until: Place
) -> list[dict[str, Any]]:
    """Senders by coins of a session as far as a place in media order."""
    line = TIMELINE.c
    place = tuple_(line.epoch, line.pts_ms, line.partition, line.offset)
    coins = text("sum((event::json -> 'data' ->> 'coins')::bigint)::bigint AS coins")
    statement = (
        select(line.actor, coins)
        .where(line.room == room, line.type == "gift.sent", place <= tuple_(*until))
        .group_by(line.actor)
        .order_by(text("coins DESC"), line.actor)
        .limit(limits.TOP_SENDERS)
    )
    if since is not None:
        statement = statement.where(place >= tuple_(*since))
    return [{"actor": row.actor, "coins": row.coins} for row in await read(statement)]
