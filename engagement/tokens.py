"""Bearer tokens for processes beside the gateway: the same rules, verified one at a time.

Which key may verify which algorithm is fixed here, never read from the token (RFC 8725): HS256
only with the configured secret, asymmetric ones only with a key of the issuer's set.
"""

from functools import lru_cache
from typing import Any, Final, get_args

import jwt
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.names import is_actor_id
from engagement.domain.requests import Role
from engagement.errors import UnauthorizedError, UnavailableError
from engagement.settings import Settings

_ASYMMETRIC: Final = frozenset({"EdDSA", "RS256", "ES256"})
_ROLES: Final = frozenset(get_args(Role))
_JWKS_TIMEOUT_S: Final = 5


class Principal(Struct, frozen=True):
    """Who signed in."""

    sub: str
    role: str
    expires_at: float
    """Unix time, s."""


def verify(token: str, settings: Settings) -> Principal:
    """The principal of a JWT. May fetch the issuer's keys: call it off the event loop.

    Raises UnauthorizedError for a token that does not verify and UnavailableError when the
    issuer's keys are out of reach.
    """
    if len(token) > limits.TOKEN_CHARS_MAX:
        raise UnauthorizedError("the token is too long")
    try:
        algorithm, key = _key_of(token, settings)
        claims = jwt.decode(
            token,
            key=key,
            algorithms=[algorithm],
            audience=settings.jwt_audience or None,
            issuer=settings.jwt_issuer or None,
            leeway=limits.TOKEN_LEEWAY_S,
            options={
                "require": ["exp", "iat", "sub"],
                "verify_aud": bool(settings.jwt_audience),
            },
        )
    except jwt.PyJWKClientConnectionError:
        raise UnavailableError("the issuer's keys are out of reach", retry_after_s=2) from None
    except jwt.ExpiredSignatureError:
        raise UnauthorizedError("the token has expired", code="token_expired") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        # PyJWT's messages name the claim that fails, never the token.
        raise UnauthorizedError(f"the token does not verify: {error}") from None
    return _principal_of(claims)


def _key_of(token: str, settings: Settings) -> tuple[str, Any]:
    header = jwt.get_unverified_header(token)
    algorithm = header.get("alg")
    if algorithm == "HS256" and settings.jwt_secret:
        return "HS256", settings.jwt_secret
    if algorithm in _ASYMMETRIC and settings.jwt_jwks_url and isinstance(header.get("kid"), str):
        key = _key_set(settings.jwt_jwks_url).get_signing_key(header["kid"])
        if key.algorithm_name == algorithm:
            return key.algorithm_name, key
    raise UnauthorizedError("the token is not signed by a key we know")


@lru_cache(maxsize=4)
def _key_set(url: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(url, lifespan=int(limits.JWKS_AGE_S), timeout=_JWKS_TIMEOUT_S)


def _principal_of(claims: dict[str, Any]) -> Principal:
    subject, role = claims["sub"], claims.get("role", "viewer")
    if not isinstance(subject, str) or not is_actor_id(subject):
        raise UnauthorizedError("the token's `sub` is not a user id")
    if not isinstance(role, str) or role not in _ROLES:
        raise UnauthorizedError("the token's `role` is none of ours")
    return Principal(subject, role, float(claims["exp"]))
