"""From FLV tags to frames on the room's clock. Sans-I/O. FLV counts in ms."""

from media.ingest.publication import TICKS_PER_MS, PublishedFrames
from media.rtmp.flv import AudioReader, VideoReader
from media.rtmp.session import MediaArrived


class Publication:
    """One publisher's tags; one object a connection."""

    def __init__(self, frames: PublishedFrames) -> None:
        self.frames = frames
        self._video, self._audio = VideoReader(), AudioReader()

    def take(self, media: MediaArrived, arrival_ms: float) -> None:
        """A tag that has arrived at this server time.

        Raises BadRequestError for a broken tag, a codec that is not carried, and a publisher whose
        timestamps do not run as time does.
        """
        if media.kind == "video":
            picture = self._video.take(media.timestamp_ms, media.payload)
            if picture is not None:
                self.frames.video(
                    picture.pts_ms * TICKS_PER_MS,
                    picture.dts_ms * TICKS_PER_MS,
                    is_key=picture.is_key,
                    data=picture.data,
                    arrival_ms=arrival_ms,
                )
            return
        sound = self._audio.take(media.timestamp_ms, media.payload)
        if sound is not None:
            self.frames.sound(sound.pts_ms * TICKS_PER_MS, "aac", sound.data, sound.config)

    def check(self, now_ms: float) -> None:
        """Say what the absence of frames says."""
        self.frames.check(now_ms)
