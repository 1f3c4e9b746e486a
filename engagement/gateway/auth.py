"""Who is asking: bearer tokens, and the headers of dev mode.

A token is verified once and remembered until it expires. Which key may verify which algorithm is
fixed here, never read from the token: HS256 only with the configured secret, the asymmetric ones
only with a key of the issuer's set, named by its `kid` and used with its own algorithm (RFC 8725).
"""

import hashlib
import time
from typing import Final, cast, get_args

import jwt
import structlog
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.names import is_actor_id
from engagement.domain.requests import Role
from engagement.domain.seen_ids import SeenIds
from engagement.errors import UnauthorizedError, UnavailableError
from engagement.gateway.jwks import KeySet, KeySetError
from engagement.settings import ConfigurationError, Settings

log = structlog.get_logger()

ROLES: Final = frozenset(get_args(Role))
DEV_TOKEN_PREFIX: Final = "dev:"  # noqa: S105 - not a secret
_FAR_FUTURE_S: Final = 1 << 40
SECRET_BYTES_MIN: Final = 32
"""RFC 7518 section 3.2: an HS256 key is at least as long as its hash."""


class Principal(Struct, frozen=True):
    """An authenticated user of the platform."""

    id: str
    role: Role
    expires_s: float | None
    """Unix time at which the token ends; None without a token (dev mode)."""


class Authenticator:
    """Turns tokens and headers into principals. Raises UnauthorizedError for everything else."""

    def __init__(self, settings: Settings, keys: KeySet | None = None) -> None:
        self._dev = settings.auth == "dev"
        self._secret = settings.jwt_secret
        self._audience = settings.jwt_audience or None
        self._issuer = settings.jwt_issuer or None
        self._verified: SeenIds[Principal] = SeenIds(limits.TOKENS_CACHED_MAX // 2)
        self.keys = keys
        if keys is None and settings.jwt_jwks_url:
            self.keys = KeySet(settings.jwt_jwks_url)
        self._check(settings)

    def _check(self, settings: Settings) -> None:
        if self._dev and settings.host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigurationError(
                "ENGAGEMENT_AUTH=dev trusts whoever asks: it listens on loopback only, "
                f"not on {settings.host}"
            )
        if not self._dev and not self._secret and self.keys is None:
            raise ConfigurationError(
                "nobody could sign in: set ENGAGEMENT_JWT_SECRET or ENGAGEMENT_JWT_JWKS_URL, "
                "or ENGAGEMENT_AUTH=dev on your own machine"
            )
        if self._secret and len(self._secret.encode()) < SECRET_BYTES_MIN:
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
        if len(token) > limits.TOKEN_CHARS_MAX:
            raise UnauthorizedError("the token is too long")
        if self._dev and token.startswith(DEV_TOKEN_PREFIX):
            return _parse_dev_token(token.removeprefix(DEV_TOKEN_PREFIX))
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        principal = self._verified.get(digest)
        if principal is None:
            principal = await self._verify(token)
            self._verified.add(digest, principal)
        if principal.expires_s is not None and principal.expires_s <= time.time():
            raise UnauthorizedError("the token has expired", code="token_expired")
        return principal

    async def _verify(self, token: str) -> Principal:
        try:
            algorithm, key = await self._key_of(jwt.get_unverified_header(token))
            claims = jwt.decode(
                token,
                key=key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=limits.TOKEN_LEEWAY_S,
                options={
                    "require": ["exp", "iat", "sub"],
                    "verify_aud": self._audience is not None,
                },
            )
        except jwt.ExpiredSignatureError:
            raise UnauthorizedError("the token has expired", code="token_expired") from None
        except KeySetError as error:
            log.warning("jwks.unreachable", error=str(error))
            raise UnavailableError("the issuer's keys are out of reach", retry_after_s=2) from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            # PyJWT's messages name the claim that fails, never the token.
            raise UnauthorizedError(f"the token does not verify: {error}") from None
        return _principal_of(claims)

    async def _key_of(self, header: dict[str, object]) -> tuple[str, str | jwt.PyJWK]:
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret:
            return "HS256", self._secret
        kid = header.get("kid")
        if self.keys is not None and isinstance(kid, str):
            key = await self.keys.key(kid)
            if key is not None and key.algorithm_name == algorithm:
                return key.algorithm_name, key
        raise UnauthorizedError("the token is not signed by a key we know")


def _principal_of(claims: dict[str, object]) -> Principal:
    subject, role = claims["sub"], claims.get("role", "viewer")
    if not isinstance(subject, str) or not is_actor_id(subject):
        raise UnauthorizedError("the token's `sub` is not a user id")
    if not isinstance(role, str) or role not in ROLES:
        raise UnauthorizedError("the token's `role` is none of ours")
    # PyJWT has seen to it that `exp` is an integer; JSON's are as large as anybody likes.
    expires_s = min(int(cast(int, claims["exp"])), _FAR_FUTURE_S)
    return Principal(subject, cast(Role, role), expires_s)


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
