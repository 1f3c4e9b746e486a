"""Wallets: what is in them, and what a platform's backend does with them."""

import time
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from msgspec import UNSET
from starlette.responses import Response

from engagement.domain.ledger_requests import (
    Deposit,
    DepositOrder,
    GiftReverse,
    HoldOrder,
    HoldPlace,
    HoldPost,
    HoldTarget,
    HoldVoid,
    MoneyRequest,
    ReversalOrder,
)
from engagement.domain.names import is_actor_id, is_request_id
from engagement.errors import BadRequestError, ForbiddenError, NotFoundError
from engagement.gateway import openapi
from engagement.gateway.database_reads import ask
from engagement.gateway.json_bodies import check_texts, read_body
from engagement.gateway.ledger_calls import ask_ledger, check_backend
from engagement.gateway.money_bodies import (
    DepositBody,
    EarningsOfDay,
    EarningsView,
    HoldBody,
    HoldView,
    PostedView,
    ResolutionBody,
    ReversalBody,
    WalletView,
    hold_view,
)
from engagement.gateway.money_envelopes import MoneyAsk
from engagement.gateway.runtime import Gateway, gateway_of, sender_of
from engagement.tokens import Principal

router = APIRouter(prefix="/v1", tags=["accounts"])

_DEPOSITS: Final = msgspec.json.Decoder(DepositBody)
_HOLDS: Final = msgspec.json.Decoder(HoldBody)
_RESOLUTIONS: Final = msgspec.json.Decoder(ResolutionBody)
_REVERSALS: Final = msgspec.json.Decoder(ReversalBody)

_DAYS_DEFAULT: Final = 31
_DAYS_MAX: Final = 366

Days = Annotated[int, Query(ge=1, le=_DAYS_MAX)]
Sender = Annotated[Principal, Depends(sender_of)]


@router.get("/accounts/{account}", **openapi.GET_ACCOUNT)
async def get_account(account: str, request: Request, principal: Sender) -> Response:
    """A wallet, for its owner and the platform; one that never was is empty."""
    _check_reader(account, principal, "account")
    wallet = await ask(gateway_of(request).ledger.wallet(account))
    return _answer(200, WalletView(account, wallet.coins, wallet.held))


@router.post("/accounts/{account}/deposits", **openapi.POST_DEPOSIT)
async def post_deposit(account: str, request: Request, principal: Sender) -> Response:
    """Put coins into a wallet: 201, a repeat 200."""
    _check_backend(account, principal)
    body = await read_body(request, _DEPOSITS)
    order = Deposit(id=body.id.lower(), data=DepositOrder(body.coins, body.source))
    return await _post(gateway_of(request), principal, account, order)


@router.post("/accounts/{account}/holds", **openapi.POST_HOLD)
async def post_hold(account: str, request: Request, principal: Sender) -> Response:
    """Set coins aside until the hold is posted, voided, or has expired."""
    _check_backend(account, principal)
    body = await read_body(request, _HOLDS)
    data = HoldOrder(body.coins, body.ttl_s, "" if body.to is UNSET else body.to)
    order = HoldPlace(id=body.id.lower(), data=data)
    return await _post(gateway_of(request), principal, account, order, hold=order.id)


@router.get("/accounts/{account}/holds/{hold}", **openapi.GET_HOLD)
async def get_hold(account: str, hold: str, request: Request, principal: Sender) -> Response:
    """A hold as it is now."""
    _check_reader(account, principal, "account")
    return _answer(200, await _hold(gateway_of(request), account, _hold_id(hold)))


@router.post("/accounts/{account}/holds/{hold}/post", **openapi.RESOLVE_HOLD)
async def resolve_hold(account: str, hold: str, request: Request, principal: Sender) -> Response:
    """Move the coins of a hold to whom they were held for."""
    _check_backend(account, principal)
    body = await read_body(request, _RESOLUTIONS)
    order = HoldPost(id=body.id.lower(), data=HoldTarget(_hold_id(hold)))
    return await _post(gateway_of(request), principal, account, order, hold=order.data.hold)


@router.post("/accounts/{account}/holds/{hold}/void", **openapi.RESOLVE_HOLD)
async def void_hold(account: str, hold: str, request: Request, principal: Sender) -> Response:
    """Free the coins of a hold."""
    _check_backend(account, principal)
    body = await read_body(request, _RESOLUTIONS)
    order = HoldVoid(id=body.id.lower(), data=HoldTarget(_hold_id(hold)))
    return await _post(gateway_of(request), principal, account, order, hold=order.data.hold)


@router.post("/accounts/{account}/reversals", **openapi.POST_REVERSAL)
async def post_reversal(account: str, request: Request, principal: Sender) -> Response:
    """Take a gift that this account has paid back, by compensating transfers."""
    _check_backend(account, principal)
    body = await read_body(request, _REVERSALS)
    check_texts(reason=body.reason)
    data = ReversalOrder(body.gift.lower(), body.reason)
    order = GiftReverse(id=body.id.lower(), data=data)
    return await _post(gateway_of(request), principal, account, order)


@router.get("/hosts/{host}/earnings", **openapi.GET_EARNINGS)
async def get_earnings(
    host: str, request: Request, principal: Sender, days: Days = _DAYS_DEFAULT
) -> Response:
    """What a host has earned, for the host and the platform."""
    _check_reader(host, principal, "host")
    gateway = gateway_of(request)
    coins = await ask(gateway.ledger.earnings(host))
    by_day = (await ask(gateway.queries.earnings(host, days=days)))["days"]
    return _answer(200, EarningsView(host, coins, msgspec.convert(by_day, list[EarningsOfDay])))


async def _post(
    gateway: Gateway,
    principal: Principal,
    account: str,
    order: MoneyRequest,
    hold: str | None = None,
) -> Response:
    """Have the ledger decide, and tell what the wallet is afterwards."""
    gateway.check_started()
    posted = await ask_ledger(
        gateway,
        MoneyAsk(account, principal.role, time.time_ns() // 1000, order, actor=principal.id),
    )
    wallet = await ask(gateway.ledger.wallet(account))
    placed = UNSET if hold is None else await _hold(gateway, account, hold)
    view = PostedView(order.id, posted.status, account, wallet.coins, wallet.held, placed)
    return _answer(posted.http_status, view)


async def _hold(gateway: Gateway, account: str, hold: str) -> HoldView:
    found = await ask(gateway.ledger.hold(account, hold))
    if found is None:
        raise NotFoundError("there is no such hold", code="hold_not_found")
    return hold_view(found)


def _hold_id(text: str) -> str:
    if not is_request_id(text):
        raise NotFoundError("there is no such hold", code="hold_not_found")
    return text.lower()


def _check_backend(account: str, principal: Principal) -> None:
    check_backend(principal)
    _check_name(account, "account")


def _check_reader(name: str, principal: Principal, field: str) -> None:
    _check_name(name, field)
    if principal.id != name and principal.role not in ("service", "admin"):
        raise ForbiddenError("only its owner, a service or an admin may read this")


def _check_name(name: str, field: str) -> None:
    if not is_actor_id(name):
        raise BadRequestError("a user id is 1-128 letters, digits and _.~@:+=|-", field=field)


def _answer(status: int, view: msgspec.Struct) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(
        msgspec.json.encode(view), status, headers=headers, media_type="application/json"
    )
