"""One publisher's stream on its room's clock: from FLV tags to encoded frames. Sans-I/O.

RTMP brings no absolute time: a frame's server time is its place on the line that arrivals draw
(:mod:`media.clock`). Its timestamps are in ms; on the clock and in frames they are 90 kHz ticks, as
everywhere else.
"""

from collections import deque
from collections.abc import Callable

from engagement.domain.media_time import RTP_MODULUS, Anchor, pts_of_rtp, rtp_difference
from engagement.errors import BadRequestError
from media.clock import ClockEvent, Frame, MediaClockEstimator
from media.frames import EncodedFrame
from media.rtmp import bounds
from media.rtmp.flv import AudioReader, VideoReader
from media.rtmp.session import MediaArrived
from media.running_epoch import Reason

_TICKS_PER_MS = 90


class Publication:
    """Feeds a room's estimator and gives frames; one object a connection."""

    def __init__(
        self,
        estimator: MediaClockEstimator,
        source: int,
        deliver: Callable[[EncodedFrame], None],
        announce: Callable[[str, list[ClockEvent]], None],
    ) -> None:
        """`source` differs from that of every other publication of the room."""
        self.has_b_frames = False
        """Frames are not shown in the order in which they come: nothing for WebRTC."""
        self.has_begun = False
        self._estimator = estimator
        self._source = source
        self._deliver, self._announce = deliver, announce
        self._video, self._audio = VideoReader(), AudioReader()
        self._opened_ms: deque[float] = deque(maxlen=bounds.EPOCHS_PER_MINUTE_MAX)

    def take(self, media: MediaArrived, arrival_ms: float) -> None:
        """A tag that has arrived at this server time.

        Raises BadRequestError for a broken tag, a codec that is not carried, and a publisher whose
        timestamps do not run as time does.
        """
        if media.kind == "video":
            self._take_video(media, arrival_ms)
        else:
            self._take_audio(media)

    def check(self, now_ms: float) -> None:
        """Say what the absence of frames says."""
        self._tell(self._estimator.check(now_ms), now_ms)

    def end(self, now_ms: float, reason: Reason) -> None:
        """The publisher has gone."""
        self._tell(self._estimator.end(now_ms, reason), now_ms)

    def _take_video(self, media: MediaArrived, arrival_ms: float) -> None:
        taken = self._video.take(media.timestamp_ms, media.payload)
        if taken is None or (not self.has_begun and not taken.is_key):
            return
        self.has_begun = True
        self.has_b_frames = self.has_b_frames or taken.pts_ms != taken.dts_ms
        rtp = _ticks(taken.pts_ms)
        self._tell(self._estimator.frame(Frame(self._source, rtp, arrival_ms)), arrival_ms)
        anchor = self._estimator.anchor
        if anchor is None:
            return
        pts_ms = pts_of_rtp(anchor, rtp)
        reordered_ms = rtp_difference(_ticks(taken.dts_ms), rtp) / _TICKS_PER_MS
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
                is_key=taken.is_key,
                data=taken.data,
                dts_ms=pts_ms + reordered_ms if self.has_b_frames else None,
            )
        )

    def _take_audio(self, media: MediaArrived) -> None:
        taken = self._audio.take(media.timestamp_ms, media.payload)
        anchor = self._estimator.anchor
        if taken is None or anchor is None or not self._estimator.running:
            return
        rtp = _ticks(taken.pts_ms)
        pts_ms = pts_of_rtp(anchor, rtp)
        self._deliver(
            EncodedFrame(
                room=self._estimator.room,
                epoch=anchor.epoch,
                track="audio",
                codec="aac",
                rtp=rtp,
                pts_ms=pts_ms,
                server_ms=_server_ms(anchor, pts_ms),
                duration_ms=0.0,
                is_key=True,
                data=taken.data,
                config=taken.config,
            )
        )

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


def _ticks(timestamp_ms: int) -> int:
    return timestamp_ms * _TICKS_PER_MS % RTP_MODULUS


def _server_ms(anchor: Anchor, pts_ms: float) -> float:
    return anchor.server_ms + pts_ms - anchor.pts_ms
