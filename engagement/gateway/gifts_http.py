"""The catalogue: what is sold, and how it is changed while it is."""

import asyncio
import re
import uuid
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from engagement.domain import limits
from engagement.domain.catalogue import GIFT_NAME_PATTERN, GiftTerms, PricedGift
from engagement.errors import BadRequestError, ConflictError
from engagement.gateway import openapi
from engagement.gateway.catalogue_follower import change_of, with_animation
from engagement.gateway.database_reads import ask
from engagement.gateway.json_bodies import check_texts, read_body
from engagement.gateway.ledger_calls import ask_ledger, check_backend
from engagement.gateway.money_bodies import GiftBody, GiftPage, gift_view
from engagement.gateway.runtime import Gateway, gateway_of, sender_of
from engagement.tokens import Principal

router = APIRouter(prefix="/v1/gifts", tags=["gifts"])

_BODIES: Final = msgspec.json.Decoder(GiftBody)
_NAME: Final = re.compile(GIFT_NAME_PATTERN)


@router.get("", **openapi.LIST_GIFTS)
async def list_gifts(request: Request) -> Response:
    """The catalogue: the smallest gifts first."""
    offered = gateway_of(request).catalogue.offered()
    page = GiftPage([gift_view(priced) for priced in offered], None)
    return Response(msgspec.json.encode(page), media_type="application/json")


@router.put("/{gift}", **openapi.PUT_GIFT)
async def put_gift(
    gift: str, request: Request, principal: Annotated[Principal, Depends(sender_of)]
) -> Response:
    """Add a gift, change it, or stop selling it: 201 the first time, then 200.

    It holds for whatever gift is accepted after this is answered, at this gateway at once.
    """
    gateway = gateway_of(request)
    check_backend(principal)
    if _NAME.fullmatch(gift) is None:
        raise BadRequestError("a gift is called by 1-64 of a-z, 0-9, _ and -", field="gift")
    body = await read_body(request, _BODIES)
    check_texts(name=body.name, animation=body.animation)
    gateway.check_started()
    before = gateway.catalogue.known(gift)
    if before is None and gateway.catalogue.full:
        raise ConflictError("the catalogue is full", code="catalogue_full")
    terms = with_animation(
        GiftTerms(
            gift=gift,
            name=body.name,
            coins=body.coins,
            tier=body.tier,
            animation=body.animation,
            combo=body.combo,
            host_share_percent=body.host_share_percent,
            offered=body.offered,
        )
    )
    change = change_of(terms, role=principal.role, actor=principal.id, request_id=str(uuid.uuid4()))
    await ask_ledger(gateway, change)
    priced = await _newest(gateway, gift)
    await _followed(gateway, priced)
    status = 201 if before is None else 200
    return Response(msgspec.json.encode(gift_view(priced)), status, media_type="application/json")


async def _newest(gateway: Gateway, gift: str) -> PricedGift:
    for priced in await ask(gateway.ledger.catalogue()):
        if priced.terms.gift == gift:
            return priced
    raise ConflictError("the catalogue has no such gift", code="catalogue_unchanged")


async def _followed(gateway: Gateway, priced: PricedGift) -> None:
    """Wait until this gateway prices by it; when the tail is late, it will soon."""
    catalogue, pause_s = gateway.catalogue, limits.SETTLED_POLL_S
    deadline_s = asyncio.get_running_loop().time() + limits.ROOM_FACT_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline_s:
        known = catalogue.known(priced.terms.gift)
        if known is not None and known.version >= priced.version:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, limits.SETTLED_POLL_S_MAX)
