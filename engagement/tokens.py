"""Bearer tokens: who signed in, by a JWT that one of our keys verifies.

Which key may verify which algorithm is fixed here, never read from the token: HS256 only with the
configured secret, the asymmetric ones only with a key of the issuer's set, named by its `kid` and
used with its own algorithm (RFC 8725).
"""

import time
import uuid
from functools import lru_cache
from typing import Final, cast, get_args

import jwt
import structlog
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.names import is_actor_id
from engagement.domain.requests import Role
from engagement.errors import BadRequestError, UnauthorizedError, UnavailableError
from engagement.key_set import KeySet, KeySetError
from engagement.settings import Settings

log = structlog.get_logger()

ROLES: Final = frozenset(get_args(Role))
SECRET_BYTES_MIN: Final = 32
"""RFC 7518 section 3.2: an HS256 key is at least as long as its hash."""
_FAR_FUTURE_S: Final = 1 << 40


class Principal(Struct, frozen=True):
    """An authenticated user of the platform."""

    id: str
    role: Role
    expires_s: float | None
    """Unix time at which the token ends; None without a token (dev mode)."""


class TokenVerifier:
    """Turns tokens into principals."""

    def __init__(
        self, *, secret: str, audience: str, issuer: str, keys: KeySet | None = None
    ) -> None:
        """An empty audience or issuer is not asked for; an empty secret verifies nothing."""
        self._secret = secret
        self._audience = audience or None
        self._issuer = issuer or None
        self.keys = keys

    async def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises UnauthorizedError when it does not verify and UnavailableError when the issuer's
        keys are out of reach.
        """
        if len(token) > limits.TOKEN_CHARS_MAX:
            raise UnauthorizedError("the token is too long")
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


async def verify(token: str, settings: Settings) -> Principal:
    """The principal of a JWT, for processes that verify one now and then.

    Raises what `TokenVerifier.verify` does.
    """
    verifier = _verifier(
        settings.jwt_secret, settings.jwt_audience, settings.jwt_issuer, settings.jwt_jwks_url
    )
    return await verifier.verify(token)


def signed(settings: Settings, *, user: str, role: str, lifetime_s: int) -> str:
    """A token for `user`, signed with the configured secret.

    Raises BadRequestError without a secret that is long enough.
    """
    if len(settings.jwt_secret.encode()) < SECRET_BYTES_MIN:
        raise BadRequestError(
            f"set ENGAGEMENT_JWT_SECRET to at least {SECRET_BYTES_MIN} bytes", code="no_secret"
        )
    now = int(time.time())
    claims = {
        "sub": user,
        "role": role,
        "aud": settings.jwt_audience,
        "iat": now,
        "exp": now + lifetime_s,
        "jti": str(uuid.uuid4()),
    }
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    return jwt.encode(claims, settings.jwt_secret, algorithm="HS256")


@lru_cache(maxsize=4)
def _verifier(secret: str, audience: str, issuer: str, jwks_url: str) -> TokenVerifier:
    keys = KeySet(jwks_url) if jwks_url else None
    return TokenVerifier(secret=secret, audience=audience, issuer=issuer, keys=keys)


def _principal_of(claims: dict[str, object]) -> Principal:
    subject, role = claims["sub"], claims.get("role", "viewer")
    if not isinstance(subject, str) or not is_actor_id(subject):
        raise UnauthorizedError("the token's `sub` is not a user id")
    if not isinstance(role, str) or role not in ROLES:
        raise UnauthorizedError("the token's `role` is none of ours")
    # PyJWT has seen to it that `exp` is an integer; JSON's are as large as anybody likes.
    expires_s = min(int(cast(int, claims["exp"])), _FAR_FUTURE_S)
    return Principal(subject, cast(Role, role), expires_s)
