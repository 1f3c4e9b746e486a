"""`POST /v1/rooms/{room}/events`: the hot route, raw ASGI.

A framework's routing, validation and response would cost more than everything we do here. The
same answers are described for OpenAPI in `openapi.py`.
"""

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, UnsetType
from starlette.types import Receive, Scope, Send

from engagement.domain import limits
from engagement.domain.names import is_room_id
from engagement.domain.rooms import RoomState
from engagement.errors import (
    BadRequestError,
    EngagementError,
    ForbiddenError,
    NotFoundError,
    TooLargeError,
    UnauthorizedError,
)
from engagement.gateway.awaited_gifts import Awaited
from engagement.gateway.gifts_intake import Stored, applied_wait_s, gifts_in
from engagement.gateway.intake import Result, error_of
from engagement.gateway.problems import send_problem
from engagement.gateway.requests_json import Parsed, parse
from engagement.tokens import Principal

if TYPE_CHECKING:
    from engagement.gateway.runtime import Gateway

_ENCODER: Final = msgspec.json.Encoder()
_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_BODY_TYPES: Final = ("", "application/json", "application/x-www-form-urlencoded", "text/plain")
"""What a JSON body may call itself: `curl -d` and bare `fetch` say the last two."""


class UnsupportedBodyError(EngagementError):
    """Compressed, or declared to be something else than JSON."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class BodyTimeoutError(EngagementError):
    """The body did not come in time."""

    status = 408
    code = "request_timeout"
    title = "Request timeout"


class GoneError(Exception):
    """The client left before its body was there."""


async def post_events(
    gateway: "Gateway", scope: Scope, receive: Receive, send: Send, room: str
) -> None:
    """The ASGI endpoint."""
    headers = dict(scope["headers"])
    allowing = _cors(gateway, headers)
    body = Body(headers, receive)
    try:
        try:
            _check_headers(gateway, headers)
            principal = await _principal(gateway, headers)
            text = await body.read(limits.BODY_BYTES_MAX)
        except EngagementError:
            await body.drain()
            raise
        state = await find_room(gateway, room)
        results, waited = await _take(gateway, scope, headers, principal, state, text)
    except EngagementError as error:
        await send_problem(send, error, close=not body.complete, more=allowing)
    except GoneError:
        return
    else:
        answer = b'{"results":%b}' % _ENCODER.encode(results)
        head = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
            *waited,
            *allowing,
        ]
        await send({"type": "http.response.start", "status": 202, "headers": head})
        await send({"type": "http.response.body", "body": answer})


async def _take(
    gateway: "Gateway",
    scope: Scope,
    headers: dict[bytes, bytes],
    principal: Principal,
    state: RoomState,
    body: bytes,
) -> tuple[list[Result], list[tuple[bytes, bytes]]]:
    """Results, and the headers that say for how long a sender's wish to wait was honoured."""
    parsed = parse(body)
    gifts = gifts_in(parsed, principal)
    if not gifts:
        return await _submit(gateway, scope, headers, principal, state, parsed, {}), []
    wait_s = applied_wait_s(headers.get(b"prefer", b"").decode("latin-1"))
    if not wait_s:
        stored = await gateway.gifts.stored(gifts)
        return await _submit(gateway, scope, headers, principal, state, parsed, stored), []
    # Before anything is looked up or written: what happens in between must not be missed.
    with Awaited(gateway.gifts, state.room, gifts) as awaited:
        deadline_s = asyncio.get_running_loop().time() + wait_s
        stored = await gateway.gifts.stored(gifts)
        results = await _submit(gateway, scope, headers, principal, state, parsed, stored)
        results = await awaited.complete(results, deadline_s)
    return results, [(b"preference-applied", b"wait=%d" % wait_s)]


