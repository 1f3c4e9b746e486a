"""Reading what the projections hold: comments, leaderboard, timeline, state."""

import re
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from engagement.domain import limits
from engagement.errors import BadRequestError, NotFoundError
from engagement.gateway import openapi
from engagement.gateway.database_reads import ask
from engagement.gateway.events_http import find_room
from engagement.gateway.runtime import gateway_of
from projections.gift_queries import Period

router = APIRouter(prefix="/v1/rooms/{room}", tags=["reads"])

_INSTANT_MS_MAX: Final = 2**53
"""Beyond what JSON numbers hold exactly there is no media time."""
_EPOCH_MAX: Final = 2**31 - 1
_CURSOR_CHARS_MAX: Final = 512
_TYPE: Final = re.compile(r"[a-z]+(\.[a-z]+){1,3}", re.ASCII)
_TYPES_MAX: Final = 32

Limit = Annotated[int, Query(ge=1, le=limits.PAGE_ITEMS_MAX)]
Instant = Annotated[int, Query(ge=-_INSTANT_MS_MAX, le=_INSTANT_MS_MAX)]
Epoch = Annotated[int, Query(ge=0, le=_EPOCH_MAX)]
CursorText = Annotated[str, Query(max_length=_CURSOR_CHARS_MAX)]


@router.get("/comments", **openapi.LIST_COMMENTS)
async def list_comments(
    room: str,
    request: Request,
    before: CursorText | None = None,
    limit: Limit = limits.PAGE_ITEMS_DEFAULT,
) -> Response:
    """Comments, newest first; removed ones are left out."""
    gateway = gateway_of(request)
    await find_room(gateway, room)
    page = await ask(gateway.queries.comments(room, before, limit))
    return _page(page.items, page.next)


@router.get("/leaderboard", **openapi.LIST_LEADERS)
async def list_leaders(
    room: str,
    request: Request,
    limit: Limit = 10,
    period: Period = "all",
    after: CursorText | None = None,
) -> Response:
    """Top senders by coins: of the newest live session, of today (UTC), or of all time."""
    gateway = gateway_of(request)
    await find_room(gateway, room)
    page = await ask(gateway.queries.leaderboard(room, limit, period=period, after=after))
    return _page(page.items, page.next)


@router.get("/battles", **openapi.LIST_BATTLES)
async def list_battles(room: str, request: Request, limit: Limit = 10) -> Response:
    """The room's battles, newest first."""
    gateway = gateway_of(request)
    await find_room(gateway, room)
    battles = await ask(gateway.queries.battles(room, limit))
    return _page([msgspec.json.encode(battle) for battle in battles], None)


@router.get("/timeline", **openapi.LIST_TIMELINE)
async def list_timeline(
    room: str,
    request: Request,
    from_ms: Instant | None = None,
    to_ms: Instant | None = None,
    epoch: Epoch | None = None,
    types: Annotated[str | None, Query(max_length=1_000)] = None,
    limit: Limit = limits.PAGE_ITEMS_DEFAULT,
    after: CursorText | None = None,
) -> Response:
    """Facts in media order: `from_ms` to `to_ms` of an epoch (default the current one)."""
    gateway = gateway_of(request)
    await find_room(gateway, room)
    page = await ask(
        gateway.queries.timeline(
            room,
            from_ms=from_ms,
            to_ms=to_ms,
            epoch=epoch,
            types=_read_types(types),
            limit=limit,
            after=after,
        )
    )
    return _page(page.items, page.next)


@router.get("/state", **openapi.GET_STATE)
async def get_state(
    room: str, request: Request, at_ms: Instant, epoch: Epoch | None = None
) -> Response:
    """The room as it was at that media time."""
    gateway = gateway_of(request)
    await find_room(gateway, room)
    state = await ask(gateway.queries.state(room, at_ms=at_ms, epoch=epoch))
    if state is None:
        raise NotFoundError("the room had not begun by then", code="state_not_found")
    return Response(msgspec.json.encode(state), media_type="application/json")


def _read_types(text: str | None) -> list[str] | None:
    if text is None:
        return None
    types = [name.strip() for name in text.split(",") if name.strip()]
    if not types or len(types) > _TYPES_MAX or not all(map(_TYPE.fullmatch, types)):
        raise BadRequestError("event types, separated by commas", field="types")
    return types


def _page(items: list[bytes], following: str | None) -> Response:
    """A list as all lists are answered, its items spliced."""
    return Response(
        b'{"items":[%b],"next":%b}' % (b",".join(items), msgspec.json.encode(following)),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
