"""One room of the embedded engine: its publisher, its viewers, its clock. Pure but for sessions."""

from collections.abc import Callable
from typing import Final

from engagement.domain.media_time import Anchor, pts_of_rtp
from media.clock import ClockEvent, Frame, MediaClockEstimator
from media.clock_formulas import capture_ms_by_report, unix_ms_of_ntp
from media.engine import SessionId, Track
from media.frames import VIDEO_RATE_HZ
from media.rtp.capture_time import capture_ntp64
from media.rtp.rtcp import SenderReport
from media.running_epoch import Reason
from media.webrtc.fan_out import TrackFanOut
from media.webrtc.frame_source import FrameSource
from media.webrtc.publisher import PublisherSession
from media.webrtc.viewer import ViewerSession

RATES_HZ: Final[dict[Track, int]] = {"video": VIDEO_RATE_HZ, "audio": 48_000}
"""RTP ticks a second; of Opus always 48,000 (RFC 7587 section 4.1)."""


class CaptureReports:
    """The newest relation of one source's RTP time to its publisher's clock.

    abs-capture-time and sender reports state the same relation; once packets carry capture times
    these alone are believed, so that small disagreements are not taken for steps.
    """

    __slots__ = ("_has_capture_times", "_newest", "_rate", "ssrc")

    def __init__(self, rate: int, ssrc: int | None = None) -> None:
        self.ssrc = ssrc
        self._rate = rate
        self._has_capture_times = False
        self._newest: tuple[float, int] | None = None

    def on_capture_time(self, ntp64: int, timestamp: int) -> None:
        """A packet carries it."""
        self._has_capture_times = True
        self._newest = (unix_ms_of_ntp(ntp64), timestamp)

    def on_report(self, report: SenderReport) -> None:
        """A sender report."""
        if not self._has_capture_times:
            self._newest = (unix_ms_of_ntp(report.ntp64), report.rtp)

    def timestamp_ms(self) -> tuple[float, int] | None:
        """The newest relation: publisher's time, RTP time."""
        return self._newest

    def capture_ms(self, timestamp: int) -> float | None:
        """When the publisher captured a frame, by its own clock; None before anything was said."""
        if self._newest is None:
            return None
        return capture_ms_by_report(*self._newest, timestamp, self._rate)


class ForwardingRoom:
    """What a publisher sends, on the room's clock; implements `TrackListener`."""

    def __init__(
        self,
        name: str,
        next_epoch: int,
        announce: Callable[[str, list[ClockEvent]], None],
        started: Callable[["ForwardingRoom"], None],
    ) -> None:
        self.name = name
        self.estimator = MediaClockEstimator(name, next_epoch)
        self.fan_outs: dict[Track, TrackFanOut] = {
            "video": TrackFanOut(),
            "audio": TrackFanOut(),
        }
        self.reports: dict[Track, CaptureReports] = {
            kind: CaptureReports(rate) for kind, rate in RATES_HZ.items()
        }
        self.publisher: PublisherSession | None = None
        self.pending: PublisherSession | None = None
        """Answered, and not connected yet; it replaces the publisher when it is."""
        self.source: FrameSource | None = None
        """In place of a publisher: one who came by another engine."""
        self.viewers: dict[SessionId, ViewerSession] = {}
        self.left_ms = 0.0
        """When the publisher went."""
        self.has_started = False
        self._announce, self._started = announce, started
        self._arrival_ms = 0.0

    @property
    def is_empty(self) -> bool:
        """Nobody is here."""
        return not (self.publisher or self.pending or self.source or self.viewers)

    @property
    def codecs(self) -> dict[str, tuple[str, str]] | None:
        """What is sent, codec and profile by kind; None while there is nothing to watch."""
        sender = self.publisher or self.source
        return None if sender is None else sender.codecs

    def begin(self, publisher: PublisherSession) -> None:
        """A publisher's packets are the room's from now on."""
        self.publisher, self.pending = publisher, None
        self.has_started = False
        self.reports = {kind: CaptureReports(rate) for kind, rate in RATES_HZ.items()}
        for fan_out in self.fan_outs.values():
            fan_out.begin_source()
            fan_out.key_frames.want()
        for viewer in list(self.viewers.values()):
            viewer.follow_codecs(publisher.codecs)
        publisher.is_live = True

    def end(self, now_ms: float, reason: Reason) -> None:
        """The publisher's packets are the room's no more."""
        publisher, self.publisher = self.publisher, None
        if publisher is not None:
            publisher.is_live = False
        self.left_ms = now_ms
        self._announce(self.name, self.estimator.end(self._not_before(now_ms), reason))

    def begin_source(self, source: FrameSource) -> None:
        """The same for one who came by another engine."""
        self.source = source
        for viewer in list(self.viewers.values()):
            viewer.follow_codecs(source.codecs)

    def end_source(self, now_ms: float) -> None:
        """No more of it."""
        source, self.source = self.source, None
        if source is not None:
            source.close()
            self.left_ms = now_ms

    def sound_pts_ms(self, anchor: Anchor, timestamp: int) -> float | None:
        """Media time of sound, by what the publisher's clock says of both tracks; None while it
        has not said."""
        captured_ms = self.reports["audio"].capture_ms(timestamp)
        video = self.reports["video"].timestamp_ms()
        if captured_ms is None or video is None:
            return None
        video_ms, video_timestamp = video
        return pts_of_rtp(anchor, video_timestamp) + captured_ms - video_ms

    def check_clock(self, now_ms: float) -> None:
        """Say what the absence of frames says."""
        deadline_ms = self.estimator.deadline_ms
        if deadline_ms is not None and deadline_ms <= now_ms:
            self._announce(self.name, self.estimator.check(self._not_before(now_ms)))

    # --- TrackListener --------------------------------------------------------------------------

    def on_frame(
        self, kind: Track, ssrc: int, timestamp: int, arrival_ms: float, capture: bytes
    ) -> None:
        """The video's frames draw the clock; both tracks' capture times are kept."""
        reports = self.reports[kind]
        if reports.ssrc != ssrc:
            reports = self.reports[kind] = CaptureReports(RATES_HZ[kind], ssrc)
        ntp64 = capture_ntp64(capture)
        if ntp64 is not None:
            reports.on_capture_time(ntp64, timestamp)
        if kind != "video":
            return
        if not self.has_started:
            self.has_started = True
            self._started(self)
        capture_ms = reports.capture_ms(timestamp)
        events = self.estimator.frame(
            Frame(ssrc, timestamp, self._not_before(arrival_ms), capture_ms)
        )
        if events:
            self._announce(self.name, events)

    def on_sender_report(self, kind: Track, report: SenderReport) -> None:
        """The publisher's clock by its sender reports, unless frames carry it."""
        if self.reports[kind].ssrc != report.ssrc:
            self.reports[kind] = CaptureReports(RATES_HZ[kind], report.ssrc)
        self.reports[kind].on_report(report)

    def _not_before(self, now_ms: float) -> float:
        """A wall clock may be set back; arrivals never are."""
        self._arrival_ms = max(self._arrival_ms, now_ms)
        return self._arrival_ms
