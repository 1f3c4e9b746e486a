"""What WHIP and WHEP have in common over HTTP: who asks, from which page, with what body."""

from typing import Annotated, Final, cast, get_args
from urllib.parse import urlsplit

from fastapi import Path, Request, Response
from pydantic import AfterValidator

from engagement import tokens
from engagement.domain.names import is_actor_id, is_room_id
from engagement.domain.requests import Role
from engagement.errors import (
    BadRequestError,
    TooLargeError,
    UnauthorizedError,
)
from engagement.settings import Settings
from engagement.tokens import Principal
from media.engine import Negotiation, SessionId
from media.webrtc.bounds import SDP_BYTES_MAX

SDP: Final = "application/sdp"
SDP_FRAGMENT: Final = "application/trickle-ice-sdpfrag"
PUBLISHING_ROLES: Final = ("host", "service", "admin")
LOOPBACK: Final = ("127.0.0.1", "::1")
DEV_TOKEN_PREFIX: Final = "dev:"  # noqa: S105 - not a secret
DEV_USER: Final = "host"
"""Who asks where nobody is asked who they are (`ENGAGEMENT_AUTH=dev`) and they do not say."""
PREFLIGHT_S: Final = 600


def _checked_room(room: str) -> str:
    if not is_room_id(room):
        raise ValueError("a room id is 1-64 letters, digits and _.~-")
    return room


Room = Annotated[str, AfterValidator(_checked_room), Path(min_length=1, max_length=64)]
SessionPath = Annotated[str, Path(min_length=1, max_length=64)]


class UnsupportedTypeError(BadRequestError):
    """A body of another media type."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class PreconditionFailedError(BadRequestError):
    """The session's ICE has another entity tag (RFC 9725 section 4.3.1)."""

    status = 412
    code = "precondition_failed"
    title = "Precondition failed"


async def principal_of(request: Request, settings: Settings, role: Role) -> Principal | None:
    """Who asks, by token or by the headers of dev mode; None when they do not say.

    `role` is what dev mode takes them for. Raises UnauthorizedError for a token that is no good.
    """
    authorization = request.headers.get("authorization")
    is_local = request.client is not None and request.client.host in LOOPBACK
    is_dev = settings.auth == "dev" and is_local
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer":
            raise UnauthorizedError("Authorization must be Bearer <token>")
        return await principal_of_token(token, settings, is_local=is_local, role=role)
    if is_dev:
        named = request.headers.get("x-role") or role
        return _dev_principal(request.headers.get("x-user") or DEV_USER, named)
    return None


async def principal_of_token(
    token: str, settings: Settings, *, is_local: bool, role: str
) -> Principal:
    """Who has this token; in dev mode `dev:<user>` will do for one who is on this machine.

    Raises UnauthorizedError.
    """
    if settings.auth == "dev" and is_local and token.startswith(DEV_TOKEN_PREFIX):
        user, _, named = token.removeprefix(DEV_TOKEN_PREFIX).partition(":")
        return _dev_principal(user, named or role)
    return await tokens.verify(token, settings)


def _dev_principal(user: str, role: str) -> Principal:
    if not is_actor_id(user) or role not in get_args(Role):
        raise UnauthorizedError("no such user or role")
    return Principal(user, cast(Role, role), None)


def is_own_page(request: Request, settings: Settings) -> bool:
    """Whether a browser's page may act for its user: our own pages, and those that are allowed.

    Our own come from the gateway, under the name by which this process is called.
    """
    origin = request.headers.get("origin")
    if origin is None or {origin, "*"} & set(settings.allowed_origins):
        return True
    page, own = urlsplit(origin), urlsplit(f"//{request.headers.get('host', '')}")
    if settings.auth == "dev" and page.hostname not in (*LOOPBACK, "localhost"):
        return False  # A name that was rebound to this machine is not ours.
    return page.hostname == own.hostname and page.port in (settings.port, own.port, None)


async def body_of(request: Request, media_type: str) -> str:
    """The body. Raises UnsupportedTypeError, TooLargeError, BadRequestError."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise UnsupportedTypeError(f"the body has to be {media_type}")
    data = await request.body()
    if len(data) > SDP_BYTES_MAX:
        raise TooLargeError(f"the body has at most {SDP_BYTES_MAX} bytes")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise BadRequestError("SDP is ASCII", code="bad_sdp") from None


def is_sdp(request: Request) -> bool:
    """Whether a whole description is sent, rather than a fragment."""
    given = request.headers.get("content-type", "").partition(";")[0]
    return given.strip().lower() == SDP


async def fragment_of(request: Request, session: SessionId) -> Negotiation:
    """A PATCH's candidates. Raises PreconditionFailedError for another entity tag."""
    wanted = request.headers.get("if-match")
    if wanted not in (None, "*", entity_tag(session)):
        raise PreconditionFailedError("the session's ICE is not that one")
    return Negotiation(await body_of(request, SDP_FRAGMENT), "fragment")


def entity_tag(session: SessionId) -> str:
    """Of the session's ICE: one, as it is never restarted."""
    return f'"{session[-8:]}"'


def allow_page(response: Response, origin: str | None) -> Response:
    """Have a page read the answer, and what WHIP and WHEP say in its headers; None: no page."""
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "Location, ETag, Link, Retry-After"
    response.headers["Vary"] = "Origin"
    response.headers["Cache-Control"] = "no-store"
    return response


def preflight(origin: str | None) -> Response:
    """The answer to OPTIONS (RFC 9725 section 4.2, and what browsers ask before they ask)."""
    headers = {
        "Access-Control-Allow-Methods": "POST, PATCH, DELETE",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, X-User, X-Role",
        "Access-Control-Max-Age": str(PREFLIGHT_S),
        "Accept-Post": SDP,
        "Accept-Patch": f"{SDP_FRAGMENT}, {SDP}",
    }
    return allow_page(Response(status_code=204, headers=headers), origin)
