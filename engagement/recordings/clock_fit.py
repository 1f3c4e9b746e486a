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

from msgspec import Struct, structs

TOLERANCE_MS_MIN: Final = 2.0
"""Offsets are whole milliseconds of a rounding clock: rows of one level are up to 1.5 ms apart."""
NOISE_FACTOR: Final = 12.0
"""Of the quartile of neighbour differences, which rows off the clock do not move. Uniform noise of
±n ms has a quartile of 0.27 n, so this tolerates 3.2 n: its largest difference is 2 n."""
STEP_COST_ROWS: Final = 2.5
"""A step is believed when it spares more rows than this from being outliers: three that go on at
another level, five that come back."""
LOOKBACK_ROWS: Final = 64
"""The most outliers in a row that a level survives; also what bounds the work for each row."""
SILENCE_PPM: Final = 50.0
"""After a silence a level may have drifted on by so much without a step: two ordinary crystals."""
DRIFT_S_MIN: Final = 30.0
"""In shorter segments the rounding of the offsets is larger than any drift."""
DRIFT_ROWS_MIN: Final = 27
"""Medians of thirds need nine rows each to mean anything."""
DRIFT_SIGNIFICANCE: Final = 12.0
"""In median deviations by the root of a third's rows: four standard errors of the difference of
two medians. A smaller drift is noise, and drawn on it would grow beyond the segment; what is
missed bends a segment by less than two median deviations."""


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
    stepped: bool = False
    """Whether it begins with a step; otherwise the drift of the one before it has bent."""

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
            if after.stepped
        ]


def fit_clock(points: Sequence[Point]) -> ClockFit | None:
    """Fit points in the order of their wall time; None without points."""
    if not points:
        return None
    tolerance_ms = max(TOLERANCE_MS_MIN, NOISE_FACTOR * _neighbour_noise_ms(points))
    groups = _split(points, tolerance_ms)
    segments: list[Segment] = []
    for group in groups:
        first, *bent = _lines(group, tolerance_ms)
        segments += [structs.replace(first, stepped=bool(segments)), *bent]
    return ClockFit(segments, len(points) - sum(map(len, groups)))


def _neighbour_noise_ms(points: Sequence[Point]) -> float:
    """The lower quartile of the differences of neighbours."""
    differences = sorted(
        abs(after.level_ms - before.level_ms) for before, after in pairwise(points)
    )
    return differences[len(differences) // 4] if differences else 0.0


def _split(points: Sequence[Point], tolerance_ms: float) -> list[list[Point]]:
    """Rows of one level each, such that outliers and steps together cost least.

    An outlier costs 1, a step `STEP_COST_ROWS`. Dynamic programming over "the last row that is no
    outlier": the best way to a row comes from one of the `LOOKBACK_ROWS` before it, on its level
    or across a step, and all between are outliers.
    """
    costs: list[float] = []
    came_from: list[int] = []
    cheapest: list[float] = []  # min of (cost - index) up to each row: when to stop looking back
    for row, point in enumerate(points):
        cost, source = float(row), -1
        for before in range(row - 1, max(-1, row - 1 - LOOKBACK_ROWS), -1):
            if cheapest[before] + row - 1 >= cost:
                break
            through = costs[before] + (row - before - 1)
            if not _on_one_level(points[before], point, tolerance_ms):
                through += STEP_COST_ROWS
            if through < cost:
                cost, source = through, before
        costs.append(cost)
        came_from.append(source)
        cheapest.append(min(cost - row, cheapest[-1] if cheapest else cost - row))
    row = min(range(len(points)), key=lambda last: costs[last] - last)
    groups = [[points[row]]]
    while (before := came_from[row]) >= 0:
        if not _on_one_level(points[before], points[row], tolerance_ms):
            groups.append([])
        groups[-1].append(points[before])
        row = before
    return [group[::-1] for group in reversed(groups)]


def _on_one_level(before: Point, after: Point, tolerance_ms: float) -> bool:
    silence_ms = after.wall_ms - before.wall_ms
    allowed_ms = tolerance_ms + silence_ms * SILENCE_PPM / 1e6
    return abs(after.level_ms - before.level_ms) <= allowed_ms


def _lines(group: Sequence[Point], tolerance_ms: float) -> list[Segment]:
    """One line, or more where the drift itself changes: quartz follows the temperature."""
    line = _line(group)
    half = len(group) // 2
    halves_ms = (group[half].wall_ms - group[0].wall_ms, group[-1].wall_ms - group[half].wall_ms)
    if line.err_ms <= tolerance_ms or half < DRIFT_ROWS_MIN or min(halves_ms) < DRIFT_S_MIN * 1000:
        return [line]
    return [*_lines(group[:half], tolerance_ms), *_lines(group[half:], tolerance_ms)]


def _line(group: Sequence[Point]) -> Segment:
    """A line through a group: its drift, if it has one, by the medians of first and last third."""
    start_ms, end_ms = group[0].wall_ms, group[-1].wall_ms
    drift = 0.0
    if end_ms - start_ms >= DRIFT_S_MIN * 1000 and len(group) >= DRIFT_ROWS_MIN:
        drift = _drift(group)
    level_ms = median(_levels(group, start_ms, drift))
    err_ms = max(abs(level - level_ms) for level in _levels(group, start_ms, drift))
    return Segment(start_ms, end_ms, level_ms, drift * 1e6, err_ms, len(group))


def _drift(group: Sequence[Point]) -> float:
    third = len(group) // 3
    first, last = group[:third], group[-third:]
    run_ms = median(p.wall_ms for p in last) - median(p.wall_ms for p in first)
    rise_ms = median(p.level_ms for p in last) - median(p.level_ms for p in first)
    if run_ms <= 0:
        return 0.0
    drift = rise_ms / run_ms
    levels = _levels(group, group[0].wall_ms, drift)
    middle = median(levels)
    deviation_ms = median(abs(level - middle) for level in levels)
    return drift if abs(rise_ms) > DRIFT_SIGNIFICANCE * deviation_ms / third**0.5 else 0.0


def _levels(group: Sequence[Point], start_ms: float, drift: float) -> list[float]:
    """Levels with this drift taken out."""
    return [p.level_ms - drift * (p.wall_ms - start_ms) for p in group]


def _drifted(segment: Segment, wall_ms: float) -> float:
    return (wall_ms - segment.start_ms) * segment.drift_ppm / 1e6
