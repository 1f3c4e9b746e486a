"""The media process's own HTTP API: clocks, sessions, probes, commands to synthetic hosts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AfterValidator, BaseModel, Field
from starlette.exceptions import HTTPException

from engagement import tokens
from engagement.domain.media_time import Anchor
from engagement.domain.names import is_room_id
from engagement.errors import (
    BadRequestError,
    EngagementError,
    ForbiddenError,
    NotFoundError,
    TooLargeError,
    UnauthorizedError,
)
from engagement.settings import Settings
from media import metrics
from media.engines import Engines
from media.hls_http import hls_router
from media.host_commands import HostCommand
from media.marks_http import marks_router
from media.mediamtx_http import mediamtx_router
from media.problems import problem
from media.webrtc.bounds import SDP_BYTES_MAX
from media.whep_http import whep_router
from media.whip_http import whip_router

BODY_BYTES_MAX = 4 * 1024
"""A command is a handful of numbers."""
LOOPBACK = ("127.0.0.1", "::1")


def _checked_room(room: str) -> str:
    if not is_room_id(room):
        raise ValueError("a room id is 1-64 letters, digits and _.~-")
    return room


Room = Annotated[str, AfterValidator(_checked_room), Path(min_length=1, max_length=64)]


@dataclass
class Serving:
    """What the API answers from."""

    settings: Settings
    engines: Engines
    not_ready: str = "starting"
    """Why not; empty when ready."""
    unsent: Callable[[], int] = field(default=lambda: 0)


class AnchorView(BaseModel):
    """One tie between media time and the server's clock."""

    id: str
    epoch: int
    rate: int = Field(description="RTP ticks a second")
    rtp: int
    pts_ms: float
    wall_ms: float = Field(description="Publisher's clock, Unix ms")
    offset_ms: float = Field(description="Server's clock minus publisher's")
    err_ms: float
    at_us: int = Field(description="Server time from which it holds, Unix µs")
    ended: bool = Field(description="The epoch is over; media time stands still")


class MediaNow(BaseModel):
    """Media time of the newest frame."""

    epoch: int
    pts_ms: float
    server_ms: float
    rtp: int
    uncertainty_ms: float


class ClockView(BaseModel):
    """A room's clock."""

    room: str
    running: bool
    drift_ppm: float | None = Field(description="Publisher against server; null until measured")
    now: MediaNow | None
    anchors: list[AnchorView] = Field(description="Recent ones, the oldest first")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    retry_after_s: float | None = None


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": "Problem", "content": content} for status in statuses}


def _view(anchor: Anchor) -> AnchorView:
    return AnchorView(**{name: getattr(anchor, name) for name in AnchorView.model_fields})


def clock_view(engines: Engines, room: str) -> ClockView:
    """A room's clock as the API shows it. Raises NotFoundError for a room without one."""
    recent = engines.clock.recent(room)
    now = engines.clock.now(room)
    if not recent or now is None:
        raise NotFoundError(f"{room} has no media clock", code="clock_not_found")
    running = not recent[-1].ended
    drift_ppm = engines.estimator(room).drift_ppm if room in engines.publishing() else None
    return ClockView(
        room=room,
        running=running,
        drift_ppm=drift_ppm,
        now=MediaNow(
            epoch=now.epoch,
            pts_ms=round(now.pts_ms, 3),
            server_ms=round(now.server_ms, 3),
            rtp=now.rtp,
            uncertainty_ms=round(now.uncertainty_ms, 3),
        ),
        anchors=[_view(anchor) for anchor in recent],
    )


