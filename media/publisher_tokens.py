"""Who may publish by a token alone: for ingests that are not HTTP."""

from engagement.errors import ForbiddenError, UnauthorizedError
from engagement.settings import Settings
from media.sdp_http import LOOPBACK, PUBLISHING_ROLES, principal_of_token


async def publisher_by_token(settings: Settings, room: str, token: str, address: str) -> str:
    """The publisher's user id.

    Raises UnauthorizedError without a token that verifies, ForbiddenError for one who is no host.
    """
    if not token:
        raise UnauthorizedError(f"a token is missing: publish to live/{room}?token=<token>")
    principal = await principal_of_token(token, settings, is_local=address in LOOPBACK, role="host")
    if principal.role not in PUBLISHING_ROLES:
        raise ForbiddenError("only hosts publish")
    return principal.id
