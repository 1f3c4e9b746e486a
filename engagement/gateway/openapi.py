"""What OpenAPI says of the routes. Schemas of bodies come from the structs that decode them."""

import re
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from msgspec import Struct

from engagement.domain.requests import ClientRequest
from engagement.gateway import battle_bodies, money_bodies
from engagement.gateway.intake import Result
from engagement.gateway.room_view import RoomView

_REF: Final = "#/components/schemas/{name}"


class Results(Struct, frozen=True):
    """The answer to posted requests, in their order."""

    results: list[Result]


class Problem(Struct, frozen=True):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    retry_after_s: float | msgspec.UnsetType = msgspec.UNSET


class RoomPutBody(Struct, frozen=True):
    """Opens a room."""

    title: str
    host: str | msgspec.UnsetType = msgspec.UNSET


def _schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """References in the order asked for, by name, and the components they point to."""
    wanted: dict[str, Any] = {
        "events": ClientRequest | list[ClientRequest],
        "results": Results,
        "problem": Problem,
        "room": RoomView,
        "room_put": RoomPutBody,
        "gift": money_bodies.GiftView,
        "gifts": money_bodies.GiftPage,
        "gift_put": money_bodies.GiftBody,
        "wallet": money_bodies.WalletView,
        "posted": money_bodies.PostedView,
        "deposit": money_bodies.DepositBody,
        "hold": money_bodies.HoldView,
        "hold_post": money_bodies.HoldBody,
        "resolution": money_bodies.ResolutionBody,
        "reversal": money_bodies.ReversalBody,
        "earnings": money_bodies.EarningsView,
        "leaders": money_bodies.LeaderPage,
        "battle": battle_bodies.BattleView,
        "battle_put": battle_bodies.BattleBody,
    }
    references, components = msgspec.json.schema_components(wanted.values(), ref_template=_REF)
    return dict(zip(wanted, references, strict=True)), components


SCHEMAS, COMPONENTS = _schemas()


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": SCHEMAS["problem"]}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


_MEANINGS: Final = {
    400: "Not JSON, or not of the right shape",
    401: "Nobody we know",
    403: "Not allowed",
    404: "No such thing",
    408: "The body did not come in time",
    409: "The thing is in another state than the request supposes",
    413: "Beyond a bound of size",
    415: "Compressed, or not JSON",
    422: "A parameter is out of bounds, the id was used before, or a gift that nobody can pay",
    426: "This is a WebSocket",
    429: "Too many requests",
    503: "The log or the database does not answer, or the gateway is starting",
}

_PAGE: Final = {
    "type": "object",
    "required": ["items", "next"],
    "properties": {
        "items": {"type": "array", "items": {"type": "object"}},
        "next": {"type": ["string", "null"]},
    },
}


def _route(responses: dict[int | str, dict[str, Any]], **extra: Any) -> dict[str, Any]:
    """Keyword arguments of a FastAPI route that answers bytes of its own."""
    return {"response_model": None, "responses": responses, **extra}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "security": _SECURITY,
    }


_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"dev_user": []}]

