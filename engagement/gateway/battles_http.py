"""PK battles over HTTP: asking, answering, looking.

A command is written to the log and answered when the battle has decided about it. All of them can
be sent again: a battle that is asked for twice with the same body, accepted twice or declined twice
is answered as it is.
"""

import asyncio
import time
import uuid
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from engagement.domain import limits
from engagement.domain.battle_events import ScoreWindow, Side
from engagement.domain.battle_requests import (
    BattleAccept,
    BattleAsked,
    BattleCancel,
    BattleDecline,
    BattleEnvelope,
    BattleInvite,
    BattleRequest,
    Invitation,
    SideAnswer,
)
from engagement.domain.battle_rules import RULES
from engagement.domain.battles import BattleState
from engagement.domain.names import is_room_id
from engagement.errors import (
    BadRequestError,
    ConflictError,
    EngagementError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from engagement.gateway import openapi
from engagement.gateway.auth import Principal
from engagement.gateway.battle_bodies import BattleBody, battle_view
from engagement.gateway.database_reads import ask
from engagement.gateway.events_http import find_room
from engagement.gateway.json_bodies import read_body
from engagement.gateway.runtime import Gateway, gateway_of, sender_of
from engagement.log.battle_codec import encode_battle_envelope
from engagement.log.topics import BATTLE_REQUESTS_TOPIC, partition_of

router = APIRouter(prefix="/v1/battles/{battle}", tags=["battles"])

Sender = Annotated[Principal, Depends(sender_of)]

_BODIES: Final = msgspec.json.Decoder(BattleBody)
_PLATFORM: Final = ("service", "admin")
_REFUSALS: Final[dict[str, type[EngagementError]]] = {
    "forbidden": ForbiddenError,
    "battle_not_found": NotFoundError,
    "bad_sides": BadRequestError,
    "unknown_rule": BadRequestError,
}
"""What is not here is a conflict: the battle is in another state than the request supposes."""
_DETAILS: Final = {
    "battle_exists": "there is another battle of this name",
    "room_in_battle": "one of the rooms is in a battle",
    "battle_expired": "the invitation has expired",
    "battle_ended": "the battle has ended",
    "battle_settling": "the battle is over, its last gifts are being counted",
    "battle_running": "the battle has started",
    "battle_declined": "a side has declined",
    "battle_cancelled": "the invitation was taken back",
    "forbidden": "only hosts of the battle's rooms, a service or an admin may do this",
}


@router.put("", **openapi.PUT_BATTLE)
async def ask_to_battle(battle: str, request: Request, principal: Sender) -> Response:
    """Ask rooms to a battle: 201; again the same: 200. The sender's own side has accepted."""
    gateway = gateway_of(request)
    if not is_room_id(battle):
        raise BadRequestError("a battle id is 1-64 letters, digits and _.~-", field="battle")
    body = await read_body(request, _BODIES)
    gateway.check_started()
    invitation = await _invitation(gateway, body, principal)
    known = await ask(gateway.battles.battle(battle))
    if known is not None and known.status != "none":
        return _answer(200, _same(known, invitation))
    state, code = await _decide(
        gateway, principal, battle, BattleInvite(id=str(uuid.uuid4()), data=invitation)
    )
    if code == "battle_exists":
        return _answer(200, _same(state, invitation))
    return _answer(201, await _begun(_granted(state, code)))


@router.get("", **openapi.GET_BATTLE)
async def get_battle(battle: str, request: Request) -> Response:
    """The battle as it is decided."""
    return _answer(200, await _known(gateway_of(request), battle))


@router.post("/accept", **openapi.POST_BATTLE)
async def accept(battle: str, request: Request, principal: Sender) -> Response:
    """Say yes for the sender's side; when all have, the battle starts."""
    answer = SideAnswer([])
    return await _command(
        request, principal, battle, BattleAccept(id=str(uuid.uuid4()), data=answer)
    )


@router.post("/decline", **openapi.POST_BATTLE)
async def decline(battle: str, request: Request, principal: Sender) -> Response:
    """Say no for the sender's side: the invitation is over."""
    answer = SideAnswer([])
    return await _command(
        request, principal, battle, BattleDecline(id=str(uuid.uuid4()), data=answer)
    )


@router.post("/cancel", **openapi.POST_BATTLE)
async def cancel(battle: str, request: Request, principal: Sender) -> Response:
    """Take an invitation back; of a battle that runs: break it off, without a winner."""
    answer = SideAnswer([])
    return await _command(
        request, principal, battle, BattleCancel(id=str(uuid.uuid4()), data=answer)
    )


async def _command(
    request: Request, principal: Principal, battle: str, command: BattleRequest
) -> Response:
    gateway = gateway_of(request)
    await _known(gateway, battle)
    state, code = await _decide(gateway, principal, battle, command)
    return _answer(200, await _begun(_granted(state, code)))


async def _begun(state: BattleState) -> BattleState:
    """Whoever is told that a battle runs may send a gift at once, and it counts."""
    await asyncio.sleep(max(0.0, (state.started_us - time.time_ns() // 1000) / 1e6))
    return state


async def _known(gateway: Gateway, battle: str) -> BattleState:
    state = await ask(gateway.battles.battle(battle)) if is_room_id(battle) else None
    if state is None or state.status == "none":
        raise NotFoundError("there is no such battle", code="battle_not_found")
    return state


async def _invitation(gateway: Gateway, body: BattleBody, principal: Principal) -> Invitation:
    if len(set(body.rooms)) < len(body.rooms):
        raise BadRequestError("a room fights others", code="bad_sides", field="$.rooms")
    if body.rule not in RULES:
        raise BadRequestError(
            f"rules are {', '.join(sorted(RULES))}", code="unknown_rule", field="$.rule"
        )
    sides: list[Side] = []
    for room in body.rooms:
        state = await find_room(gateway, room)
        if state.status != "open":
            raise ConflictError(f"room {room} is closed", code="room_closed")
        sides.append(Side(room, state.host))
    own = [side for side in sides if side.host == principal.id]
    if not own and principal.role not in _PLATFORM:
        raise ForbiddenError(_DETAILS["forbidden"])
    windows = [ScoreWindow(each.after_s, each.duration_s, each.multiplier) for each in body.windows]
    return Invitation(sides, body.duration_s, body.rule, windows, body.punish_s)


def _same(state: BattleState, invitation: Invitation) -> BattleState:
    """The battle that exists, if it is the one that is asked for. Raises ConflictError."""
    asked_for = (
        {(side.room, side.host) for side in invitation.sides},
        *(invitation.duration_s, invitation.rule, invitation.windows, invitation.punish_s),
    )
    exists = (
        {(side.room, side.host) for side in state.sides},
        *(state.duration_s, state.rule, state.windows, state.punish_s),
    )
    if asked_for != exists:
        raise ConflictError(_DETAILS["battle_exists"], code="battle_exists")
    return state


def _granted(state: BattleState, code: str) -> BattleState:
    """The battle after a request that was granted. Raises what it was refused with."""
    if code:
        kind = _REFUSALS.get(code, ConflictError)
        raise kind(_DETAILS.get(code, code), code=code)
    return state


async def _decide(
    gateway: Gateway, principal: Principal, battle: str, request: BattleRequest
) -> tuple[BattleState, str]:
    """Have a battle decide: the battle afterwards, and why it refused, if it did.

    Raises UnavailableError when nobody answers: it is not known then what became of it.
    """
    if not gateway.envelopes.has_room():
        raise UnavailableError("the log is behind", code="log_unavailable", retry_after_s=1)
    at_us = time.time_ns() // 1000
    asked = BattleAsked(battle, principal.id, principal.role, at_us, request)
    partition = partition_of(battle, gateway.settings.partitions)
    value = encode_battle_envelope(BattleEnvelope(gateway.id, [asked]))
    try:
        async with asyncio.timeout(limits.ACK_TIMEOUT_S):
            gateway.writer.append(BATTLE_REQUESTS_TOPIC, partition, battle.encode(), value)
            await gateway.writer.acknowledged(BATTLE_REQUESTS_TOPIC, partition)
            pause_s = limits.SETTLED_POLL_S
            while True:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, limits.SETTLED_POLL_S_MAX)
                state = await ask(gateway.battles.battle(battle))
                if state is not None and request.id in state.outcomes:
                    return state, state.outcomes[request.id]
    except TimeoutError:
        raise UnavailableError(
            "the battles do not answer; ask again", code="battles_unavailable", retry_after_s=2
        ) from None


def _answer(status: int, state: BattleState) -> Response:
    return Response(
        msgspec.json.encode(battle_view(state)),
        status,
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )
