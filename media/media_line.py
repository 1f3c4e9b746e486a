"""The line of one epoch: media time over server time, as frames that arrive draw it. Pure.

`base_ms` is the server time of media time 0 over the fastest path of the last 30 s: the frame of
media time p could have been here at `base_ms + p`. Real frames come later, by jitter, queues and
stalls; *staleness* is how far the newest frame is behind the line at an instant. It is what a
stamp is wrong by, so everything that is announced is about it.
"""

from engagement.domain import limits
from media.clock_formulas import Unwrapper
from media.clock_windows import RecentMaximum, RecentMinimum


class MediaLine:
    """Frames of one epoch, newest first forgotten; times in ms."""

    __slots__ = (
        "_fastest",
        "_fastest_of_late",
        "_staleness",
        "_unwrapper",
        "newest_arrival_ms",
        "newest_pts_ms",
        "newest_ticks",
        "opened_ms",
        "rate",
    )

    def __init__(self, ticks: int, rate: int, bits: int, arrival_ms: float) -> None:
        self.rate = rate
        self._unwrapper = Unwrapper(ticks, bits)
        self._fastest = RecentMinimum(limits.CLOCK_OFFSET_WINDOW_MS)
        self._fastest_of_late = RecentMinimum(limits.CLOCK_SPREAD_WINDOW_MS)
        self._staleness = RecentMaximum(limits.CLOCK_SPREAD_WINDOW_MS)
        self.opened_ms = arrival_ms
        self.newest_ticks = ticks
        self.newest_pts_ms = 0.0
        self.newest_arrival_ms = arrival_ms
        self._fastest.add(arrival_ms, arrival_ms)
        self._fastest_of_late.add(arrival_ms, arrival_ms)
        self._staleness.add(arrival_ms, arrival_ms)

    def pts_ms(self, ticks: int) -> float:
        """Media time of a frame, from its timestamp as it came."""
        return self._unwrapper.ticks(ticks) * 1000 / self.rate

    def take(self, ticks: int, pts_ms: float, arrival_ms: float) -> None:
        """Take in a frame that is newer than all before."""
        self._staleness.add(arrival_ms, arrival_ms - self.newest_pts_ms)
        self._fastest.add(arrival_ms, arrival_ms - pts_ms)
        self._fastest_of_late.add(arrival_ms, arrival_ms - pts_ms)
        self._unwrapper.advance(ticks)
        self.newest_ticks = ticks
        self.newest_pts_ms = pts_ms
        self.newest_arrival_ms = arrival_ms

    @property
    def base_ms(self) -> float:
        """Server time of media time 0, by the fastest path."""
        return self._fastest.value

    @property
    def recent_base_ms(self) -> float:
        """The same over the last 2 s alone: less sure, and not behind a drift."""
        return self._fastest_of_late.value

    @property
    def spread_ms(self) -> float:
        """The worst staleness of the last 2 s: a frame interval, and what jitter adds to it."""
        return self._staleness.value - self.base_ms

    def has_lost_time(self) -> bool:
        """Whether all recent frames are so late that they will not catch up."""
        return self.recent_base_ms - self.base_ms > limits.CLOCK_REBASE_MS

    def rebase(self) -> None:
        """Tie the line to the recent frames alone."""
        self._fastest.forget_before(self.newest_arrival_ms - limits.CLOCK_SPREAD_WINDOW_MS)
