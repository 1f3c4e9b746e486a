"""What a run asks of money: gifts from wallets to hosts, and deposits, drawn from a seed."""

import random
import uuid
from typing import Any

PRICES = {"fault-rose": 7, "fault-cake": 30, "fault-rocket": 250}
"""Gifts that the run puts into the catalogue itself."""
COMBO_GIFT = "fault-rose"
HOST_SHARE_PERCENT = 45
GIVERS = 400
SOCKET_PREFIX = "socket-"
"""Users of sockets, two in each room, are givers, too."""
POOR_EVERY = 10
POOR_COINS = 60
"""Of every tenth wallet: it runs dry, so that gifts are refused."""
MEAN_COINS = 40
"""What one gift of the plan costs, about."""
COINS_MIN = 5_000
RICHNESS = 3
"""A wallet holds so many times what its owner is likely to spend."""
TOP_UP_COINS = 100
TOP_UPS_MAX = 300
COMBO_SHARE = 0.2


def giver(number: int) -> str:
    """One who sends gifts over HTTP."""
    return f"giver-{number:03d}"


def socket_user(number: int, room: str) -> str:
    """One who sends over a socket of this room."""
    return f"{SOCKET_PREFIX}{number}-in-{room}"


def wallets(gifts: int, sockets: list[str]) -> dict[str, int]:
    """Users and the coins that they buy at the beginning."""
    users = [giver(number) for number in range(GIVERS)] + sockets
    coins = max(COINS_MIN, gifts // len(users) * MEAN_COINS * RICHNESS)
    return {
        user: POOR_COINS if number % POOR_EVERY == 0 else coins for number, user in enumerate(users)
    }


class GiftOrders:
    """Draws gifts, and who sends them."""

    def __init__(self, draw: random.Random) -> None:
        self._random = draw

    def order(self) -> dict[str, Any]:
        """The data of a `gift.send`."""
        name = self._random.choices(list(PRICES), (80, 17, 3))[0]
        order: dict[str, Any] = {"gift": name, "count": self._random.choice((1, 1, 1, 2, 5))}
        if name == COMBO_GIFT and self._random.random() < COMBO_SHARE:
            order["combo"] = f"combo-{self._random.randrange(4)}"
        return order

    def giver(self) -> str:
        """Somebody with a wallet."""
        return giver(self._random.randrange(GIVERS))


def fresh_id(draw: random.Random) -> str:
    """A request id."""
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))
