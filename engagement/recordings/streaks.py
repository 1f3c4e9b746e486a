"""What the gifts of a recording come to.

Platforms tell a streak by frames that carry its running total, and often by a closing frame that
repeats the last one. Frames are doubled, lost and reordered, and many a streak has no end in the
recording. So a streak is merged by its maximum: whatever raises it is a gift of that many more, and
all other frames are repeats. The sum of these gifts is the greatest total that was seen.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, structs

from engagement.recordings.gifts import RecordedGift
from engagement.recordings.rows import Row

STREAK_SILENCE_US: Final = 10_000_000
"""Streaks without a name of their own are told apart by this: a platform closes one after 3 to 4 s
without a tap."""

Key = tuple[str, str, str]
"""Sender, gift and streak."""


class GiftAccount(Struct):
    """What became of the gift rows."""

    rows: int = 0
    gifts: int = 0
    pieces: int = 0
    coins: int = 0
    unpriced: int = 0
    """Gifts whose price in coins the recording does not tell."""
    streaks: int = 0
    merged: int = 0
    """Rows that told nothing new of their streak."""
    gaps: int = 0
    """Gifts of several pieces in the middle of a streak: quick taps, or frames that are missing."""
    without_beginning: int = 0
    """Streaks whose first frame counts more than one."""
    without_end: int = 0
    """Streaks whose closing frame is missing."""


class _Streak(Struct):
    name: str
    total: int = 0
    last_us: int = 0
    closed: bool = False


def merge_streaks(rows: Sequence[Row]) -> tuple[list[Row], GiftAccount]:
    """Rows with running totals turned into gifts; both in the order of their time."""
    merging = _Merging()
    kept = [row for each in rows if (row := merging.take(each)) is not None]
    account = merging.account
    account.streaks = len(merging.streaks)
    account.without_end = sum(not streak.closed for streak in merging.streaks.values())
    return kept, account


class _Merging:
    def __init__(self) -> None:
        self.account = GiftAccount()
        self.streaks: dict[Key, _Streak] = {}
        self._nameless: dict[tuple[str, str], _Streak] = {}
        """The newest streak of each sender and gift, where the platform names none."""

    def take(self, row: Row) -> Row | None:
        """The row as it counts; None when it tells nothing new."""
        gift = row.gift
        if gift is None:
            return row
        self.account.rows += 1
        if gift.cumulative:
            gift = self._raise(self._streak_of(row, gift), gift, row.sent_us)
            if gift is None:
                return None
        self._count(gift)
        return structs.replace(row, gift=gift)

    def _streak_of(self, row: Row, gift: RecordedGift) -> _Streak:
        """The streak of a frame; a new one when it begins one."""
        name = gift.streak
        if not name:
            known = self._nameless.get((row.user, gift.gift))
            if known is not None and _goes_on(known, gift, row.sent_us):
                return known
            name = f"at-{row.sent_us // 1000}"
        streak = self.streaks.get((row.user, gift.gift, name))
        if streak is None:
            streak = self.streaks[row.user, gift.gift, name] = _Streak(name)
            self.account.without_beginning += gift.count > 1
        if not gift.streak:
            self._nameless[row.user, gift.gift] = streak
        return streak

    def _raise(self, streak: _Streak, gift: RecordedGift, at_us: int) -> RecordedGift | None:
        """What a frame adds to its streak; None when nothing."""
        before = streak.total
        streak.last_us = at_us
        streak.closed = streak.closed or gift.closes
        if gift.count <= before:
            self.account.merged += 1
            return None
        streak.total = gift.count
        self.account.gaps += before > 0 and gift.count - before > 1
        return structs.replace(gift, streak=streak.name, before=before)

    def _count(self, gift: RecordedGift) -> None:
        account = self.account
        account.gifts += 1
        account.pieces += gift.added
        if gift.unit_price is None:
            account.unpriced += 1
        else:
            account.coins += gift.added * gift.unit_price


def _goes_on(streak: _Streak, gift: RecordedGift, at_us: int) -> bool:
    """Whether a frame that names no streak belongs to the one before it."""
    if at_us - streak.last_us > STREAK_SILENCE_US:
        return False
    return not streak.closed or (gift.closes and gift.count == streak.total)
