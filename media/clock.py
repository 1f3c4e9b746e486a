"""The media clock of one stream: from frames as they arrive to anchors worth announcing.

Pure and without I/O: observations and times come in, clock events come out. It owns the promise
that ADR 0005 is about: while an anchor is the newest one of a running epoch, the newest ingested
frame is never further from its line than `err_ms + ANCHOR_STEP_MS` (and drift). Before that
happens there is another anchor: every 5 s, when the line moves, when the publisher's clock is set,
when frames stop coming (again and again, each time twice as patient). What cannot be bounded in
advance, a jump of the media timeline, ends the epoch.
"""

from typing import Final

from msgspec import Struct

from engagement.domain import limits
from engagement.domain.clock_events import ClockKind
from engagement.domain.media_time import Anchor
from media.capture_clock import CaptureClock, Verdict
from media.clock_formulas import RTP_BITS
from media.media_line import MediaLine
from media.running_epoch import Reason, RunningEpoch

INTERVAL_MS: Final = limits.ANCHOR_INTERVAL_S * 1000 - 100
"""A little more often than promised: the next frame may be a frame interval away."""
CALM_MS: Final = 1_000
"""After so long an anchor that states too much is replaced."""
TOO_MUCH_MS: Final = 50.0
"""It does when it states twice what is observed, and this on top."""


class Frame(Struct, frozen=True, gc=False):
    """One video frame as the ingest saw it."""

    ssrc: int
    """The RTP source; any number that changes with the publisher elsewhere."""
    ticks: int
    """RTP timestamp, FLV ms or MPEG-TS PTS: as it came, not unwrapped."""
    arrival_ms: float
    """Server time, Unix ms; never decreasing."""
    capture_ms: float | None = None
    """Publisher's time, where the frame carries it (abs-capture-time)."""


class ClockEvent(Struct, frozen=True):
    """An anchor, and why there is a new one."""

    kind: ClockKind
    anchor: Anchor
    reason: Reason


