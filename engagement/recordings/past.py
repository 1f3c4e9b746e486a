"""What the log knows of a room before an import."""

from typing import Any

from msgspec import Struct, field

from engagement.domain.events import ClockAnchored, RawFact, RoomOpened
from engagement.domain.gift_events import GiftSent
from engagement.domain.requests import RECORDED
from engagement.domain.rooms import entry_of
from engagement.recordings.streaks import Key


class RoomPast(Struct):
    """Requests with facts, whether the room is open, its epochs, its recorded gifts and battles."""

    open_as: str = ""
    """`live` or `recorded` while the room is open."""
    host: str = ""
    openings: int = 0
    epoch_of_request: dict[str, int] = field(default_factory=dict)
    """Requests that have facts already, and the epoch these are stamped in."""
    newest_epoch: int = 0
    newest_gift: int = 0
    """Recorded gifts are numbered: a room takes a lower number for a repeat."""
    streaks: dict[Key, int] = field(default_factory=dict)
    """Totals of recorded streaks, by sender, gift and streak."""
    ended_battles: set[str] = field(default_factory=set)

    def learn(self, fact: RawFact, data: Any) -> None:
        """Take in one fact of the room, in the order of the log."""
        if fact.causationid:
            self.epoch_of_request.setdefault(fact.causationid, fact.mediaepoch)
        self.newest_epoch = max(self.newest_epoch, fact.mediaepoch)
        if isinstance(data, RoomOpened):
            self.openings += 1
            self.open_as = "recorded" if data.recorded else "live"
            self.host = data.host
        elif fact.type == "room.closed":
            self.open_as = ""
        elif isinstance(data, ClockAnchored):
            self.newest_epoch = max(self.newest_epoch, data.epoch)
        elif isinstance(data, GiftSent):
            self._learn_gift(fact.actorid, data)
        elif fact.type == "battle.ended":
            self.ended_battles.add(data.battle)

    def _learn_gift(self, actor: str, data: GiftSent) -> None:
        ledger, number = entry_of(data.transfer)
        if ledger != RECORDED or number <= self.newest_gift:
            return
        self.newest_gift = number
        if data.combo_name:
            key = (actor, data.gift, data.combo_name)
            self.streaks[key] = self.streaks.get(key, 0) + data.count
