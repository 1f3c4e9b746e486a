"""A gift of a recording, as one row tells it."""

import re
from typing import Final

from msgspec import Struct

PIECES_PER_ROW_MAX: Final = 1_000_000
"""The longest streaks that platforms allow are some ten thousand."""
TIERS: Final = ((1_000, 3), (100, 2))
"""From this price on a gift has this tier; below all of them, the first."""
UNPRICED_TIER: Final = 2
"""A paid message: its currency is none of ours, and everybody saw it."""
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


class RecordedGift(Struct, frozen=True):
    """A gift as a platform told it, and when its streak was merged, what it adds."""

    gift: str
    """A name in the manner of our catalogue's."""
    name: str
    """What viewers saw."""
    unit_price: int | None
    """In the platform's coins; None when the recording tells none, or an amount of money."""
    count: int
    """Pieces; of a frame of a streak, the streak's running total."""
    cumulative: bool = False
    """Whether it is a frame of a streak."""
    streak: str = ""
    """What the platform calls the streak; empty when it does not."""
    closes: bool = False
    """Whether it is the closing frame of a streak."""
    before: int = 0
    """Total of the streak before this gift; told by `streaks`."""

    @property
    def added(self) -> int:
        """Pieces that this gift adds."""
        return self.count - self.before

    @property
    def tier(self) -> int:
        """How large it is shown."""
        price = self.unit_price
        if price is None:
            return UNPRICED_TIER
        return next((tier for least, tier in TIERS if price >= least), 1)


def slug(name: str) -> str:
    """A name in the manner of our catalogue's: lower-case letters, digits and hyphens."""
    return _NOT_IN_NAMES.sub("-", name.lower()).strip("-")[:60].strip("-") or "gift"
