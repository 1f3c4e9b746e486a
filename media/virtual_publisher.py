"""A host with a camera that is not there: frames of a publisher with a clock of its own. Pure.

Its one crystal drives both its wall clock and its RTP timestamps, as in a real encoder; the
network delays each frame by a constant and some jitter and never reorders. Times are in ms of
whatever clock the caller counts in.
"""

import random
from dataclasses import dataclass
from typing import Literal

from engagement.domain.media_time import RTP_MODULUS
from media.clock import Frame

StallKind = Literal["lost", "late", "frozen"]
"""Frames that never come; frames that come all at once afterwards; a timeline that stood still."""

RATE = 90_000


@dataclass(frozen=True)
class PublisherTraits:
    """How this publisher and its network are."""

    fps: float = 30.0
    clock_offset_ms: float = 0.0
    """Of its wall clock: positive is ahead of ours."""
    drift_ppm: float = 0.0
    """Of its crystal: positive is faster than ours."""
    delay_ms: float = 20.0
    jitter_ms: float = 4.0


class VirtualPublisher:
    """Makes frames one at a time, each with the instant at which it arrives."""

    def __init__(self, traits: PublisherTraits, now_ms: float, rng: random.Random) -> None:
        self.traits = traits
        self.drift_ppm = traits.drift_ppm
        self.ssrc = rng.getrandbits(32)
        self._rng = rng
        self._origin_rtp = rng.getrandbits(32)
        self._interval_ms = 1000 / traits.fps
        self._taken_ms = now_ms - traits.delay_ms
        self._clock_ms = self._taken_ms
        """Its wall clock, less the offset: our time, but for drift."""
        self._clock_offset_ms = traits.clock_offset_ms
        self._media_ms = 0.0
        self._held_until_ms = float("-inf")
        self._arrived_ms = float("-inf")
        self.next_arrival_ms = now_ms
        """When the next frame is here: the first one is, at once."""

    def pop(self, server_skew_ms: float) -> Frame:
        """The next frame; `server_skew_ms` is the server's wall clock less the caller's."""
        frame = Frame(
            ssrc=self.ssrc,
            ticks=(self._origin_rtp + round(self._media_ms * RATE / 1000)) % RTP_MODULUS,
            arrival_ms=self.next_arrival_ms + server_skew_ms,
            capture_ms=self._clock_ms + self._clock_offset_ms + server_skew_ms,
        )
        self._arrived_ms = self.next_arrival_ms
        self._pass(self._interval_ms)
        self._schedule()
        return frame

    def step_clock(self, by_ms: float) -> None:
        """Somebody, or NTP, sets its wall clock."""
        self._clock_offset_ms += by_ms

    def step_media(self, by_ms: float) -> None:
        """Its timestamps jump: an encoder that restarts, a scene that is switched."""
        self._media_ms += by_ms

    def stall(self, for_ms: float, kind: StallKind) -> None:
        """No frame arrives for a time."""
        if kind == "late":
            self._held_until_ms = self._taken_ms + self.traits.delay_ms + for_ms
        else:
            self._pass(for_ms, media_runs=kind == "lost")
        self._schedule()

    def skip_to(self, now_ms: float) -> None:
        """Lose the frames that should have been here by now."""
        self._pass(max(0.0, now_ms - self.next_arrival_ms))
        self._schedule()

    def _pass(self, real_ms: float, *, media_runs: bool = True) -> None:
        own_ms = real_ms * (1 + self.drift_ppm / 1e6)
        self._taken_ms += real_ms
        self._clock_ms += own_ms
        self._media_ms += own_ms if media_runs else 0.0

    def _schedule(self) -> None:
        # Most frames take the fastest path, some a little longer: a queue, not a Gaussian.
        jitter_ms = min(self._rng.expovariate(4), 1.0) * self.traits.jitter_ms
        self.next_arrival_ms = max(
            self._taken_ms + self.traits.delay_ms + jitter_ms, self._held_until_ms, self._arrived_ms
        )
