"""The hook that MediaMTX asks who may publish (`authMethod: http`)."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from media.mediamtx.engine import AuthQuestion, MediaMtxEngine


class MediaMtxQuestion(BaseModel):
    """As MediaMTX posts it; what is not used here is left out."""

    action: str = Field(max_length=16)
    path: str = Field(max_length=256)
    token: str = Field("", max_length=4096)
    password: str = Field("", max_length=4096)
    ip: str = Field("", max_length=64)


def mediamtx_router(engine: MediaMtxEngine) -> APIRouter:
    """`/v1/mediamtx/auth`, for MediaMTX' `authHTTPAddress`."""
    router = APIRouter(prefix="/v1/mediamtx", tags=["mediamtx"])

    @router.post("/auth", status_code=204, response_class=Response)
    async def auth(question: MediaMtxQuestion) -> Response:
        """Whether somebody may publish or read: 204, or a problem that says why not."""
        await engine.authorize(
            AuthQuestion(
                question.action, question.path, question.token, question.password, question.ip
            )
        )
        return Response(status_code=204)

    return router
