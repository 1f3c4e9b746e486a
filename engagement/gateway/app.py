"""The gateway's ASGI application: FastAPI, with the two hot routes taken out before it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from engagement.errors import NotFoundError
from engagement.gateway import (
    later_http,
    openapi,
    pages,
    probes,
    reads_http,
    replay_sse,
    rooms_http,
)
from engagement.gateway.events_http import post_events
from engagement.gateway.problems import install_problems, send_problem_to_handshake
from engagement.gateway.runtime import Gateway
from engagement.settings import Settings

_ROOMS: Final = "/v1/rooms/"


class HotRoutes:
    """Serves `POST …/events` and `…/live` itself and passes everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI call."""
        if scope["type"] == "http":
            if scope["method"] == "POST":
                room = _room_of(scope["path"], "/events")
                if room is not None:
                    await post_events(scope["app"].state.gateway, scope, receive, send, room)
                    return
        elif scope["type"] == "websocket":
            room = _room_of(scope["path"], "/live")
            if room is None:
                await receive()
                await send_problem_to_handshake(send, NotFoundError("no such socket"))
            else:
                await scope["app"].state.gateway.live.handle(scope, receive, send, room)
            return
        await self._app(scope, receive, send)


def _room_of(path: str, ending: str) -> str | None:
    """The room in `/v1/rooms/{room}<ending>`."""
    if not path.startswith(_ROOMS) or not path.endswith(ending):
        return None
    room = path[len(_ROOMS) : -len(ending)]
    return room if room and "/" not in room else None


def create_app(settings: Settings) -> FastAPI:
    """The application; its gateway starts with the server."""

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
    for module in (rooms_http, reads_http, replay_sse, later_http, probes):
        app.include_router(module.router)
    app.add_api_route("/v1/rooms/{room}/events", _events, methods=["POST"], **openapi.POST_EVENTS)
    pages.mount_pages(app)
    app.add_middleware(HotRoutes)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "PUT", "POST", "DELETE"],
        allow_headers=[
            "authorization", "content-type", "last-event-id", "prefer", "traceparent",
            "x-role", "x-user",
        ],
        expose_headers=["retry-after"],
        max_age=600,
    )  # fmt: skip
    openapi.install(app)
    return app


async def _events(room: str, request: Request) -> Response:
    """Post one request, or an array of at most 500. 202 once the log has all accepted ones."""
    raise AssertionError("HotRoutes serves this before FastAPI does")


def _version() -> str:
    try:
        return version("live-engagement")
    except PackageNotFoundError:
        return "0"