async def _submit(
    gateway: "Gateway",
    scope: Scope,
    headers: dict[bytes, bytes],
    principal: Principal,
    state: RoomState,
    parsed: Parsed,
    stored: Stored,
) -> list[Result]:
    client = scope.get("client")
    submission = gateway.intake.submit(
        principal,
        state,
        parsed,
        address=client[0] if client else "",
        traceparent=_traceparent(headers),
        stored=stored,
    )
    if parsed.single and submission.results[0].status == "rejected":
        raise error_of(submission.results[0], submission.retry_after_s)
    await submission.acknowledged()
    return submission.results


async def find_room(gateway: "Gateway", room: str) -> RoomState:
    """The room, waiting a moment for one that was just opened elsewhere. Raises NotFoundError,
    and UnavailableError while this gateway has not read the log yet."""
    state = gateway.directory.known(room)
    if state is None:
        gateway.check_started()
        state = await gateway.archive.find(room) if is_room_id(room) else None
    if state is None:
        raise NotFoundError("there is no such room", code="room_not_found")
    return state


def _cors(gateway: "Gateway", headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Headers that let a page of an allowed origin read the answer (Fetch standard, 3.2.3)."""
    origin = headers.get(b"origin")
    if origin is None or not gateway.origins.lists(origin.decode("latin-1")):
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"retry-after, preference-applied"),
        (b"vary", b"Origin"),
    ]


def _check_headers(gateway: "Gateway", headers: dict[bytes, bytes]) -> None:
    origin, host = headers.get(b"origin"), headers.get(b"host")
    if origin is not None:
        own = None if host is None else host.decode("latin-1")
        if not gateway.origins.allows(origin.decode("latin-1"), own):
            raise ForbiddenError("this origin is not allowed", code="origin_not_allowed")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedBodyError("send the body uncompressed", field="Content-Encoding")
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if kind not in _BODY_TYPES and not kind.endswith("+json"):
        raise UnsupportedBodyError("the body must be application/json", field="Content-Type")


async def _principal(gateway: "Gateway", headers: dict[bytes, bytes]) -> Principal:
    named = [headers.get(name) for name in (b"authorization", b"x-user", b"x-role")]
    texts = [None if value is None else value.decode("latin-1") for value in named]
    principal = await gateway.auth.by_headers(*texts)
    if principal is None:
        raise UnauthorizedError("say who is asking: Authorization: Bearer <token>")
    return principal


class Body:
    """The body of one request: read within bounds, or thrown away so that its sender, who may
    still be writing, gets to read the answer."""

    __slots__ = ("_declared", "_receive", "complete")

    def __init__(self, headers: dict[bytes, bytes], receive: Receive) -> None:
        self._declared = headers.get(b"content-length", b"0")
        self._receive = receive
        self.complete = False

    async def read(self, bytes_max: int) -> bytes:
        """All of it. Raises TooLargeError, before reading where the length is declared, and
        BodyTimeoutError."""
        if not self._declared.isdigit() or int(self._declared) > bytes_max:
            raise _too_large(bytes_max)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(limits.BODY_TIMEOUT_S):
                while not self.complete:
                    parts.append(await self._next())
                    size += len(parts[-1])
                    if size > bytes_max:
                        raise _too_large(bytes_max)
        except TimeoutError:
            raise BodyTimeoutError("the body did not come in time") from None
        if not size:
            raise BadRequestError("the body is empty")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def drain(self) -> None:
        """Read the rest and forget it, if that is bounded and does not take long."""
        left = limits.DRAIN_BYTES_MAX
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.DRAIN_TIMEOUT_S):
                while not self.complete and left > 0:
                    left -= len(await self._next())

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        self.complete = not message.get("more_body")
        part: bytes = message.get("body", b"")
        return part


def _too_large(bytes_max: int) -> TooLargeError:
    return TooLargeError(f"a body has at most {bytes_max} bytes", code="body_too_large")


def _traceparent(headers: dict[bytes, bytes]) -> str | UnsetType:
    value = headers.get(b"traceparent")
    if value is None:
        return UNSET
    text = value.decode("latin-1")
    return text if _TRACEPARENT.fullmatch(text) else UNSET
