"""What the ledger tells a room, for tests of gifts in rooms."""

from typing import Any

from engagement.domain import requests
from engagement.domain.events import Decided
from tests.unit.domain_parts import HOST, Rooms, request_id

PRICE_COINS = 10


class GiftedRooms(Rooms):
    """Rooms, and one ledger that books every gift."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def paid(
        self, actor: str = "viv", gift: str = "rose", count: int = 1, **more: Any
    ) -> requests.GiftPaid:
        """The next entry of the ledger."""
        self.entries += 1
        known = {"ledger": 0, "entry": self.entries, **more}
        number = known.pop("number", -1)
        data = requests.PaidGift(
            gift=gift, name=gift.title(), tier=1, animation=gift, count=count,
            unit_price=PRICE_COINS, coins=count * PRICE_COINS, earned=count, to=HOST, **known,
        )  # fmt: skip
        return requests.GiftPaid(id=request_id(number), data=data)

    def tap(self, actor: str = "viv", gift: str = "rose", count: int = 1, **more: Any) -> Decided:
        """A paid gift; the fact of it, after whatever else it brings."""
        how = {name: more.pop(name) for name in ("at_us", "room") if name in more}
        *_, sent = self.when(self.paid(actor, gift, count, **more), actor, **how)
        return sent

    def take_back(self, sent: Decided, **more: Any) -> list[Decided]:
        """The ledger reverses a gift."""
        self.entries += 1
        data = requests.ReversedGift(
            gift=sent.id, coins=sent.data.coins, earned=sent.data.earned, to=HOST,
            sent_us=sent.at_us, ledger=0, entry=self.entries, reason="a mistake",
            **more,
        )  # fmt: skip
        request = requests.GiftTakenBack(id=request_id(), data=data)
        return self.when(request, str(sent.actor))
