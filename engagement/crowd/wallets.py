"""Coins for a crowd: deposits of a service principal, as any platform's backend makes them."""

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid5

from engagement.crowd.clients import Poster
from engagement.crowd.reenact import SERVICE
from engagement.crowd.shop import Shop
from engagement.domain import limits
from engagement.errors import ConflictError

AT_ONCE: Final = 8


async def shop_of(poster: Poster) -> Shop:
    """What the gateway sells. Raises ConnectionError or ConflictError when it does not say."""
    answer = await poster.call("GET", "/v1/gifts", user=SERVICE, role="service")
    if not answer.is_success:
        raise ConflictError(f"there is no catalogue: {answer.text[:300]}", code="no_catalogue")
    return Shop(answer.json()["items"])


async def fill_wallets(poster: Poster, needed: Mapping[str, int], run: UUID) -> None:
    """Deposit what everybody needs, once for each run. Raises ConflictError when it is refused."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def fill(user: str, coins: int) -> None:
        path = f"/v1/accounts/{quote(user, safe='')}/deposits"
        for number, part in enumerate(_parts(coins)):
            deposit = {"id": str(uuid5(run, f"deposit {number} {user}")), "coins": part}
            body = {**deposit, "source": "promotion"}
            async with turn:
                answer = await poster.call("POST", path, user=SERVICE, role="service", body=body)
            if not answer.is_success:
                raise ConflictError(f"{user} got no coins: {answer.text[:300]}", code="no_coins")

    await asyncio.gather(*(fill(user, coins) for user, coins in needed.items()))


def _parts(coins: int) -> list[int]:
    """Deposits that are not too large."""
    most = limits.DEPOSIT_COINS_MAX
    return [most] * (coins // most) + ([coins % most] if coins % most else [])
