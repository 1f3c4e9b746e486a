"""Every paid gift once in its room, every reversal once, and nothing that was not paid."""

from typing import Any

from msgspec import Struct

from engagement.domain.events import BATTLE_TOPIC, ROOM_TOPIC, RawFact
from engagement.domain.ledger import Decision
from engagement.domain.ledger_requests import GiftReverse
from engagement.domain.ledger_telling import entry_name
from engagement.verification.difference import Difference
from engagement.verification.once import Due, OnceTold, Place, digest


class RoomSums(Struct):
    """Coins, from the wallet to the room."""

    gifts: int = 0
    paid: int = 0
    reversed: int = 0
    earned: int = 0
    """By hosts, reversals taken off."""
    sent: int = 0
    """By `gift.sent` in rooms."""
    taken_back: int = 0
    """By `gift.reversed` in rooms."""


class GiftsInRooms:
    """What the ledger's decisions make in rooms."""

    types = frozenset(("gift.sent", "gift.reversed"))

    def __init__(self) -> None:
        self.sums = RoomSums()
        self.once = OnceTold(ROOM_TOPIC)
        self.in_battles = OnceTold(BATTLE_TOPIC)
        """What the gifts that were sent to a battle have to make there."""

    def expect(self, partition: int, offset: int, decision: Decision) -> None:
        """Remember what a decision has to make."""
        asked, payment = decision.asked, decision.payment
        if payment is None:
            return
        about = (payment.room, asked.request.id, asked.account)
        shares = (payment.coins, payment.earned, payment.to)
        if isinstance(asked.request, GiftReverse):
            self.sums.reversed += payment.coins
            self.sums.earned -= payment.earned
            says = digest("gift.reversed", *about, asked.request.data.gift, *shares)
        else:
            self.sums.gifts += 1
            self.sums.paid += payment.coins
            self.sums.earned += payment.earned
            counted = (payment.gift, payment.count, payment.unit_price)
            says = digest("gift.sent", *about, *counted, *shares)
        self.once.expect(entry_name(partition, decision.entry), Due(partition, offset, says))

    def take(self, raw: RawFact, data: Any, place: Place) -> Difference | None:
        """A gift or a reversal in a room."""
        if data.transfer.startswith("recorded-"):
            return None  # Of a recording.
        about = (raw.roomid, raw.causationid, raw.actorid)
        shares = (data.coins, data.earned, data.to)
        if raw.type == "gift.reversed":
            says = digest(raw.type, *about, data.request, *shares)
        else:
            says = digest(raw.type, *about, data.gift, data.count, data.unit_price, *shares)
        is_new, difference = self.once.see(data.transfer, raw.id, says, place)
        if is_new and raw.type == "gift.reversed":
            self.sums.taken_back += data.coins
        elif is_new:
            self.sums.sent += data.coins
            if data.battle:
                self._expect_in_battle(raw, data)
        return difference

    def _expect_in_battle(self, raw: RawFact, data: Any) -> None:
        due = self.once.due(data.transfer)
        assert due is not None  # noqa: S101 - it was just seen
        says = digest(data.battle, raw.roomid, raw.causationid, data.coins)
        self.in_battles.expect(data.transfer, Due(due.partition, due.offset, says))
