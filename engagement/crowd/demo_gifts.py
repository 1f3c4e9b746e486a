"""What the demo's people give: streaks of small gifts, now and then a large one.

The livelier it is in the room (a battle, and its last seconds), the more of everything. The same
seed gives the same gifts; time is counted in the crowd's own steps.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

STREAKS_MAX: Final = 2
"""At once in a calm room; three more for each degree of heat."""
STREAK_CHANCE: Final = 0.02
"""Per step."""
TAPS_MIN: Final = 3
TAPS_MAX: Final = 22
BLAZING_TAPS_MAX: Final = 70
"""Some people do not stop."""
TAP_S: Final = (0.2, 0.6)
"""Between two taps of a streak: well within the combo window."""
MIDDLE_CHANCE: Final = 0.004
LARGE_CHANCE: Final = 0.0012
CALM_HEAT: Final = 0.5
"""Above it nobody gives a large one: it alone would decide a battle. That is left to visitors."""

DEFAULT_TIERS: Final[dict[int, tuple[str, ...]]] = {
    1: ("rose", "spark", "coffee", "paper-crane", "lantern", "confetti"),
    2: ("bouquet", "neon-fox", "hot-air-balloon"),
    3: ("sports-car", "whale", "galaxy"),
}
"""Of the catalogue that a gateway offers unless told otherwise."""


@dataclass
class _Streak:
    """Somebody taps the same gift again and again."""

    who: str
    gift: str
    left: int
    next_s: float


@dataclass(frozen=True)
class Tap:
    """Somebody gives something."""

    who: str
    gift: str
    count: int = 1


class Givers:
    """The generous among a room's people."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._streaks: list[_Streak] = []
        self._tiers = DEFAULT_TIERS

    def offer(self, catalogue: Iterable[dict[str, Any]]) -> None:
        """Choose from these gifts, as `GET /v1/gifts` lists them."""
        tiers: dict[int, tuple[str, ...]] = {}
        for gift in catalogue:
            tier = int(gift["tier"])
            tiers[tier] = (*tiers.get(tier, ()), str(gift["gift"]))
        self._tiers = tiers

    def step(self, at_s: float, heat: float, present: Sequence[str]) -> list[Tap]:
        """Gifts of the next step; `heat` is 0 in a calm room and about 3 when a battle ends."""
        if not present:
            return []
        self._streaks = [streak for streak in self._streaks if streak.who in present]
        self._begin(at_s, heat, present)
        taps = []
        for streak in self._streaks:
            if streak.next_s > at_s:
                continue
            taps.append(Tap(streak.who, streak.gift))
            streak.left -= 1
            streak.next_s = at_s + self._chance.uniform(*TAP_S)
        self._streaks = [streak for streak in self._streaks if streak.left > 0]
        large = 0.0 if heat > CALM_HEAT else LARGE_CHANCE
        for tier, likely in ((2, MIDDLE_CHANCE * (1 + 2 * heat)), (3, large)):
            if self._tiers.get(tier) and self._chance.random() < likely:
                who = self._chance.choice(present)
                taps.append(Tap(who, self._chance.choice(self._tiers[tier])))
        return taps

    def _begin(self, at_s: float, heat: float, present: Sequence[str]) -> None:
        chance = self._chance
        if not self._tiers.get(1) or len(self._streaks) >= STREAKS_MAX + 3 * heat:
            return
        if chance.random() >= STREAK_CHANCE * (1 + 3 * heat):
            return
        # Cheap ones are given most.
        gifts = self._tiers[1]
        gift = gifts[min(chance.randrange(len(gifts)), chance.randrange(len(gifts)))]
        most = BLAZING_TAPS_MAX if chance.random() < 0.1 * (1 + heat) else TAPS_MAX
        taps = chance.randint(TAPS_MIN, most)
        self._streaks.append(_Streak(chance.choice(present), gift, taps, at_s))
