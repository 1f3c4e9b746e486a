"""Every gift to a battle has scored or was late, once; points and totals are as the rule says."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct, field

from engagement.domain.battle_events import BattleInvited, BattleStarted
from engagement.domain.battle_rules import RULES
from engagement.domain.events import BATTLE_TOPIC, RawFact, unix_us
from engagement.verification.difference import Difference
from engagement.verification.once import OnceTold, Place, digest


class BattleSums(Struct):
    """Coins, from the room to the battle."""

    scored: int = 0
    late: int = 0
    """Of gifts that scored nothing: accepted after the deadline, or behind the barrier."""
    points: int = 0
    ended: int = 0
    """Battles."""


class _Battle(Struct):
    """What of a battle its points follow from."""

    invited: BattleInvited | None = None
    started: BattleStarted | None = None
    points: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By room."""
    contributions: set[str] = field(default_factory=set)
    """Transfers."""
    ended_by: str = ""
    """The event."""


class GiftsInBattles:
    """Folds the battle topic as far as coins and points go."""

    types = frozenset(
        (
            "battle.invited", "battle.started", "battle.contributed", "battle.contribution.late",
            "battle.ended",
        )
    )  # fmt: skip

    def __init__(self, once: OnceTold, sums: BattleSums) -> None:
        self.once = once
        self.sums = sums
        self._battles: dict[str, _Battle] = {}

    def take(self, raw: RawFact, data: Any, place: Place) -> Difference | None:
        """The next fact of a battle."""
        battle = self._battles.setdefault(raw.battleid, _Battle())
        return _CHANGES[raw.type](self, battle, raw, data, place)

    def _invited(self, battle: _Battle, raw: RawFact, data: Any, place: Place) -> Difference | None:
        battle.invited = data
        return None

    def _started(self, battle: _Battle, raw: RawFact, data: Any, place: Place) -> Difference | None:
        battle.started = data
        return None

    def _late(self, battle: _Battle, raw: RawFact, data: Any, place: Place) -> Difference | None:
        is_new, difference = self.once.see(data.transfer, raw.id, _says(raw, data), place)
        if is_new:
            self.sums.late += data.coins
        return difference

    def _contributed(
        self, battle: _Battle, raw: RawFact, data: Any, place: Place
    ) -> Difference | None:
        is_new, difference = self.once.see(data.transfer, raw.id, _says(raw, data), place)
        if is_new:
            self.sums.scored += data.coins
            self.sums.points += data.points
        if data.transfer not in battle.contributions:
            # Also of gifts that were paid after the snapshot: they are in the final totals.
            battle.contributions.add(data.transfer)
            battle.points[data.room] += data.points
        return difference or _wrong_points(battle, raw, data, place)

    def _ended(self, battle: _Battle, raw: RawFact, data: Any, place: Place) -> Difference | None:
        if battle.ended_by == raw.id:
            return None
        if battle.ended_by:
            return _different(place, f"{raw.battleid} ended by {battle.ended_by} and by {raw.id}")
        battle.ended_by = raw.id
        self.sums.ended += 1
        told = {room: points for room, points in data.totals.items() if points}
        summed = {room: points for room, points in battle.points.items() if points}
        if told != summed:
            return _different(
                place, f"{raw.battleid} ended at {told}, its contributions make {summed}"
            )
        return None


def _says(raw: RawFact, data: Any) -> bytes:
    return digest(raw.battleid, data.room, data.gift, data.coins)


def _wrong_points(battle: _Battle, raw: RawFact, data: Any, place: Place) -> Difference | None:
    if battle.invited is None or battle.started is None:
        return _different(place, f"{raw.battleid} scored before it started")
    since_us = unix_us(raw.time) - unix_us(battle.started.started)
    points = RULES[battle.invited.rule](data.coins, since_us, battle.invited.windows)
    if points == data.points:
        return None
    what = f"transfer {data.transfer} scored {data.points} points, the rule says {points}"
    return _different(place, what)


def _different(place: Place, what: str) -> Difference:
    return Difference(BATTLE_TOPIC, place.partition, place.offset, what)


_CHANGES: Final[dict[str, Callable[..., Difference | None]]] = {
    "battle.invited": GiftsInBattles._invited,
    "battle.started": GiftsInBattles._started,
    "battle.contributed": GiftsInBattles._contributed,
    "battle.contribution.late": GiftsInBattles._late,
    "battle.ended": GiftsInBattles._ended,
}
