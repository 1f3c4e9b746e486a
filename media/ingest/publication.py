"""One publisher's frames on its room's clock, from times that count from anywhere. Sans-I/O.

RTMP and SRT bring no absolute time: a frame's server time is its place on the line that arrivals
draw (:mod:`media.clock`). Timestamps here are 90 kHz ticks modulo 2^32, as everywhere else.
"""

from collections import deque
from collections.abc import Callable

from engagement.domain.media_time import RTP_MODULUS, Anchor, pts_of_rtp, rtp_difference
from engagement.errors import BadRequestError
from media.clock import ClockEvent, Frame, MediaClockEstimator
from media.frames import Codec, EncodedFrame
from media.ingest import bounds

TICKS_PER_MS = 90


class PublishedFrames:
    """Feeds a room's estimator and gives frames; one object a publication."""

    def __init__(
        self,
        estimator: MediaClockEstimator,
        source: int,
        deliver: Callable[[EncodedFrame], None],
        announce: Callable[[str, list[ClockEvent]], None],
    ) -> None:
        """`source` differs from that of every other publication of the room."""
        self.has_b_frames = False
        """Frames are not shown in the order in which they come."""
        self.has_begun = False
        self._estimator = estimator
        self._source = source
        self._deliver, self._announce = deliver, announce
        self._opened_ms: deque[float] = deque(maxlen=bounds.EPOCHS_PER_MINUTE_MAX)

    def video(
        self, ticks: int, dts_ticks: int, *, is_key: bool, data: bytes, arrival_ms: float
    ) -> None:
        """An access unit of H.264, Annex B, that has arrived at this server time; a stream begins
        with a key frame.

        Raises BadRequestError for a publisher whose timestamps do not run as time does.
        """
        if not self.has_begun and not is_key:
            return
        self.has_begun = True
        rtp = ticks % RTP_MODULUS
        self.has_b_frames = self.has_b_frames or ticks != dts_ticks
        self._tell(self._estimator.frame(Frame(self._source, rtp, arrival_ms)), arrival_ms)
        anchor = self._estimator.anchor
        if anchor is None:
            return
        pts_ms = pts_of_rtp(anchor, rtp)
        reordered_ms = rtp_difference(dts_ticks % RTP_MODULUS, rtp) / TICKS_PER_MS
        self._deliver(
            EncodedFrame(
                room=self._estimator.room,
                epoch=anchor.epoch,
                track="video",
                codec="h264",
                rtp=rtp,
                pts_ms=pts_ms,
                server_ms=_server_ms(anchor, pts_ms),
                duration_ms=0.0,
                is_key=is_key,
                data=data,
                dts_ms=pts_ms + reordered_ms if self.has_b_frames else None,
            )
        )

    def sound(self, ticks: int, codec: Codec, data: bytes, config: bytes = b"") -> None:
        """A packet of sound; dropped before the first picture."""
        anchor = self._estimator.anchor
        if anchor is None or not self._estimator.running or not self.has_begun:
            return
        rtp = ticks % RTP_MODULUS
        pts_ms = pts_of_rtp(anchor, rtp)
        self._deliver(
            EncodedFrame(
                room=self._estimator.room,
                epoch=anchor.epoch,
                track="audio",
                codec=codec,
                rtp=rtp,
                pts_ms=pts_ms,
                server_ms=_server_ms(anchor, pts_ms),
                duration_ms=0.0,
                is_key=True,
                data=data,
                config=config,
            )
        )

    def check(self, now_ms: float) -> None:
        """Say what the absence of frames says."""
        self._tell(self._estimator.check(now_ms), now_ms)

    def _tell(self, events: list[ClockEvent], now_ms: float) -> None:
        if not events:
            return
        self._announce(self._estimator.room, events)
        for event in events:
            if event.kind == "clock.epoch.opened":
                self._opened_ms.append(now_ms)
        is_full = len(self._opened_ms) == bounds.EPOCHS_PER_MINUTE_MAX
        if is_full and now_ms - self._opened_ms[0] < 60_000:
            self._opened_ms.clear()
            raise BadRequestError(
                "timestamps do not run as time does: publish in real time (FFmpeg: -re)",
                code="not_real_time",
            )


def _server_ms(anchor: Anchor, pts_ms: float) -> float:
    return anchor.server_ms + pts_ms - anchor.pts_ms
