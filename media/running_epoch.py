"""An open epoch: its line, what was announced about it, and what that promises. Pure."""

from collections import deque
from typing import Final, Literal

from engagement.domain import limits
from engagement.domain.media_time import RTP_MODULUS, Anchor
from engagement.domain.names import derived_id
from media.capture_clock import CaptureClock
from media.clock_windows import RecentSlope
from media.media_line import MediaLine

DRIFT_POINTS: Final = 60
"""Five minutes of anchors."""

Reason = Literal[
    "",
    # an epoch began or ended
    "started",
    "republish",
    "new_ssrc",
    "media_step",
    "gap",
    "publisher_left",
    "engine_switch",
    "engine_stopped",
    # the line was tied again
    "interval",
    "settled",
    "delay",
    "late",
    "stalled",
    "publisher_clock",
]


class RunningEpoch:
    """What was told about one epoch so far; times in ms."""

    __slots__ = (
        "_at_us",
        "_floors",
        "_room",
        "_sequence",
        "_slope",
        "announced_ms",
        "base_ms",
        "err_ms",
        "line",
        "number",
        "older_frames",
        "ssrc",
    )

    def __init__(self, room: str, number: int, ssrc: int, line: MediaLine) -> None:
        self.number = number
        self.ssrc = ssrc
        self.line = line
        self.older_frames = 0
        """Frames in a row that were not newer than the newest."""
        self.announced_ms = 0.0
        self.base_ms = 0.0
        """Server time of media time 0, as announced."""
        self.err_ms = 0.0
        self._room = room
        self._sequence = 0
        self._at_us = 0
        self._floors: deque[tuple[float, float]] = deque()
        """(announced, least `arrival - pts` that it allows) of the anchors that a follower may
        still be using."""
        self._slope = RecentSlope(DRIFT_POINTS)

    @property
    def drift_ppm(self) -> float | None:
        """How much faster than the server's clock media time runs; None until it is known."""
        slope = self._slope.value
        return None if slope is None else -slope * 1e6

    @property
    def deadline_ms(self) -> float:
        """When the newest frame will be further behind than announced, or the gap too long."""
        line = self.line
        promised_ms = self.err_ms + limits.ANCHOR_STEP_MS - limits.CLOCK_CHECK_SLACK_MS
        return min(
            self.base_ms + line.newest_pts_ms + promised_ms,
            line.newest_arrival_ms + limits.CLOCK_GAP_MS,
        )

    def floor_ms(self, now_ms: float) -> float:
        """The least `arrival - pts` of a frame that contradicts no anchor anybody still uses."""
        floors = self._floors
        while len(floors) > 1 and floors[0][0] < now_ms - limits.ANCHOR_INTERVAL_S * 1000:
            floors.popleft()
        return max(floor for _, floor in floors)

    def has_gone_back(self, back_ms: float) -> bool:
        """Whether a frame older than the newest shows that the timeline jumped back."""
        self.older_frames += 1
        return back_ms > limits.FRAMES_BACK_MS_MAX or self.older_frames > limits.FRAMES_OLDER_MAX

    def announce(
        self,
        reason: Reason,
        now_ms: float,
        err_ms: float,
        capture: CaptureClock,
        *,
        is_end: bool = False,
    ) -> Anchor:
        """The anchor that ties the newest frame to the line as it is now."""
        line = self.line
        pts_ms, server_ms = line.newest_pts_ms, line.base_ms + line.newest_pts_ms
        wall_ms = capture.newest_capture_ms
        if wall_ms is None:
            wall_ms = server_ms
        else:
            capture.announce(wall_ms, pts_ms)
        self._at_us = max(int(now_ms * 1000), self._at_us + 1)
        anchor = Anchor(
            id=derived_id(self._room, "clock", self.number, self._sequence),
            epoch=self.number,
            rate=line.rate,
            rtp=line.newest_ticks % RTP_MODULUS,
            pts_ms=round(pts_ms, 3),
            wall_ms=round(wall_ms, 3),
            offset_ms=round(server_ms - wall_ms, 3),
            err_ms=round(err_ms, 3),
            at_us=self._at_us,
            ended=is_end,
        )
        self._sequence += 1
        self.announced_ms = now_ms
        self.base_ms = anchor.server_ms - anchor.pts_ms
        self.err_ms = anchor.err_ms
        self._floors.append((now_ms, self.base_ms - self.err_ms - limits.ANCHOR_STEP_MS))
        if reason == "interval":
            self._slope.add(now_ms, line.recent_base_ms)
        elif reason in ("delay", "late"):
            self._slope.clear()
        return anchor
