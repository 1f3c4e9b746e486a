"""What platforms tell, as rows of one shape; and how their fields are read."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from engagement.domain import limits
from engagement.recordings.battles import BattleFrame
from engagement.recordings.gifts import RecordedGift
from engagement.recordings.names import actor_name

Kind = Literal["comment", "like", "join", "gift", "battle"]

EARLIEST_US: Final = 946_684_800_000_000
"""2000-01-01. Earlier is a wrong unit or no time at all."""
LATEST_US: Final = 4_102_444_800_000_000
"""2100-01-01."""
LIKES_PER_ROW_MAX: Final = 1_000_000
"""More than all thumbs of a large room in the moment that one row stands for."""


class SkippedRowError(Exception):
    """A row that becomes no event; `reason` is counted in the report."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoEventError(SkippedRowError):
    """A row of good form that becomes no event here; the same one again is merged, not skipped."""


class Row(msgspec.Struct, frozen=True):
    """One thing that somebody did in the recorded room."""

    line: int
    kind: Kind
    user: str
    sent_us: int
    text: str = ""
    count: int = 1
    media_offset_ms: int | None = None
    bears_clock: bool = True
    """Whether its media offset may define the clock: paid messages are shown with a delay."""
    source_id: str = ""
    """The platform's own id of the event, if it has one."""
    source_room: str = ""
    """The platform's own id of the room, if it has one."""
    gift: RecordedGift | None = None
    battle: BattleFrame | None = None

    def identity(self) -> tuple[Any, ...]:
        """What makes two rows the same event: the platform's id, or sender, time and content."""
        if self.source_id:
            return (self.kind, self.source_id)
        about = (self.kind, self.user, self.sent_us, self.text, self.count)
        gift = self.gift
        if gift is None:
            return about
        return (*about, gift.gift, gift.name, gift.streak, gift.count, gift.closes)


Parser = Callable[[int, dict[str, Any]], Iterable[Row]]
"""Line number and row → events. Raises SkippedRowError."""


def text_of(value: dict[str, Any], name: str) -> str:
    """A text that must not be empty. Raises SkippedRowError."""
    text = value.get(name)
    if not isinstance(text, str) or not text.strip():
        raise SkippedRowError(f"no_{name}")
    return text


def number_of(value: dict[str, Any], name: str) -> int | float:
    """A number; exporters write whole ones as floats, too. Raises SkippedRowError."""
    number = value.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SkippedRowError(f"no_{name}")
    return number


def time_us(value: dict[str, Any], name: str, us_per_unit: int) -> int:
    """A Unix time in µs. Raises SkippedRowError."""
    number = number_of(value, name)
    if abs(number) > LATEST_US:
        raise SkippedRowError("absurd_time")
    return round(number * us_per_unit)


def count_of(value: dict[str, Any], name: str, most: int = LIKES_PER_ROW_MAX) -> int:
    """How many likes or gifts a row stands for. Raises SkippedRowError."""
    count = number_of(value, name)
    if not 1 <= count <= most or count != int(count):
        raise SkippedRowError("bad_count")
    return int(count)


def price_of(value: dict[str, Any], name: str) -> int | None:
    """What one gift costs in the platform's coins; None when the row does not tell.

    Raises SkippedRowError.
    """
    if value.get(name) is None:
        return None
    price = number_of(value, name)
    if not 0 <= price <= limits.GIFT_PRICE_COINS_MAX or price != int(price):
        raise SkippedRowError("bad_price")
    return int(price)


def optional_offset_ms(value: dict[str, Any]) -> int | None:
    """The media offset in ms, or None when the row has none."""
    offset = value.get("media_offset_ms")
    if offset is None:
        return None
    if isinstance(offset, bool) or not isinstance(offset, int | float) or abs(offset) > 1e12:
        raise SkippedRowError("bad_media_offset_ms")
    return round(offset)


def actor_of(value: dict[str, Any], name: str = "user") -> str:
    """An actor id of ours, by `actor_name`. Raises SkippedRowError."""
    return actor_name(text_of(value, name))
