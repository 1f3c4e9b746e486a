"""What a host's computer does: pictures to H.264, a room's sound to Opus.

Baseline without B-frames, so that it is watched over WebRTC as it is; a key frame every two
seconds, and whenever somebody asks for one.
"""

from array import array
from fractions import Fraction
from math import pi, sin
from typing import Final

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

FPS: Final = 30
GOP_FRAMES: Final = 2 * FPS
VIDEO_RATE_HZ: Final = 90_000
VIDEO_BITS_PER_S_MAX: Final = 900_000
SOUND_RATE_HZ: Final = 48_000
SOUND_FRAME_SAMPLES: Final = 960
"""20 ms."""
SOUND_LOOP_S: Final = 8
SOUND_BITS_PER_S: Final = 32_000
_CHORDS: Final = ((220.0, 277.18, 329.63), (196.0, 246.94, 293.66),
                  (174.61, 220.0, 261.63), (196.0, 246.94, 329.63))  # fmt: skip


class PictureEncoder:
    """H.264 of one take, Annex B; each frame comes out as it goes in."""

    def __init__(self, width: int, height: int) -> None:
        codec = av.CodecContext.create("libx264", "w")
        if not isinstance(codec, VideoCodecContext):
            raise TypeError("libx264 is no codec of pictures")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.time_base, codec.framerate = Fraction(1, VIDEO_RATE_HZ), Fraction(FPS)
        codec.gop_size, codec.max_b_frames, codec.thread_count = GOP_FRAMES, 0, 1
        codec.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "crf": "26",
            "maxrate": str(VIDEO_BITS_PER_S_MAX),
            "bufsize": str(VIDEO_BITS_PER_S_MAX),
            "forced-idr": "1",
            "x264-params": f"scenecut=0:keyint={GOP_FRAMES}",
        }
        self._codec = codec

    def encode(
        self, frame: av.VideoFrame, number: int, *, is_key: bool
    ) -> "av.Packet[av.VideoStream]":
        """The packet of the frame of this number, its times in 90 kHz."""
        frame.pts, frame.time_base = number * VIDEO_RATE_HZ // FPS, Fraction(1, VIDEO_RATE_HZ)
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        [packet] = self._codec.encode(frame)
        return packet


def sound_loop() -> list[bytes]:
    """Opus packets of 20 ms that can be sent over and over: four soft chords."""
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout = SOUND_RATE_HZ, "mono"
    codec.format, codec.bit_rate = av.AudioFormat("s16"), SOUND_BITS_PER_S
    codec.options = {"frame_duration": "20"}
    packets: list[bytes] = []
    samples = SOUND_RATE_HZ * SOUND_LOOP_S
    # Written down once in a third of the rate, where nothing of it is lost, and held in between.
    third = [_sample(number / (SOUND_RATE_HZ / 3)) for number in range(samples // 3)]
    line = array("h", (value for value in third for _ in range(3)))
    for at in range(0, samples, SOUND_FRAME_SAMPLES):
        frame = av.AudioFrame("s16", "mono", SOUND_FRAME_SAMPLES)
        frame.planes[0].update(line[at : at + SOUND_FRAME_SAMPLES].tobytes())
        frame.sample_rate, frame.pts = SOUND_RATE_HZ, at
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets + [bytes(packet) for packet in codec.encode(None)]


def _sample(at_s: float) -> int:
    chord = _CHORDS[int(at_s / SOUND_LOOP_S * len(_CHORDS))]
    part = at_s % (SOUND_LOOP_S / len(_CHORDS)) / (SOUND_LOOP_S / len(_CHORDS))
    envelope = sin(pi * part) ** 2
    return round(900 * envelope * sum(sin(2 * pi * pitch * at_s) for pitch in chord))