def create_app(serving: Serving) -> FastAPI:
    """The API; its OpenAPI document is at `/openapi.json`."""
    app = FastAPI(
        title="live-engagement media",
        version="1",
        description="Media clocks of rooms, and the synthetic hosts of this process.",
        docs_url=None,
        redoc_url=None,
    )
    _handle_errors(app)
    _add_probes(app, serving)

    @app.get("/v1/rooms/{room}/clock", responses=_problems(400, 404), tags=["clock"])
    async def clock(room: Room, response: Response) -> ClockView:
        """The room's recent anchors, and the media time of its newest frame. Pages of any origin
        may read it."""
        response.headers["Access-Control-Allow-Origin"] = "*"
        return clock_view(serving.engines, room)

    async def authorized(
        request: Request,
        authorization: Annotated[str | None, Header()] = None,
        origin: Annotated[str | None, Header()] = None,
    ) -> None:
        await _authorize(serving.settings, request, authorization, origin)

    @app.post(
        "/v1/rooms/{room}/synthetic",
        responses=_problems(400, 401, 403, 404, 409, 413, 503),
        dependencies=[Depends(authorized)],
        tags=["synthetic hosts"],
    )
    async def command(room: Room, command: HostCommand) -> ClockView:
        """Have a synthetic host start, republish, step, drift, stall or stop.

        Roles service and admin; where `ENGAGEMENT_AUTH=dev`, anybody on this machine.
        """
        outcome = "refused"
        try:
            serving.engines.obey(room, command)
            outcome = "done"
        finally:
            metrics.COMMANDS.labels(command.do, outcome).inc()
        return clock_view(serving.engines, room)

    app.include_router(whip_router(serving.settings, serving.engines))
    app.include_router(whep_router(serving.settings, serving.engines))
    if serving.engines.mediamtx is not None:
        app.include_router(mediamtx_router(serving.engines.mediamtx))
    app.include_router(hls_router(serving.engines.packager))
    app.include_router(marks_router(serving.settings, serving.engines.packager))
    return app


async def _authorize(
    settings: Settings, request: Request, authorization: str | None, origin: str | None
) -> None:
    """Raises UnauthorizedError or ForbiddenError unless the caller may command hosts."""
    if origin is not None and not {origin, "*"} & set(settings.allowed_origins):
        raise ForbiddenError("pages of other origins command no hosts", code="foreign_origin")
    is_local = request.client is not None and request.client.host in LOOPBACK
    if settings.auth == "dev" and is_local:
        return
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorizedError("Authorization must be Bearer <token>")
    principal = await tokens.verify(token.strip(), settings)
    if principal.role not in ("service", "admin"):
        raise ForbiddenError("only service and admin command synthetic hosts")


def _add_probes(app: FastAPI, serving: Serving) -> None:
    @app.get("/livez", tags=["probes"])
    async def livez() -> dict[str, str]:
        """This process answers."""
        return {"status": "ok"}

    @app.get("/readyz", responses=_problems(503), tags=["probes"])
    async def readyz() -> Response:
        """Anchors get onto the log."""
        reason = serving.not_ready or ("log_unavailable" if serving.unsent() else "")
        body = {"status": "unavailable" if reason else "ok", "reason": reason}
        return JSONResponse(body, 503 if reason else 200)

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        _measure(serving)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _measure(serving: Serving) -> None:
    """Set the gauges that are worth computing only when somebody looks."""
    engines = serving.engines
    rooms = engines.publishing()
    drifts = [abs(engines.estimator(room).drift_ppm or 0.0) for room in rooms]
    clocks = [engines.clock.now(room) for room in rooms]
    for name, published in engines.by_name().items():
        metrics.STREAMS.labels(name).set(len(published))
    metrics.DRIFT_PPM_MAX.set(max(drifts, default=0.0))
    metrics.UNCERTAINTY_MS_MAX.set(max((c.uncertainty_ms for c in clocks if c), default=0.0))
    metrics.EVENTS_DROPPED.set(engines.events_dropped)
    metrics.UNSENT.set(serving.unsent())


def _handle_errors(app: FastAPI) -> None:
    """Every refusal is problem+json, whoever refuses."""

    @app.exception_handler(EngagementError)
    async def engagement_error(request: Request, error: EngagementError) -> Response:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where, *path = (str(part) for part in first["loc"])
        name = "$" if where == "body" else where
        name += "".join(f".{part}" for part in path)
        return problem(BadRequestError(str(first["msg"]), field=name))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        kind = NotFoundError if error.status_code == 404 else BadRequestError
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        answer = problem(kind(str(error.detail), code=code), error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    @app.middleware("http")
    async def bounded(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        path, length = request.url.path, request.headers.get("content-length")
        if length is None and "transfer-encoding" in request.headers:
            return problem(BadRequestError("bodies need a Content-Length", code="length_required"))
        bytes_max = SDP_BYTES_MAX if "/whip" in path or "/whep" in path else BODY_BYTES_MAX
        if length is not None and int(length) > bytes_max:
            return problem(TooLargeError(f"the body has at most {bytes_max} bytes"))
        return await call_next(request)
