"""The two clocks of a recording: wall time of the senders' server, media time of the player.

Their difference is not a constant. It drifts (quartz), and it steps when the broadcast drops or
the player takes another segment: a five-hour room drifted by 19 ppm and stepped by 1.3 s, a
premiere stepped 170 times by up to 2 s in 14 minutes. So it is followed, never averaged: a
piecewise linear function, with a step wherever several rows in a row agree on another level.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from msgspec import Struct

TOLERANCE_MS_MIN: Final = 5.0
"""Offsets are whole milliseconds of a rounding clock."""
NOISE_FACTOR: Final = 6.0
"""Rows within six times the typical neighbour difference are of one level."""
LEVEL_ROWS: Final = 9
"""The level of now is the median of so many newest rows: it follows drift, not outliers."""
STEP_ROWS: Final = 3
"""So many rows in a row that agree on another level are a step; fewer are outliers."""
DRIFT_S_MIN: Final = 30.0
"""In shorter segments the rounding of the offsets is larger than any drift."""


class Point(Struct, frozen=True):
    """A row's two times."""

    wall_ms: float
    media_ms: float

    @property
    def level_ms(self) -> float:
        """Wall time minus media time."""
        return self.wall_ms - self.media_ms


class Segment(Struct, frozen=True):
    """A stretch without a step: `media = wall - level - drift * (wall - start)`."""

    start_ms: float
    end_ms: float
    level_ms: float
    """Wall minus media at `start_ms`."""
    drift_ppm: float
    err_ms: float
    """Largest distance of a row of the segment from the line."""
    rows: int

    def media_at(self, wall_ms: float) -> float:
        """Media time of a wall time, by this segment's line."""
        drifted_ms = (wall_ms - self.start_ms) * self.drift_ppm / 1e6
        return wall_ms - self.level_ms - drifted_ms


class ClockFit(Struct, frozen=True):
    """The fitted function and what did not fit."""

    segments: list[Segment]
    outliers: int

    def segment_at(self, wall_ms: float) -> Segment:
        """The segment in force: the last that began by then, the first one before any."""
        low, high = 0, len(self.segments)
        while low < high:
            middle = (low + high) // 2
            if self.segments[middle].start_ms <= wall_ms:
                low = middle + 1
            else:
                high = middle
        return self.segments[max(0, low - 1)]

    def media_at(self, wall_ms: float) -> float:
        """Media time of a wall time."""
        return self.segment_at(wall_ms).media_at(wall_ms)

    @property
    def steps_ms(self) -> list[float]:
        """Jumps of (wall minus media) between segments."""
        return [
            after.level_ms - (before.level_ms + _drifted(before, after.start_ms))
            for before, after in pairwise(self.segments)
        ]


def fit_clock(points: Sequence[Point]) -> ClockFit | None:
    """Fit points in the order of their wall time; None without points."""
    if not points:
        return None
    tolerance_ms = max(TOLERANCE_MS_MIN, NOISE_FACTOR * _neighbour_noise_ms(points))
    groups, outliers = _split(points, tolerance_ms)
    return ClockFit([_line(group) for group in groups], outliers)


def _neighbour_noise_ms(points: Sequence[Point]) -> float:
    differences = [
        abs(after.level_ms - before.level_ms)
        for before, after in pairwise(points)
    ]
    return median(differences) if differences else 0.0


def _split(points: Sequence[Point], tolerance_ms: float) -> tuple[list[list[Point]], int]:
    """Groups of rows of one level each, and how many rows belonged to none.

    A row off the level is pending: an outlier if the level comes back, the beginning of a new
    level as soon as enough pending rows agree with one another.
    """
    groups: list[list[Point]] = []
    group: list[Point] = []
    pending: list[Point] = []
    outliers = 0
    for point in points:
        if not group or abs(point.level_ms - _level(group)) <= tolerance_ms:
            outliers += len(pending)
            pending = []
            group.append(point)
            continue
        agreeing = [p for p in pending if abs(p.level_ms - point.level_ms) <= tolerance_ms]
        agreeing.append(point)
        if len(agreeing) < STEP_ROWS and len(group) >= STEP_ROWS:
            pending.append(point)
            continue
        outliers += len(pending) + 1 - len(agreeing)
        if len(group) >= STEP_ROWS or not groups:
            groups.append(group)
        else:
            outliers += len(group)
        group, pending = agreeing, []
    return [*groups, group], outliers + len(pending)


def _level(group: Sequence[Point]) -> float:
    return median(point.level_ms for point in group[-LEVEL_ROWS:])


def _line(group: Sequence[Point]) -> Segment:
    """A line through a group: the drift by the medians of its first and last third."""
    start_ms, end_ms = group[0].wall_ms, group[-1].wall_ms
    drift = 0.0
    if end_ms - start_ms >= DRIFT_S_MIN * 1000 and len(group) >= 3 * LEVEL_ROWS:
        third = len(group) // 3
        first, last = group[:third], group[-third:]
        run_ms = median(p.wall_ms for p in last) - median(p.wall_ms for p in first)
        rise_ms = median(p.level_ms for p in last) - median(p.level_ms for p in first)
        drift = rise_ms / run_ms if run_ms > 0 else 0.0
    level_ms = median(p.level_ms - drift * (p.wall_ms - start_ms) for p in group)
    err_ms = max(abs(p.level_ms - level_ms - drift * (p.wall_ms - start_ms)) for p in group)
    return Segment(start_ms, end_ms, level_ms, drift * 1e6, err_ms, len(group))


def _drifted(segment: Segment, wall_ms: float) -> float:
    return (wall_ms - segment.start_ms) * segment.drift_ppm / 1e6
