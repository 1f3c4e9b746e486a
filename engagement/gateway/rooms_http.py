"""Opening, closing and looking at a room."""

import time
import uuid
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.responses import Response

from engagement.domain import limits
from engagement.domain.names import is_room_id
from engagement.domain.requests import ActorName, RoomClose, RoomClosing, RoomOpen, RoomOpening
from engagement.domain.requests import Request as RoomRequest
from engagement.domain.rooms import RoomState
from engagement.errors import (
    BadRequestError,
    ConflictError,
    EngagementError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from engagement.gateway import openapi
from engagement.gateway.envelopes import Group
from engagement.gateway.events_http import find_room
from engagement.gateway.intake import Submission, partition_of_room
from engagement.gateway.json_bodies import check_texts, read_body
from engagement.gateway.room_view import RoomView
from engagement.gateway.runtime import Gateway, gateway_of, sender_of
from engagement.tokens import Principal

router = APIRouter(prefix="/v1/rooms/{room}", tags=["rooms"])

_REFUSALS: Final[dict[str, type[EngagementError]]] = {
    "forbidden": ForbiddenError,
    "banned": ForbiddenError,
    "room_taken": ConflictError,
    "room_not_found": NotFoundError,
}


class RoomPut(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /v1/rooms/{room}`."""

    title: Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)]
    host: ActorName | UnsetType = UNSET
    """Default: whoever asks."""


_PUTS: Final = msgspec.json.Decoder(RoomPut)


@router.put("", **openapi.PUT_ROOM)
async def open_room(
    room: str, request: Request, principal: Annotated[Principal, Depends(sender_of)]
) -> Response:
    """Open the room: 201, or 200 when it is open already. It is usable on return."""
    gateway = gateway_of(request)
    if not is_room_id(room):
        raise BadRequestError("a room id is 1-64 letters, digits and _.~-", field="room")
    gateway.check_started()
    asked = await read_body(request, _PUTS)
    check_texts(title=asked.title)
    host = principal.id if asked.host is UNSET else asked.host
    if host != principal.id and principal.role not in ("service", "admin"):
        raise ForbiddenError("only a service or an admin may open a room for somebody else")
    state = gateway.directory.known(room)
    if state is not None and state.status == "open":
        if state.host != host:
            raise ConflictError("the room is open under another host", code="room_taken")
        return _answer(200, gateway.view(state))
    opening = RoomOpen(id=str(uuid.uuid4()), data=RoomOpening(asked.title, host))
    await _ask(gateway, principal, room, opening, wanted="open")
    state = gateway.directory.rooms[room]
    if state.host != host:
        raise ConflictError("the room is open under another host", code="room_taken")
    return _answer(201, gateway.view(state))


@router.delete("", **openapi.DELETE_ROOM)
async def close_room(
    room: str, request: Request, principal: Annotated[Principal, Depends(sender_of)]
) -> Response:
    """Close the room; closing it again changes nothing."""
    gateway = gateway_of(request)
    state = await find_room(gateway, room)
    if principal.role not in ("service", "admin") and principal.id != state.host:
        raise ForbiddenError("only the host, a service or an admin may close a room")
    if state.status == "open":
        closing = RoomClose(id=str(uuid.uuid4()), data=RoomClosing())
        await _ask(gateway, principal, room, closing, wanted="closed")
    return _answer(200, gateway.view(gateway.directory.rooms[room]))


@router.get("", **openapi.GET_ROOM)
async def get_room(room: str, request: Request) -> Response:
    """The room now."""
    gateway = gateway_of(request)
    return _answer(200, gateway.view(await find_room(gateway, room)))


async def _ask(
    gateway: Gateway, principal: Principal, room: str, request: RoomRequest, *, wanted: str
) -> None:
    """Send a request of ours and wait until the room is as wanted, here, by the log.

    Raises what the processor refused it with, or UnavailableError.
    """
    if not gateway.envelopes.has_room():
        raise UnavailableError("the log is behind", code="log_unavailable", retry_after_s=1)
    refusals = gateway.refusals
    refused = refusals.expect(request.id)
    try:
        at_us = time.time_ns() // 1000
        group = Group(room, principal.role, at_us, [(principal.id, request)])
        submission = Submission()
        partition = partition_of_room(room, gateway.settings.partitions)
        submission.flushes[gateway.envelopes.put(partition, group)] = None
        await submission.acknowledged()

        def settled() -> bool:
            state: RoomState | None = gateway.directory.rooms.get(room)
            return bool(refused) or (state is not None and state.status == wanted)

        if not await gateway.directory.until(room, settled, limits.ROOM_FACT_TIMEOUT_S):
            raise UnavailableError(
                "the room processor does not answer", code="processor_unavailable", retry_after_s=2
            )
        if refused:
            kind = _REFUSALS.get(refused[0], ConflictError)
            raise kind("the room processor refused", code=refused[0])
    finally:
        refusals.forget(request.id)


def _answer(status: int, view: RoomView) -> Response:
    headers: dict[str, Any] = {"cache-control": "no-store"}
    return Response(
        msgspec.json.encode(view), status, headers=headers, media_type="application/json"
    )
