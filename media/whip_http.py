"""WHIP: publish by one POST (RFC 9725).

Hosts, and services for them, publish; a room has one publisher, who may publish anew. Trickled
candidates come by PATCH; ICE is not restarted. DELETE ends the session.
"""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response

from engagement.errors import EngagementError, ForbiddenError, NotFoundError, UnauthorizedError
from engagement.settings import Settings
from engagement.tokens import Principal
from media.engine import PublishRequest, SessionId
from media.engines import Engines, WebRtcEngine
from media.problems import problem
from media.sdp_http import (
    PUBLISHING_ROLES,
    SDP,
    Room,
    SessionPath,
    allow_page,
    body_of,
    entity_tag,
    fragment_of,
    is_own_page,
    preflight,
    principal_of,
)
from media.webrtc import metrics


def whip_router(settings: Settings, engines: Engines) -> APIRouter:
    """The routes of publishers."""
    router = APIRouter(prefix="/v1/rooms/{room}/whip", tags=["whip"])

    @router.options("", include_in_schema=False)
    @router.options("/{session}", include_in_schema=False)
    async def options(request: Request) -> Response:
        return preflight(_own_page(request, settings))

    @router.post("", status_code=201, response_class=Response)
    async def publish(room: Room, request: Request) -> Response:
        """Publish: an SDP offer in, an SDP answer and the session's URL out."""

        async def work(principal: Principal) -> Response:
            offer = await body_of(request, SDP)
            engine = engines.publishing_engine(room)
            grant = await engine.publish(PublishRequest(room, "whip", principal.id, offer))
            headers = {
                "Location": f"/v1/rooms/{room}/whip/{grant.session}",
                "ETag": entity_tag(grant.session),
            }
            return Response(grant.answer_sdp, 201, headers=headers, media_type=SDP)

        answer = await _answered(request, settings, work)
        metrics.JOINS.labels("whip", str(answer.status_code)).inc()
        return answer

    _add_sessions(router, settings, engines)
    return router


def _add_sessions(router: APIRouter, settings: Settings, engines: Engines) -> None:
    def owned(room: str, session: str, principal: Principal) -> tuple[WebRtcEngine, SessionId]:
        engine = engines.holding(SessionId(session))
        name, owner = engine.room_and_owner(SessionId(session))
        if name != room or not session.startswith("whip-"):
            raise NotFoundError("no such session", code="session_not_found")
        if owner != principal.id and principal.role == "host":
            raise ForbiddenError("the session is somebody else's")
        return engine, SessionId(session)

    @router.patch("/{session}", status_code=204, response_class=Response)
    async def trickle(room: Room, session: SessionPath, request: Request) -> Response:
        """More candidates for a session."""

        async def work(principal: Principal) -> Response:
            engine, own = owned(room, session, principal)
            await engine.negotiate(own, await fragment_of(request, own))
            return Response(status_code=204)

        return await _answered(request, settings, work)

    @router.delete("/{session}", status_code=200, response_class=Response)
    async def leave(room: Room, session: SessionPath, request: Request) -> Response:
        """End a session."""

        async def work(principal: Principal) -> Response:
            engine, own = owned(room, session, principal)
            await engine.stop(own)
            return Response(status_code=200)

        return await _answered(request, settings, work)


async def _answered(
    request: Request, settings: Settings, work: Callable[[Principal], Awaitable[Response]]
) -> Response:
    """What a publisher gets: `work` done, or a refusal, readable to our own pages."""
    page = _own_page(request, settings)
    try:
        if page is None:
            raise ForbiddenError("pages of other origins publish nothing", code="foreign_origin")
        answer = await work(await _publisher(request, settings))
    except EngagementError as error:
        answer = problem(error)
    return allow_page(answer, page)


def _own_page(request: Request, settings: Settings) -> str | None:
    """The origin that may read the answer: the page's own, where it is one of ours."""
    return request.headers.get("origin", "*") if is_own_page(request, settings) else None


async def _publisher(request: Request, settings: Settings) -> Principal:
    """Who publishes. Raises UnauthorizedError, ForbiddenError."""
    principal = await principal_of(request, settings, "host")
    if principal is None:
        raise UnauthorizedError("publishing needs Authorization: Bearer <token>")
    if principal.role not in PUBLISHING_ROLES:
        raise ForbiddenError("only hosts publish")
    return principal