class MediaClockEstimator:
    """Announces one stream's epochs and anchors. Epochs are numbered from `next_epoch` up."""

    def __init__(
        self, room: str, next_epoch: int, *, rate: int = 90_000, bits: int = RTP_BITS
    ) -> None:
        self.room = room
        self.next_epoch = next_epoch
        self._rate = rate
        self._bits = bits
        self._capture = CaptureClock(rate)
        self._epoch: RunningEpoch | None = None
        self._ended_by: Reason = "started"
        self.anchor: Anchor | None = None
        """The newest anchor, of an ended epoch too."""

    @property
    def running(self) -> bool:
        """Whether an epoch is open."""
        return self._epoch is not None

    @property
    def drift_ppm(self) -> float | None:
        """How much faster than the server's clock the publisher's media clock runs."""
        return None if self._epoch is None else self._epoch.drift_ppm

    @property
    def publisher_offset_ms(self) -> float | None:
        """Server clock minus publisher clock."""
        return self._capture.offset_ms

    @property
    def deadline_ms(self) -> float | None:
        """When :meth:`check` has something to say if no frame comes before."""
        return None if self._epoch is None else self._epoch.deadline_ms

    def sender_report(self, ntp64: int, rtp: int) -> None:
        """Take in an RTCP sender report of the video source."""
        self._capture.report(ntp64, rtp)

    def frame(self, frame: Frame) -> list[ClockEvent]:
        """Take in one frame, in order of arrival."""
        events = self.check(frame.arrival_ms)
        epoch = self._epoch
        if epoch is None:
            return [*events, self._open(frame)]
        if frame.ssrc != epoch.ssrc:
            return [*events, *self._reopen(frame, "new_ssrc")]
        line = epoch.line
        pts_ms = line.pts_ms(frame.ticks)
        if pts_ms <= line.newest_pts_ms:
            if epoch.has_gone_back(line.newest_pts_ms - pts_ms):
                events += self._reopen(frame, "media_step")
            return events
        epoch.older_frames = 0
        verdict = self._judge_capture(epoch, frame, pts_ms)
        is_early = frame.arrival_ms - pts_ms < epoch.floor_ms(frame.arrival_ms)
        if is_early or verdict == "media_stepped":
            return [*events, *self._reopen(frame, "media_step")]
        line.take(frame.ticks, pts_ms, frame.arrival_ms)
        reason = _due(epoch, frame.arrival_ms)
        if verdict == "clock_stepped":
            reason = "publisher_clock"
        if reason:
            events.append(self._announce(epoch, reason, frame.arrival_ms, _stated_err_ms(line)))
        return events

    def check(self, now_ms: float) -> list[ClockEvent]:
        """Say what the absence of frames says by now; call it at :attr:`deadline_ms`."""
        epoch = self._epoch
        if epoch is None or now_ms < epoch.deadline_ms:
            return []
        line = epoch.line
        if now_ms >= line.newest_arrival_ms + limits.CLOCK_GAP_MS:
            return self.end(now_ms, "gap")
        # The next announcement comes when frames have been missing for twice as long.
        stale_ms = now_ms - line.base_ms - line.newest_pts_ms
        err_ms = max(_stated_err_ms(line), 2 * stale_ms)
        return [self._announce(epoch, "stalled", now_ms, err_ms)]

    def end(self, now_ms: float, reason: Reason) -> list[ClockEvent]:
        """End the epoch; the next frame opens another. Nothing happens without one."""
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return []
        self._ended_by = reason
        self.anchor = epoch.announce(
            reason, now_ms, epoch.line.spread_ms, self._capture, is_end=True
        )
        return [ClockEvent("clock.epoch.closed", self.anchor, reason)]

    def _open(self, frame: Frame) -> ClockEvent:
        line = MediaLine(frame.ticks, self._rate, self._bits, frame.arrival_ms)
        epoch = self._epoch = RunningEpoch(self.room, self.next_epoch, frame.ssrc, line)
        self.next_epoch += 1
        self._capture.restart()
        capture_ms = self._capture.capture_ms(frame.ticks, frame.capture_ms)
        if capture_ms is not None:
            self._capture.take(capture_ms, 0.0, frame.arrival_ms)
        self.anchor = epoch.announce(
            self._ended_by, frame.arrival_ms, limits.CLOCK_OPENING_ERR_MS, self._capture
        )
        return ClockEvent("clock.epoch.opened", self.anchor, self._ended_by)

    def _reopen(self, frame: Frame, reason: Reason) -> list[ClockEvent]:
        return [*self.end(frame.arrival_ms, reason), self._open(frame)]

    def _announce(
        self, epoch: RunningEpoch, reason: Reason, now_ms: float, err_ms: float
    ) -> ClockEvent:
        self.anchor = epoch.announce(reason, now_ms, err_ms, self._capture)
        kind: ClockKind = "clock.stepped"
        if reason in ("interval", "settled"):
            kind = "clock.anchored"
        return ClockEvent(kind, self.anchor, reason)

    def _judge_capture(self, epoch: RunningEpoch, frame: Frame, pts_ms: float) -> Verdict:
        """What the capture time of a frame says; takes it in unless the media timeline jumped."""
        capture = self._capture
        capture_ms = capture.capture_ms(frame.ticks, frame.capture_ms)
        if capture_ms is None:
            return "steady"
        late_ms = frame.arrival_ms - pts_ms - epoch.base_ms
        verdict = capture.judge(
            capture_ms, pts_ms, frame.arrival_ms, is_late=late_ms > limits.ANCHOR_STEP_MS
        )
        if verdict == "media_stepped":
            return verdict
        if verdict == "clock_stepped":
            capture.restart()
        capture.take(capture_ms, pts_ms, frame.arrival_ms)
        return verdict


def _due(epoch: RunningEpoch, now_ms: float) -> Reason:
    """Why an anchor is due now; empty when none is."""
    line = epoch.line
    since_ms = now_ms - epoch.announced_ms
    if line.has_lost_time():
        line.rebase()
        return "late"
    if abs(line.base_ms - epoch.base_ms) > limits.ANCHOR_STEP_MS:
        return "delay"
    if since_ms >= INTERVAL_MS:
        return "interval"
    if since_ms >= CALM_MS and epoch.err_ms > 2 * line.spread_ms + TOO_MUCH_MS:
        return "settled"
    return ""


def _stated_err_ms(line: MediaLine) -> float:
    """The observed spread; for an epoch's first second what an opening states."""
    if line.newest_arrival_ms - line.opened_ms < CALM_MS:
        return max(line.spread_ms, limits.CLOCK_OPENING_ERR_MS)
    return line.spread_ms
