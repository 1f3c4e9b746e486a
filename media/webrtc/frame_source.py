"""A room whose publisher came by another way (RTMP, SRT), for its WebRTC viewers.

Encoded frames are cut into packets as a WebRTC publisher would have sent them: the RTP timestamps
are the ones that the room's anchors name, so a viewer's `rtpTimestamp` is as exact as over WHIP.
Video is not touched. What WebRTC cannot show, frames in another order than that of their display,
is refused by name, with what to set in the encoder.
"""

from collections.abc import Callable
from typing import Final

from engagement.errors import BadRequestError
from media.clock_formulas import ntp_of_unix_ms
from media.engine import Track
from media.frames import EncodedFrame
from media.hls.sound import OPUS_RATE_HZ
from media.rtp.packet import RtpPacket
from media.rtp.payload import h264_payloads, h264_profile
from media.rtp.retransmission import TokenBucket
from media.rtp.rtcp import SenderReport
from media.rtp.sequence import SEQUENCE_MODULUS
from media.transcode import SoundThreads, TranscodedSound
from media.webrtc import bounds, metrics
from media.webrtc.fan_out import TrackFanOut

_TICKS_PER_MS: Final = OPUS_RATE_HZ / 1000


class NotForWebRtcError(BadRequestError):
    """The stream plays, but not over WebRTC."""

    status = 406
    code = "not_for_webrtc"
    title = "Not for WebRTC"


class FrameSource:
    """One epoch of one publisher; a room's packets come from here while there is one."""

    def __init__(
        self,
        epoch: int,
        fan_outs: dict[Track, TrackFanOut],
        threads: SoundThreads,
        is_watched: Callable[[], bool],
        now_ms: Callable[[], float],
    ) -> None:
        """While nobody watches nothing is cut, and no sound transcoded."""
        self.epoch = epoch
        self.refusal: NotForWebRtcError | None = None
        """Why nobody can watch it over WebRTC."""
        self._fan_outs = fan_outs
        self._is_watched = is_watched
        self._now_ms = now_ms
        self._sound = TranscodedSound(threads.executor, self._send_sound)
        self._profile = ""
        self._sequences: dict[Track, int] = {"video": 0, "audio": 0}
        self._newest_pts_ms = float("-inf")
        self._reported_ms = float("-inf")
        self._needs_key = True
        self._budget = TokenBucket(bounds.PUBLISHER_PACKETS_PER_S, bounds.PUBLISHER_PACKETS_BURST)
        for fan_out in fan_outs.values():
            fan_out.begin_source()

    @property
    def codecs(self) -> dict[str, tuple[str, str]]:
        """Codec and profile by kind, as of a WebRTC publisher."""
        return {"video": ("h264", self._profile), "audio": ("opus", "")}

    def feed(self, frame: EncodedFrame) -> None:
        """Take in the next frame, in order of arrival. Never raises."""
        if frame.track == "audio":
            self._take_sound(frame)
        elif frame.codec != "h264":
            self.refusal = NotForWebRtcError(
                f"the stream's video is {frame.codec}, which is not forwarded over WebRTC"
            )
        else:
            self._take_picture(frame)

    def close(self) -> None:
        """The epoch is over."""
        self._sound.close()

    def _take_picture(self, frame: EncodedFrame) -> None:
        if frame.is_key:
            self._profile = h264_profile(frame.data) or self._profile
        if frame.pts_ms < self._newest_pts_ms:
            self.refusal = NotForWebRtcError(
                "the encoder sends B-frames, which WebRTC cannot show: set B-frames to 0 "
                "(OBS: Advanced, B-frames 0 or Tune zerolatency; FFmpeg: -bf 0). "
                "The stream plays over HLS as it is",
                code="b_frames",
            )
        self._newest_pts_ms = max(self._newest_pts_ms, frame.pts_ms)
        if self.refusal is not None or not self._is_watched():
            self._needs_key = True
            return
        self._needs_key = self._needs_key and not frame.is_key
        if self._needs_key:
            return
        payloads = h264_payloads(frame.data)
        if not all(self._budget.take(self._now_ms()) for _ in payloads):
            metrics.MALFORMED.labels("too_many").inc()
            self._needs_key = True
            return
        self._send("video", "h264", frame, payloads, self._report(frame))

    def _take_sound(self, frame: EncodedFrame) -> None:
        if self.refusal is not None or not self._is_watched():
            return
        if frame.codec == "opus":
            self._send_sound(frame)
        elif frame.codec == "aac":
            self._sound.take(frame)

    def _send_sound(self, frame: EncodedFrame) -> None:
        self._send("audio", "opus", frame, [frame.data], b"")

    def _send(
        self, kind: Track, codec: str, frame: EncodedFrame, payloads: list[bytes], capture: bytes
    ) -> None:
        timestamp = frame.rtp if kind == "video" else _sound_ticks(frame.pts_ms)
        fan_out, now_ms = self._fan_outs[kind], self._now_ms()
        for index, payload in enumerate(payloads):
            is_last = kind == "video" and index == len(payloads) - 1
            sequence = self._sequences[kind]
            self._sequences[kind] = (sequence + 1) % SEQUENCE_MODULUS
            packet = RtpPacket(0, is_last, sequence, timestamp, 0, payload)
            fan_out.forward(packet, codec, b"" if index else capture, now_ms)

    def _report(self, frame: EncodedFrame) -> bytes:
        """Tie both tracks' timestamps to one clock, ours, now and then; what the frame's first
        packet says of it (abs-capture-time), empty in between."""
        if abs(frame.server_ms - self._reported_ms) < bounds.REPORT_MS:
            return b""
        self._reported_ms = frame.server_ms
        ntp64 = ntp_of_unix_ms(frame.server_ms)
        sound_rtp = _sound_ticks(frame.pts_ms)
        self._fan_outs["video"].relay(SenderReport(0, ntp64, frame.rtp, 0, 0))
        self._fan_outs["audio"].relay(SenderReport(0, ntp64, sound_rtp, 0, 0))
        return ntp64.to_bytes(8, "big")


def _sound_ticks(pts_ms: float) -> int:
    """Sound begins with media time 0, as the video does at whatever its timestamp was."""
    return round(pts_ms * _TICKS_PER_MS) % 2**32
