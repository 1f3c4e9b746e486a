"""A publisher, a network, the media clock and a gateway, simulated frame by frame.

The world knows what nobody in production knows: which frame had really been ingested at each
instant. It shares no code with the estimator: media time is counted here, never unwrapped.
"""

import random
from bisect import bisect_right
from dataclasses import dataclass, field

from engagement.domain.media_time import RTP_MODULUS, Anchor, RoomClock, Stamp, stamp
from media.clock import ClockEvent, Frame, MediaClockEstimator
from media.clock_formulas import ntp_of_unix_ms

START_MS = 1_764_000_000_000.0
RATE = 90_000
TIMER_LATE_MS = 5.0


@dataclass(frozen=True)
class Publishing:
    """A publisher and its path to the ingest."""

    fps: int = 30
    first_rtp: int = 0
    offset_ms: float = 0.0
    drift_ppm: float = 0.0
    delay_ms: float = 40.0
    jitter_ms: float = 5.0
    capture: str = "frames"
    """How capture times come: with `frames`, by `reports`, or `none`."""
    seed: int = 0


@dataclass(frozen=True)
class Act:
    """One thing that happens: `run`, `publisher_step`, `media_step`, `lost`, `late`, `frozen`,
    `republish`, `drift`; `value` in ms, or ppm."""

    what: str
    value: float = 0.0


@dataclass
class SentFrame:
    """A frame, and what only the world knows of it."""

    frame: Frame
    media_ms: float
    """On a timeline that never wraps."""


@dataclass
class Epoch:
    """Frames of one epoch: arrival and the newest media time so far, since its first frame."""

    arrivals_us: list[int] = field(default_factory=list)
    newest_ms: list[float] = field(default_factory=list)

    def add(self, arrival_ms: float, pts_ms: float) -> None:
        newest = max(pts_ms, self.newest_ms[-1]) if self.newest_ms else pts_ms
        self.arrivals_us.append(int(arrival_ms * 1000))
        self.newest_ms.append(newest)

    def newest_at(self, server_us: int) -> float | None:
        """Media time of the newest frame ingested by then."""
        index = bisect_right(self.arrivals_us, server_us)
        return self.newest_ms[index - 1] if index else None


class World:
    """Runs a schedule through the estimator and keeps the truth beside it."""

    def __init__(self, publishing: Publishing, acts: list[Act]) -> None:
        self.publishing = publishing
        self.random = random.Random(publishing.seed)
        self.frames = self._publish(acts)
        self.estimator = MediaClockEstimator("world", 1, rate=RATE)
        self.events: list[tuple[float, ClockEvent]] = []
        """(when it was produced, event)."""
        self.epochs: dict[int, Epoch] = {}
        self._ingest()

    @property
    def end_ms(self) -> float:
        return self.frames[-1].frame.arrival_ms

    # --- the publisher and its network ---

    def _publish(self, acts: list[Act]) -> list[SentFrame]:
        p = self.publishing
        interval_ms = 1000 / p.fps
        now_ms, media_ms, ssrc = START_MS, 0.0, 1
        drift, offset_ms, arrived_ms = p.drift_ppm / 1e6, p.offset_ms, 0.0
        clock_ms = START_MS
        held_until_ms = 0.0
        sent: list[SentFrame] = []

        def send() -> None:
            nonlocal arrived_ms
            path_ms = p.delay_ms + self.random.uniform(0, p.jitter_ms)
            arrived_ms = max(now_ms + path_ms, arrived_ms, held_until_ms + p.delay_ms)
            rtp = (p.first_rtp + round(media_ms * RATE / 1000)) % RTP_MODULUS
            capture_ms = clock_ms + offset_ms if p.capture == "frames" else None
            sent.append(SentFrame(Frame(ssrc, rtp, arrived_ms, capture_ms), media_ms))
            if p.capture == "reports":
                self.reports[len(sent) - 1] = (ntp_of_unix_ms(clock_ms + offset_ms), rtp)

        self.reports: dict[int, tuple[int, int]] = {}
        send()
        for act in acts:
            if act.what == "publisher_step":
                offset_ms += act.value
            elif act.what == "media_step":
                media_ms += act.value
            elif act.what == "drift":
                drift = act.value / 1e6
            elif act.what == "republish":
                ssrc += 1
                media_ms = self.random.uniform(0, 1e7)
            elif act.what in ("lost", "frozen"):
                now_ms += act.value
                clock_ms += act.value * (1 + drift)
                media_ms += act.value * (1 + drift) * (act.what == "lost")
            else:
                if act.what == "late":
                    held_until_ms = now_ms + act.value
                until_ms = now_ms + act.value
                while now_ms + interval_ms <= until_ms:
                    now_ms += interval_ms
                    clock_ms += interval_ms * (1 + drift)
                    media_ms += interval_ms * (1 + drift)
                    send()
        return sent

    # --- the ingest ---

    def _ingest(self) -> None:
        origin_ms = 0.0
        for index, sent in enumerate(self.frames):
            frame = sent.frame
            self._wait_until(frame.arrival_ms)
            if index in self.reports:
                self.estimator.sender_report(*self.reports[index])
            before = self.estimator.next_epoch
            events = self.estimator.frame(frame)
            self.events += [(frame.arrival_ms, event) for event in events]
            if self.estimator.next_epoch != before:
                origin_ms = sent.media_ms
                self.epochs[before] = Epoch()
            epoch = self.epochs[self.estimator.next_epoch - 1]
            epoch.add(frame.arrival_ms, sent.media_ms - origin_ms)

    def _wait_until(self, arrival_ms: float) -> None:
        """Let deadlines pass, each as late as a coarse timer may be."""
        while (deadline_ms := self.estimator.deadline_ms) is not None:
            at_ms = deadline_ms + self.random.uniform(0, TIMER_LATE_MS)
            if at_ms >= arrival_ms:
                return
            events = self.estimator.check(at_ms)
            assert events, "a deadline passed and there was nothing to say"
            next_ms = self.estimator.deadline_ms
            assert next_ms is None or next_ms > at_ms, "an announcement that changes nothing"
            self.events += [(at_ms, event) for event in events]

    def anchors(self) -> list[Anchor]:
        return [event.anchor for _, event in self.events]


class Gateway:
    """Learns of anchors with a lag of at most `lag_ms`, in order; stamps when it flushes."""

    def __init__(self, world: World, lag_ms: float, seed: int) -> None:
        rng = random.Random(seed)
        self.lag_ms = lag_ms
        self._arrivals: list[tuple[float, Anchor]] = []
        known_ms = 0.0
        for produced_ms, event in world.events:
            known_ms = max(known_ms, event.anchor.at_us / 1000 + rng.uniform(0, lag_ms))
            assert known_ms >= produced_ms - TIMER_LATE_MS
            self._arrivals.append((max(known_ms, produced_ms), event.anchor))

    def stamp(self, accepted_ms: float, flushed_ms: float) -> Stamp | None:
        """As the gateway would: the anchor in hindsight at the flush. None without a clock."""
        clock = RoomClock()
        for known_ms, anchor in self._arrivals:
            if known_ms > flushed_ms:
                break
            clock.observe(anchor, int(known_ms * 1000))
        accepted_us = int(accepted_ms * 1000)
        anchor = clock.at(accepted_us)
        if anchor is None or clock.anchors[0].at_us > accepted_us:
            return None  # Before the first frame there is no truth to compare with.
        return stamp(anchor, self.lag_ms, accepted_us)

    def known_at(self, server_ms: float) -> list[Anchor]:
        return [anchor for known_ms, anchor in self._arrivals if known_ms <= server_ms]