PUT_ROOM: Final = _route(
    {
        200: _answer("It is open already", SCHEMAS["room"]),
        201: _answer("It is open now", SCHEMAS["room"]),
        **_problems(400, 401, 403, 408, 409, 413, 503),
    },
    status_code=201,
    openapi_extra=_body(SCHEMAS["room_put"]),
)
DELETE_ROOM: Final = _route(
    {200: _answer("It is closed", SCHEMAS["room"]), **_problems(401, 403, 404, 503)},
    openapi_extra={"security": _SECURITY},
)
GET_ROOM: Final = _route({200: _answer("The room now", SCHEMAS["room"]), **_problems(404, 503)})
POST_EVENTS: Final = _route(
    {
        202: _answer("What became of each request, in order", SCHEMAS["results"]),
        **_problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    },
    status_code=202,
    tags=["events"],
    summary="Post requests",
    operation_id="post_events",
    openapi_extra={
        **_body(SCHEMAS["events"]),
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "description": "`wait=<seconds>` (RFC 7240): answer with the outcomes of gifts, "
                "if they are known by then; the answer says `Preference-Applied`",
                "schema": {"type": "string", "examples": ["wait=5"]},
            }
        ],
    },
)
LIST_COMMENTS: Final = _route(
    {200: _answer("CloudEvents, newest first", _PAGE), **_problems(400, 404, 422, 503)}
)
LIST_LEADERS: Final = _route(
    {200: _answer("Senders by coins", SCHEMAS["leaders"]), **_problems(400, 404, 422, 503)}
)
LIST_BATTLES: Final = _route(
    {200: _answer("Battles, newest first", _PAGE), **_problems(404, 422, 503)}
)
LIST_TIMELINE: Final = _route(
    {200: _answer("CloudEvents in media order", _PAGE), **_problems(400, 404, 422, 503)}
)
GET_STATE: Final = _route(
    {
        200: _answer("The room at that time", {"type": "object"}),
        **_problems(400, 404, 422, 503),
    }
)
REPLAY: Final = _route(
    {
        200: {
            "description": "Server-sent events; `id` is a cursor for Last-Event-ID",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "There is nothing after Last-Event-ID"},
        **_problems(400, 404, 422, 503),
    }
)
LIVE: Final = _route(
    {
        101: {"description": "The socket is open"},
        **_problems(403, 426, 503),
    },
    status_code=426,
    tags=["events"],
    operation_id="live",
)
LIST_GIFTS: Final = _route({200: _answer("The catalogue", SCHEMAS["gifts"])})
PUT_GIFT: Final = _route(
    {
        200: _answer("The gift as it is now", SCHEMAS["gift"]),
        201: _answer("A gift that was not there before", SCHEMAS["gift"]),
        **_problems(400, 401, 403, 408, 409, 413, 503),
    },
    openapi_extra=_body(SCHEMAS["gift_put"]),
)
_SIGNED: Final = {"security": _SECURITY}
GET_ACCOUNT: Final = _route(
    {200: _answer("The wallet", SCHEMAS["wallet"]), **_problems(400, 401, 403, 503)},
    openapi_extra=_SIGNED,
)
GET_EARNINGS: Final = _route(
    {200: _answer("The earnings", SCHEMAS["earnings"]), **_problems(400, 401, 403, 422, 503)},
    openapi_extra=_SIGNED,
)
GET_HOLD: Final = _route(
    {200: _answer("The hold", SCHEMAS["hold"]), **_problems(400, 401, 403, 404, 503)},
    openapi_extra=_SIGNED,
)


def _posting(body: str, *more: int) -> dict[str, Any]:
    return _route(
        {
            200: _answer("It was posted before", SCHEMAS["posted"]),
            201: _answer("It is posted, and the wallet after it", SCHEMAS["posted"]),
            **_problems(400, 401, 403, 408, 409, 413, 422, 503, *more),
        },
        status_code=201,
        openapi_extra=_body(SCHEMAS[body]),
    )


POST_DEPOSIT: Final = _posting("deposit")
POST_HOLD: Final = _posting("hold_post")
RESOLVE_HOLD: Final = _posting("resolution", 404)
POST_REVERSAL: Final = _posting("reversal", 404)
PUT_BATTLE: Final = _route(
    {
        200: _answer("It was asked for before", SCHEMAS["battle"]),
        201: _answer("The rooms are asked", SCHEMAS["battle"]),
        **_problems(400, 401, 403, 404, 408, 409, 413, 503),
    },
    status_code=201,
    openapi_extra=_body(SCHEMAS["battle_put"]),
)
GET_BATTLE: Final = _route(
    {200: _answer("The battle now", SCHEMAS["battle"]), **_problems(404, 503)}
)
POST_BATTLE: Final = _route(
    {
        200: _answer("The battle afterwards", SCHEMAS["battle"]),
        **_problems(401, 403, 404, 409, 503),
    },
    openapi_extra=_SIGNED,
)


def _declare_path_parameters(paths: dict[str, Any]) -> None:
    """Routes whose handlers read no path parameter still have one in their path."""
    for path, operations in paths.items():
        for operation in operations.values():
            declared = operation.setdefault("parameters", [])
            known = {parameter["name"] for parameter in declared}
            declared += [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"{(\w+)}", path)
                if name not in known
            ]


def install(app: FastAPI) -> None:
    """Make `app.openapi()` complete: our components, and how one names oneself."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            _declare_path_parameters(schema["paths"])
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {}).update(COMPONENTS)
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "dev_user": {"type": "apiKey", "in": "header", "name": "X-User"},
            }
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
