"""Refusals as problem+json (RFC 9457)."""

from fastapi import Response
from fastapi.responses import JSONResponse

from engagement.errors import EngagementError


def problem(error: EngagementError, status: int | None = None) -> Response:
    """The answer that an error is; `status` where HTTP has a better one than the error's own."""
    body = error.problem()
    headers = {}
    if status is not None:
        body["status"] = status
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return JSONResponse(
        body, body["status"], headers=headers, media_type="application/problem+json"
    )
