"""What a run asks: gifts from wallets to hosts, drawn from a seed."""

import random
import uuid
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

ROOMS = 20
"""Two of them, and a third sometimes, make a battle."""
PRICES = {"fault-rose": 7, "fault-cake": 30, "fault-rocket": 250}
"""Gifts that the run puts into the catalogue itself."""
WALLET_COINS = 60_000
POOR_COINS = 60
"""Of every tenth wallet: it runs dry, so that gifts are refused."""
REPEATED_SHARE = 0.10
ALTERED_SHARE = 0.01
BATCH = 25

Outcome = Literal["paid", "refused", "unknown"]


class Gift(Struct):
    """One gift that somebody sends, and what its sender was told."""

    id: str
    room: str
    actor: str
    gift: str
    count: int
    acknowledged: bool = False
    told: list[str] = []
    """Outcomes that an answer named."""


def room_names() -> list[str]:
    """The rooms of a run."""
    return [f"money-{number:02d}" for number in range(ROOMS)]


def host_of(room: str) -> str:
    """Who opened the room and earns its gifts."""
    return f"host-of-{room}"


def wallets(count: int) -> dict[str, int]:
    """Users and the coins that they buy at the beginning."""
    return {
        f"giver-{number:03d}": POOR_COINS if number % 10 == 0 else WALLET_COINS
        for number in range(count)
    }


def gifts(seed: int, count: int, givers: list[str]) -> Iterator[list[Gift]]:
    """Gifts in arrays of one room, as a platform's backend posts them."""
    draw = random.Random(seed)
    names, weights = list(PRICES), (80, 17, 3)
    while count > 0:
        room = draw.choice(room_names())
        size = min(count, draw.choice((1, 5, BATCH, BATCH)))
        count -= size
        yield [
            Gift(
                id=str(uuid.UUID(int=draw.getrandbits(128), version=4)),
                room=room,
                actor=draw.choice(givers),
                gift=draw.choices(names, weights)[0],
                count=draw.choice((1, 1, 1, 2, 5)),
            )
            for _ in range(size)
        ]
