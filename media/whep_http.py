"""WHEP: play by one POST (draft-ietf-wish-whep, the client's offer).

Anybody may watch, from a page of any origin. Who cannot be served is told when to come back, and
where the same picture is to be had as HLS. A session's URL is a secret of its viewer: who knows it
may end it.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter, Request, Response

from engagement.errors import EngagementError, NotFoundError, UnavailableError
from engagement.settings import Settings
from media.engine import Negotiation, PlayRequest, SessionId
from media.engines import Engines, WebRtcEngine
from media.problems import problem
from media.sdp_http import (
    SDP,
    Room,
    SessionPath,
    allow_page,
    body_of,
    entity_tag,
    fragment_of,
    is_sdp,
    preflight,
    principal_of,
)
from media.webrtc import metrics
from media.webrtc.frame_source import NotForWebRtcError

ANY_PAGE: Final = "*"
NOBODY: Final = "anonymous"


def whep_router(settings: Settings, engines: Engines) -> APIRouter:
    """The routes of viewers."""
    router = APIRouter(prefix="/v1/rooms/{room}/whep", tags=["whep"])

    @router.options("", include_in_schema=False)
    @router.options("/{session}", include_in_schema=False)
    async def options() -> Response:
        return preflight(ANY_PAGE)

    @router.post("", status_code=201, response_class=Response)
    async def play(room: Room, request: Request) -> Response:
        """Play: an SDP offer in, an SDP answer and the session's URL out. Where the room's engine
        makes the offers (an external one), a POST without a body is answered by one, to be
        answered by a PATCH of the session. 503 with a link to HLS when there is no room."""

        async def work() -> Response:
            principal = await principal_of(request, settings, "viewer")
            viewer = NOBODY if principal is None else principal.id
            engine = engines.watching_engine(room)
            is_empty = not int(request.headers.get("content-length", "0"))
            wants_offer = is_empty and "server" in engine.capabilities.offers
            offer = None if wants_offer else await body_of(request, SDP)
            grant = await engine.play(PlayRequest(room, ("whep",), viewer, offer))
            headers = {
                "Location": f"/v1/rooms/{room}/whep/{grant.session}",
                "ETag": entity_tag(grant.session),
            }
            sdp = grant.answer_sdp or grant.offer_sdp
            return Response(sdp, 201, headers=headers, media_type=SDP)

        answer = await _answered(work)
        if answer.status_code in (UnavailableError.status, NotForWebRtcError.status):
            url = request.url.replace(path=f"/v1/rooms/{room}/hls/index.m3u8", query="")
            answer.headers["Link"] = f'<{url}>; rel="alternate"'
        metrics.JOINS.labels("whep", str(answer.status_code)).inc()
        return answer

    _add_sessions(router, engines)
    return router


def _add_sessions(router: APIRouter, engines: Engines) -> None:
    def held(room: str, session: str) -> tuple[WebRtcEngine, SessionId]:
        engine = engines.holding(SessionId(session))
        name, _ = engine.room_and_owner(SessionId(session))
        if name != room or not session.startswith("whep-"):
            raise NotFoundError("no such session", code="session_not_found")
        return engine, SessionId(session)

    @router.patch("/{session}", status_code=204, response_class=Response)
    async def trickle(room: Room, session: SessionPath, request: Request) -> Response:
        """More candidates for a session, or the answer to its offer."""

        async def work() -> Response:
            engine, own = held(room, session)
            if is_sdp(request):
                message = Negotiation(await body_of(request, SDP), "answer")
            else:
                message = await fragment_of(request, own)
            await engine.negotiate(own, message)
            return Response(status_code=204)

        return await _answered(work)

    @router.delete("/{session}", status_code=200, response_class=Response)
    async def leave(room: Room, session: SessionPath) -> Response:
        """End a session."""

        async def work() -> Response:
            engine, own = held(room, session)
            await engine.stop(own)
            return Response(status_code=200)

        return await _answered(work)


async def _answered(work: Callable[[], Awaitable[Response]]) -> Response:
    """`work` done, or a refusal, readable to every page."""
    try:
        answer = await work()
    except EngagementError as error:
        answer = problem(error)
    return allow_page(answer, ANY_PAGE)
