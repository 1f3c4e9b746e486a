"""Errors over HTTP: RFC 9457 problem details, for every status that is not a success."""

import math
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Send

from engagement.errors import EngagementError

log = structlog.get_logger()

PROBLEM_TYPE: Final = "application/problem+json"

_CODES: Final = {404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}


class InternalError(EngagementError):
    """A bug of ours."""


def headers_of(error: EngagementError) -> dict[str, str]:
    """Headers that go with an error besides the content type."""
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="engagement"'
    return headers


def problem_response(error: EngagementError) -> Response:
    """The response to an error."""
    return Response(
        msgspec.json.encode(error.problem()),
        status_code=error.status,
        headers=headers_of(error),
        media_type=PROBLEM_TYPE,
    )


async def send_problem(
    send: Send,
    error: EngagementError,
    *,
    close: bool = False,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """The same for raw ASGI routes, with `more` headers; `close` ends the connection because its
    body was not read."""
    body = msgspec.json.encode(error.problem())
    headers = [(name.encode(), value.encode()) for name, value in headers_of(error).items()]
    headers.append((b"content-type", PROBLEM_TYPE.encode()))
    headers.append((b"content-length", str(len(body)).encode()))
    headers.extend(more)
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_problem_to_handshake(send: Send, error: EngagementError) -> None:
    """The same instead of accepting a WebSocket (ASGI extension `websocket.http.response`)."""
    headers = [(name.encode(), value.encode()) for name, value in headers_of(error).items()]
    headers.append((b"content-type", PROBLEM_TYPE.encode()))
    start = {"type": "websocket.http.response.start", "status": error.status, "headers": headers}
    await send(start)
    body = msgspec.json.encode(error.problem())
    await send({"type": "websocket.http.response.body", "body": body})


def install_problems(app: FastAPI) -> None:
    """Make every error of this app a problem."""
    app.add_exception_handler(EngagementError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


async def _on_ours(request: Request, error: Exception) -> Response:
    return problem_response(cast(EngagementError, error))


async def _on_invalid(request: Request, error: Exception) -> Response:
    first = cast(RequestValidationError, error).errors()[0]
    where: Sequence[Any] = first.get("loc", ())
    return _plain(
        422,
        "invalid_parameter",
        "Invalid parameter",
        str(first.get("msg", "invalid")),
        field=".".join(str(part) for part in where[1:]) or None,
    )


async def _on_http(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        headers["allow"] = ", ".join(sorted(_methods_of(request)))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
    code = _CODES.get(error.status_code, "error")
    title = str(error.detail)
    response = _plain(error.status_code, code, title, f"{request.method} {request.url.path}")
    response.headers.update(headers)
    return response


def _methods_of(request: Request) -> set[str]:
    """What may be done at this path, by any route (Starlette names only the first one's)."""
    methods = {
        method
        for method in ("GET", "PUT", "POST", "DELETE")
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


async def _on_bug(request: Request, error: Exception) -> Response:
    # The traceback is logged by the server, which re-raises after this answer.
    return problem_response(InternalError("this is our fault; it was logged"))


def _plain(status: int, code: str, title: str, detail: str, field: str | None = None) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:live-engagement:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if field is not None:
        body["field"] = field
    return Response(msgspec.json.encode(body), status_code=status, media_type=PROBLEM_TYPE)
