"""Marks in a room's stream: what a platform wants to be found in its playlists and recordings.

A mark becomes EXT-X-DATERANGE in the live playlist, as long as its segment is in the window, and
in the recording for good. Whoever follows the topics of gifts and battles posts them, as a
platform's own backend; this process itself knows nothing but media.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from engagement.errors import ForbiddenError, UnauthorizedError
from engagement.settings import Settings
from media.engine import TimedMark
from media.hls import bounds
from media.hls.packager import Packager
from media.sdp_http import Room, is_own_page, principal_of

MARKING_ROLES: Final = ("service", "admin")

Text = Annotated[str, Field(min_length=1, max_length=bounds.MARK_TEXT_CHARS_MAX)]


class Mark(BaseModel):
    """Something that happened at a media time."""

    id: Text = Field(description="The same id twice is one mark")
    epoch: int = Field(ge=0, lt=2**53)
    pts_ms: float = Field(ge=0, lt=2**53, allow_inf_nan=False)
    kind: Text = Field(description="CLASS of the date range: `gift`, `battle`")
    duration_ms: float = Field(0, ge=0, lt=2**53, allow_inf_nan=False)
    attributes: dict[Text, Text] = Field({}, max_length=bounds.MARK_ATTRIBUTES_MAX)


def marks_router(settings: Settings, packager: Packager) -> APIRouter:
    """The route of marks."""
    router = APIRouter(prefix="/v1/rooms/{room}/marks", tags=["hls"])

    @router.post("", status_code=204, response_class=Response)
    async def mark(room: Room, mark: Mark, request: Request) -> Response:
        """Put a mark into the stream; 404 where the epoch is not in the live window.

        Roles service and admin; where `ENGAGEMENT_AUTH=dev`, anybody on this machine.
        """
        if not is_own_page(request, settings):
            raise ForbiddenError("pages of other origins mark nothing", code="foreign_origin")
        principal = await principal_of(request, settings, "service")
        if principal is None:
            raise UnauthorizedError("marks need Authorization: Bearer <token>")
        if principal.role not in MARKING_ROLES:
            raise ForbiddenError("only service and admin mark a stream")
        packager.mark(
            TimedMark(
                id=mark.id,
                room=room,
                epoch=mark.epoch,
                pts_ms=mark.pts_ms,
                kind=mark.kind,
                duration_ms=mark.duration_ms,
                attributes=mark.attributes,
            )
        )
        return Response(status_code=204)

    return router
