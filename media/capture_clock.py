"""The publisher's own clock: when it says it captured each frame, and how far it is from ours.

It never moves the media line, which arrivals alone draw; it is told to clients that know capture
times only (`wall_ms`, `offset_ms` of an anchor), and it is the witness that tells a jump of the
media timeline from frames that are merely late. Pure; times in ms.
"""

from typing import Literal

from engagement.domain import limits
from media.clock_formulas import capture_ms_by_report, unix_ms_of_ntp
from media.clock_windows import RecentMinimum

Verdict = Literal["steady", "clock_stepped", "media_stepped"]


class CaptureClock:
    """Capture times of one epoch, from sender reports or as frames carry them."""

    __slots__ = ("_ahead_ms", "_offset", "_rate", "_report", "newest_capture_ms")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._report: tuple[float, int] | None = None
        self._offset = RecentMinimum(limits.CLOCK_OFFSET_WINDOW_MS)
        self._ahead_ms: float | None = None
        """Capture time minus media time, as last announced."""
        self.newest_capture_ms: float | None = None

    def report(self, ntp64: int, rtp: int) -> None:
        """Take in an RTCP sender report (RFC 3550 section 6.4.1)."""
        self._report = (unix_ms_of_ntp(ntp64), rtp)

    def capture_ms(self, ticks: int, carried_ms: float | None) -> float | None:
        """Capture time of a frame: as it carries it (abs-capture-time), else by report."""
        if carried_ms is not None:
            return carried_ms
        if self._report is None:
            return None
        return capture_ms_by_report(*self._report, ticks, self._rate)

    @property
    def offset_ms(self) -> float | None:
        """Server clock minus publisher clock, with the least delay of 30 s; None when unknown."""
        return None if self._ahead_ms is None else self._offset.value

    def take(self, capture_ms: float, pts_ms: float, arrival_ms: float) -> None:
        """Take in a frame's capture time."""
        self._offset.add(arrival_ms, arrival_ms - capture_ms)
        self.newest_capture_ms = capture_ms
        if self._ahead_ms is None:
            self._ahead_ms = capture_ms - pts_ms

    def judge(
        self, capture_ms: float, pts_ms: float, arrival_ms: float, *, is_late: bool
    ) -> Verdict:
        """What a frame's capture time says, before it is taken in.

        Capture and media time that part by more than a step: one of the two has jumped. A frame
        that is late by media time but not by capture time shows that media time did.
        """
        if self._ahead_ms is None:
            return "steady"
        if abs(capture_ms - pts_ms - self._ahead_ms) <= limits.ANCHOR_STEP_MS:
            return "steady"
        capture_late_ms = arrival_ms - capture_ms - self._offset.value
        is_on_time = abs(capture_late_ms) <= limits.ANCHOR_STEP_MS * 2
        return "media_stepped" if is_late and is_on_time else "clock_stepped"

    def restart(self) -> None:
        """The publisher's clock was set: what was known of its offset is void."""
        self._offset = RecentMinimum(limits.CLOCK_OFFSET_WINDOW_MS)
        self._ahead_ms = None
        self.newest_capture_ms = None

    def announce(self, capture_ms: float, pts_ms: float) -> None:
        """This relation has been told; the next step is measured from it."""
        self._ahead_ms = capture_ms - pts_ms
