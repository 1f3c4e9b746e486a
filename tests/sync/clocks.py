"""A host's computer whose clocks are wrong: they drift, and somebody sets them."""

import time
from typing import Final

from engagement.host_video.take import HostClock

DRIFT_PPM: Final = 50.0
"""What a cheap crystal does at the end of its tolerance."""


class WrongClock(HostClock):
    """Runs by a crystal of its own; its wall clock can be set."""

    def __init__(self) -> None:
        self._drift_ppm = 0.0
        self._from_s = self._at_s = time.monotonic()
        self._ahead_ms = time.time() * 1000 - self._at_s * 1000

    def now_s(self) -> float:
        """Monotonic, as fast as the crystal."""
        return self._at_s + (time.monotonic() - self._from_s) * (1 + self._drift_ppm / 1e6)

    def wall_ms(self) -> float:
        """Unix ms by the same crystal."""
        return self.now_s() * 1000 + self._ahead_ms

    def drift(self, ppm: float) -> None:
        """From now on this much faster than real time."""
        self._at_s, self._from_s = self.now_s(), time.monotonic()
        self._drift_ppm = ppm

    def step(self, by_ms: float) -> None:
        """Somebody sets the wall clock; media goes on."""
        self._ahead_ms += by_ms
