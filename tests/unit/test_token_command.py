"""`engagement token`: what it prints is let in, and a weak secret signs nothing."""

import pytest

from engagement.errors import BadRequestError, UnauthorizedError
from engagement.settings import Settings
from engagement.tokens import signed as token
from engagement.tokens import verify

SECRET = "0123456789abcdef0123456789abcdef"


async def test_a_token_is_let_in_as_who_it_says() -> None:
    settings = Settings(jwt_secret=SECRET, jwt_issuer="https://issuer.example")
    text = token(settings, user="ana", role="moderator", lifetime_s=60)
    principal = await verify(text, settings)
    assert (principal.id, principal.role) == ("ana", "moderator")


def test_two_tokens_are_never_the_same() -> None:
    settings = Settings(jwt_secret=SECRET)
    assert len({token(settings, user="ana", role="viewer", lifetime_s=60) for _ in range(2)}) == 2


async def test_a_token_of_another_secret_is_not_let_in() -> None:
    forged = token(Settings(jwt_secret=SECRET[::-1]), user="ana", role="viewer", lifetime_s=60)
    with pytest.raises(UnauthorizedError):
        await verify(forged, Settings(jwt_secret=SECRET))


@pytest.mark.parametrize("secret", ["", SECRET[:-1]])
def test_a_secret_that_is_too_short_signs_nothing(secret: str) -> None:
    with pytest.raises(BadRequestError, match="ENGAGEMENT_JWT_SECRET"):
        token(Settings(jwt_secret=secret), user="ana", role="viewer", lifetime_s=60)
