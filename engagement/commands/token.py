"""`engagement token`: a JWT for trying things out, signed with `ENGAGEMENT_JWT_SECRET`."""

import time
import uuid

import jwt

from engagement.errors import BadRequestError
from engagement.settings import Settings
from engagement.tokens import SECRET_BYTES_MIN


def token(settings: Settings, *, user: str, role: str, lifetime_s: int) -> str:
    """A token for `user`. Raises BadRequestError without a secret that is long enough."""
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
