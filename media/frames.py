"""Encoded frames on their way through the media process: what every ingest gives and what the
packager and the recorder take. Nothing here decodes or encodes.
"""

from typing import Literal, Protocol

from msgspec import Struct

from media.engine import Track

Codec = Literal["h264", "vp8", "opus", "aac"]

VIDEO_RATE_HZ = 90_000
"""Ticks of video media time (RFC 3551, section 5)."""


class EncodedFrame(Struct, frozen=True):
    """One access unit of one track."""

    room: str
    epoch: int
    track: Track
    codec: Codec
    rtp: int
    """The publisher's own RTP timestamp, 32 bits; made up at ingests that have none."""
    pts_ms: float
    """Media time on the room's clock: ms since the epoch's start. Both tracks are on one line."""
    server_ms: float
    """Server wall time, Unix ms, at which the frame was ingested by the room's clock (not its
    jittered arrival): what PROGRAM-DATE-TIME says of it."""
    duration_ms: float
    """0: unknown until the next frame."""
    is_key: bool
    """A decoder can start here; always true of audio."""
    data: bytes
    """H264: Annex B, parameter sets before every key frame. VP8: the frame. Opus: the packet.
    AAC: the raw frame without ADTS."""
    config: bytes = b""
    """AAC: AudioSpecificConfig (ISO 14496-3, 1.6.2.1)."""
    dts_ms: float | None = None
    """Decode time on the line of `pts_ms`, for streams with B-frames; None: frames are shown in
    the order in which they come, at `pts_ms`."""


class FrameSink(Protocol):
    """Who takes frames of rooms."""

    def feed(self, frame: EncodedFrame) -> None:
        """The next frame of its room, in order of arrival. Never raises."""

    def end_epoch(self, room: str, epoch: int) -> None:
        """No more of this epoch."""
