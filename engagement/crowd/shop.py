"""The gifts that a gateway sells, and which of them is most like a recorded one. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from engagement.recordings.gifts import RecordedGift, slug


class Shop:
    """A catalogue, as `GET /v1/gifts` lists it."""

    def __init__(self, items: Iterable[Mapping[str, Any]] = ()) -> None:
        self._coins = {str(item["gift"]): int(item["coins"]) for item in items}

    def price(self, gift: str) -> int:
        """Coins of one; KeyError when it is not sold."""
        return self._coins[gift]

    def most_like(self, gift: RecordedGift) -> str:
        """The gift of the same name, or else of the nearest price; empty when nothing is sold."""
        named = slug(gift.name)
        if named in self._coins or not self._coins:
            return named if named in self._coins else ""
        wanted = gift.unit_price or 0
        return min(self._coins, key=lambda sold: (abs(self._coins[sold] - wanted), sold))
