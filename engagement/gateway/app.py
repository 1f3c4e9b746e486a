"""The gateway's ASGI application: FastAPI, with the two hot routes taken out before it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import structlog
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from engagement.errors import EngagementError, NotFoundError
from engagement.gateway import (
    accounts_http,
    battles_http,
    gifts_http,
    openapi,
    pages,
    probes,
    reads_http,
    replay_sse,
    rooms_http,
)
from engagement.gateway.events_http import post_events
from engagement.gateway.problems import (
    InternalError,
    install_problems,
    send_problem,
    send_problem_to_handshake,
)
from engagement.gateway.runtime import Gateway
from engagement.settings import Settings

log = structlog.get_logger()

_ROOMS: Final = "/v1/rooms/"
_ROUTED: Final = (
    rooms_http, reads_http, replay_sse, gifts_http, accounts_http, battles_http, probes,
)  # fmt: skip


class HotRoutes:
    """What the server runs: `POST …/events` and `…/live` are served here, past the framework's
    middleware, which costs as much as they do; everything else is FastAPI's."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI call."""
        if scope["type"] == "http":
            method = scope["method"]
            if method == "HEAD" and not scope["path"].endswith("/replay"):
                # As GET; the server leaves the body out (RFC 9110 section 9.3.2).
                scope = {**scope, "method": "GET"}
            elif method == "POST":
                room = _room_of(scope["path"], "/events")
                if room is not None:
                    await self._post_events(scope, receive, send, room)
                    return
        elif scope["type"] == "websocket":
            room = _room_of(scope["path"], "/live")
            if room is None:
                await receive()
                await send_problem_to_handshake(send, NotFoundError("no such socket"))
            else:
                await self._app.state.gateway.live.handle(scope, receive, send, room)
            return
        await self._app(scope, receive, send)

    async def _post_events(self, scope: Scope, receive: Receive, send: Send, room: str) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await post_events(self._app.state.gateway, scope, receive, watched, room)
        except Exception:
            log.exception("events.failed")
            if not begun:
                await send_problem(send, InternalError("this is our fault; it was logged"))


def _room_of(path: str, ending: str) -> str | None:
    """The room in `/v1/rooms/{room}<ending>`."""
    if not path.startswith(_ROOMS) or not path.endswith(ending):
        return None
    room = path[len(_ROOMS) : -len(ending)]
    return room if room and "/" not in room else None


def create_app(settings: Settings) -> FastAPI:
    """The described application, without the hot routes' short cut: see `create_asgi`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.gateway = gateway = Gateway(settings)
        gateway.start()
        yield
        await gateway.stop()

    app = FastAPI(
        title="live-engagement gateway",
        version=_version(),
        summary="Rooms, events and their timeline.",
        lifespan=lifespan,
        redoc_url=None,
    )
    install_problems(app)
    for module in _ROUTED:
        app.include_router(module.router)
    app.add_api_route("/v1/rooms/{room}/events", _events, methods=["POST"], **openapi.POST_EVENTS)
    app.add_api_route("/v1/rooms/{room}/live", _live, methods=["GET"], **openapi.LIVE)
    pages.mount_pages(app)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "PUT", "POST", "DELETE"],
        allow_headers=[
            "authorization", "content-type", "last-event-id", "prefer", "traceparent",
            "x-role", "x-user",
        ],
        expose_headers=["retry-after", "preference-applied"],
        max_age=600,
    )  # fmt: skip
    openapi.install(app)
    return app


def create_asgi(settings: Settings) -> HotRoutes:
    """What a server runs; the gateway starts and stops with it."""
    return HotRoutes(create_app(settings))


async def _events(room: str, request: Request) -> Response:
    """Post one request, or an array of at most 500. 202 once the log has all accepted ones."""
    raise NotImplementedError("HotRoutes serves this before FastAPI does")


class _UpgradeRequiredError(EngagementError):
    """A WebSocket was asked for as if it were a page."""

    status = 426
    code = "upgrade_required"
    title = "Upgrade required"


async def _live(room: str, cursor: str | None = None) -> Response:
    """The room's WebSocket, subprotocol `engagement.v1`; see the AsyncAPI document."""
    raise _UpgradeRequiredError("this is a WebSocket")


def _version() -> str:
    try:
        return version("live-engagement")
    except PackageNotFoundError:
        return "0"
