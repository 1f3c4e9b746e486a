"""Who is asking: bearer tokens, and the headers of dev mode.

A token is verified once and remembered until it expires.
"""

import hashlib
import time
from typing import Final, cast

from engagement.domain import limits
from engagement.domain.names import is_actor_id
from engagement.domain.requests import Role
from engagement.domain.seen_ids import SeenIds
from engagement.errors import UnauthorizedError
from engagement.key_set import KeySet
from engagement.settings import ConfigurationError, Settings
from engagement.tokens import ROLES, SECRET_BYTES_MIN, Principal, TokenVerifier

__all__ = ["Authenticator", "Principal"]

DEV_TOKEN_PREFIX: Final = "dev:"  # noqa: S105 - not a secret


class Authenticator:
    """Turns tokens and headers into principals. Raises UnauthorizedError for everything else."""

    def __init__(self, settings: Settings, keys: KeySet | None = None) -> None:
        self._dev = settings.auth == "dev"
        if keys is None and settings.jwt_jwks_url:
            keys = KeySet(settings.jwt_jwks_url)
        self.keys = keys
        self._verifier = TokenVerifier(
            secret=settings.jwt_secret,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            keys=keys,
        )
        self._verified: SeenIds[Principal] = SeenIds(limits.TOKENS_CACHED_MAX // 2)
        self._check(settings)

    def _check(self, settings: Settings) -> None:
        secret = settings.jwt_secret
        if self._dev and settings.host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigurationError(
                "ENGAGEMENT_AUTH=dev trusts whoever asks: it listens on loopback only, "
                f"not on {settings.host}"
            )
        if not self._dev and not secret and self.keys is None:
            raise ConfigurationError(
                "nobody could sign in: set ENGAGEMENT_JWT_SECRET or ENGAGEMENT_JWT_JWKS_URL, "
                "or ENGAGEMENT_AUTH=dev on your own machine"
            )
        if secret and len(secret.encode()) < SECRET_BYTES_MIN:
            raise ConfigurationError(
                f"ENGAGEMENT_JWT_SECRET has fewer than {SECRET_BYTES_MIN} bytes"
            )

    async def by_headers(
        self, authorization: str | None, user: str | None, role: str | None
    ) -> Principal | None:
        """The principal that the headers name; None when they name nobody."""
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise UnauthorizedError("Authorization must be Bearer <token>")
            return await self.by_token(token.strip())
        if user is None:
            return None
        if not self._dev:
            raise UnauthorizedError("X-User is trusted only where ENGAGEMENT_AUTH=dev")
        return _dev_principal(user, role or "viewer")

    async def by_token(self, token: str) -> Principal:
        """The principal of a token; in dev mode also of `dev:<user>[:<role>]`."""
        if self._dev and token.startswith(DEV_TOKEN_PREFIX):
            return _parse_dev_token(token.removeprefix(DEV_TOKEN_PREFIX))
        if len(token) > limits.TOKEN_CHARS_MAX:
            raise UnauthorizedError("the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        principal = self._verified.get(digest)
        if principal is None:
            principal = await self._verifier.verify(token)
            self._verified.add(digest, principal)
        if principal.expires_s is not None and principal.expires_s <= time.time():
            raise UnauthorizedError("the token has expired", code="token_expired")
        return principal


def _parse_dev_token(text: str) -> Principal:
    user, colon, role = text.rpartition(":")
    if colon and role in ROLES:
        return _dev_principal(user, role)
    return _dev_principal(text, "viewer")


def _dev_principal(user: str, role: str) -> Principal:
    if not is_actor_id(user):
        raise UnauthorizedError("X-User is not a user id")
    if role not in ROLES:
        raise UnauthorizedError("X-Role is none of ours")
    return Principal(user, cast(Role, role), None)
