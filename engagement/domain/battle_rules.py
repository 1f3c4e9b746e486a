"""How gifts become points. A rule is a pure function; another one is one entry in the table."""

from collections.abc import Callable, Sequence
from typing import Final

from engagement.domain.battle_events import ScoreWindow

ScoreRule = Callable[[int, int, Sequence[ScoreWindow]], int]
"""Coins, µs since the start, and the battle's windows → points."""


def multiplier_at(since_us: int, windows: Sequence[ScoreWindow]) -> int:
    """How much points count at this time since the start: the best of the windows that are open."""
    open_now = [
        window.multiplier
        for window in windows
        if window.after_s * 1_000_000 <= since_us < (window.after_s + window.duration_s) * 1_000_000
    ]
    return max(open_now, default=1)


def _coins(coins: int, since_us: int, windows: Sequence[ScoreWindow]) -> int:
    return coins * multiplier_at(since_us, windows)


def _gifts(coins: int, since_us: int, windows: Sequence[ScoreWindow]) -> int:
    return multiplier_at(since_us, windows)


RULES: Final[dict[str, ScoreRule]] = {"coins": _coins, "gifts": _gifts}
"""`coins`: every coin is a point. `gifts`: every tap is, whatever it costs."""
