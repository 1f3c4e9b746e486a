"""`GET /v1/rooms/{room}/replay`: the timeline as server-sent events, paced by media time.

`id` of every event is a cursor, so a browser's `EventSource` resumes by itself
(`Last-Event-ID`). At the end an event `end` is sent; whoever asks again after it gets 204, which
tells an `EventSource` to stop.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Header, Query, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response, StreamingResponse

from engagement.domain import limits
from engagement.errors import UnavailableError
from engagement.gateway import openapi
from engagement.gateway.database_reads import ask
from engagement.gateway.events_http import find_room
from engagement.gateway.reads_http import Epoch, Instant
from engagement.gateway.runtime import Gateway, gateway_of
from projections.queries import ReplayItem

log = structlog.get_logger()

router = APIRouter(prefix="/v1/rooms/{room}", tags=["reads"])

_SILENCE_S: Final = 15.0
"""A comment line at least this often, so that proxies keep a quiet stream open."""
_EARLY_S: Final = 0.002
"""Events that are due within this are sent together."""


@router.get("/replay", **openapi.REPLAY)
async def replay(
    room: str,
    request: Request,
    from_ms: Instant | None = None,
    epoch: Epoch | None = None,
    speed: Annotated[float, Query(gt=0, le=limits.REPLAY_SPEED_MAX, allow_inf_nan=False)] = 1.0,
    last_event_id: Annotated[str | None, Header(max_length=512)] = None,
) -> Response:
    """Stream the timeline at `speed` times the pace of its media time."""
    gateway = gateway_of(request)
    await find_room(gateway, room)
    if gateway.replays >= limits.REPLAYS_MAX:
        raise UnavailableError("too many replays", code="overloaded", retry_after_s=5)
    items = gateway.queries.replay(room, from_ms=from_ms, epoch=epoch, after=last_event_id)
    first = await ask(_first(items))
    if first is None and last_event_id is not None:
        return Response(status_code=204)
    return StreamingResponse(
        _counted(gateway, _paced(first, items, speed)),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _first(items: AsyncIterator[ReplayItem]) -> ReplayItem | None:
    return await anext(items, None)


async def _counted(gateway: Gateway, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    gateway.replays += 1
    try:
        async for line in lines:
            yield line
    except (SQLAlchemyError, OSError) as error:
        # The stream just ends: the client comes back with the last id it has seen.
        log.warning("replay.broken", error=repr(error)[:300])
    finally:
        gateway.replays -= 1


async def _paced(
    first: ReplayItem | None, items: AsyncIterator[ReplayItem], speed: float
) -> AsyncIterator[bytes]:
    """Each item at its time; a new epoch begins at once, there is no media between two."""
    loop = asyncio.get_running_loop()
    yield b"retry: 1000\n\n"
    item, epoch, start_s, start_ms = first, None, 0.0, 0
    while item is not None:
        if item.epoch != epoch:
            epoch, start_s, start_ms = item.epoch, loop.time(), item.pts_ms
        due_s = start_s + (item.pts_ms - start_ms) / 1000 / speed
        while (left_s := due_s - loop.time()) > _EARLY_S:
            await asyncio.sleep(min(left_s, _SILENCE_S))
            if due_s - loop.time() > _EARLY_S:
                yield b": still here\n\n"
        data = item.event.replace(b"\n", b" ")
        yield b"id: %b\ndata: %b\n\n" % (item.cursor.encode(), data)
        item = await anext(items, None)
    yield b"event: end\ndata: {}\n\n"
