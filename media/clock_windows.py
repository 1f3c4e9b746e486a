"""Extremes of the recent past, and the slope through it. Pure, constant time per value."""

from collections import deque


class RecentMinimum:
    """The least value that was added within `window_ms` of the newest one."""

    __slots__ = ("_candidates", "_window_ms")

    def __init__(self, window_ms: float) -> None:
        self._window_ms = window_ms
        self._candidates: deque[tuple[float, float]] = deque()
        """(time, value), both ascending: only what no newer value undercuts."""

    def add(self, at_ms: float, value: float) -> None:
        """Add a value; times never decrease."""
        candidates = self._candidates
        while candidates and candidates[-1][1] >= value:
            candidates.pop()
        candidates.append((at_ms, value))
        oldest_ms = at_ms - self._window_ms
        while candidates[0][0] < oldest_ms:
            candidates.popleft()

    @property
    def value(self) -> float:
        """The minimum; IndexError before the first value."""
        return self._candidates[0][1]

    def forget_before(self, at_ms: float) -> None:
        """Leave out what was added before, but never the newest."""
        while len(self._candidates) > 1 and self._candidates[0][0] < at_ms:
            self._candidates.popleft()


class RecentMaximum:
    """The greatest value that was added within `window_ms` of the newest one."""

    __slots__ = ("_negated",)

    def __init__(self, window_ms: float) -> None:
        self._negated = RecentMinimum(window_ms)

    def add(self, at_ms: float, value: float) -> None:
        """Add a value; times never decrease."""
        self._negated.add(at_ms, -value)

    @property
    def value(self) -> float:
        """The maximum; IndexError before the first value."""
        return -self._negated.value


class RecentSlope:
    """Least-squares slope through the newest `points` values: change of value per unit of time."""

    __slots__ = ("_points",)

    def __init__(self, points: int) -> None:
        self._points: deque[tuple[float, float]] = deque(maxlen=points)

    def add(self, at: float, value: float) -> None:
        """Add a point."""
        self._points.append((at, value))

    def clear(self) -> None:
        """Begin anew: the line has stepped."""
        self._points.clear()

    @property
    def value(self) -> float | None:
        """The slope, or None with fewer than three points."""
        count = len(self._points)
        if count < 3:
            return None
        mean_at = sum(at for at, _ in self._points) / count
        mean_value = sum(value for _, value in self._points) / count
        spread = sum((at - mean_at) ** 2 for at, _ in self._points)
        if spread == 0:
            return None
        return sum((at - mean_at) * (v - mean_value) for at, v in self._points) / spread
