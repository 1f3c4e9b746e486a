"""A generator of encoded frames: real H.264 from libx264, real Opus or AAC, on one media line."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import av

from media.frames import Codec, EncodedFrame

WIDTH, HEIGHT = 160, 96
BEGAN_MS = 1_790_000_000_000.0
"""Server time of media time 0 in tests."""


@lru_cache(maxsize=16)
def h264(
    frames: int, gop: int = 30, fps: int = 30, size: tuple[int, int] = (WIDTH, HEIGHT), b: int = 0
) -> tuple[tuple[int, int, bool, bytes], ...]:
    """(pts, dts, is key, Annex B) of each frame; times in frames."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, fps)
    encoder.framerate = Fraction(fps)
    encoder.gop_size = gop
    encoder.max_b_frames = b
    encoder.options = {"preset": "ultrafast", "x264-params": f"scenecut=0:keyint={gop}:bframes={b}"}
    if not b:
        encoder.options |= {"tune": "zerolatency"}
    packets = []
    for number in range(frames):
        picture = av.VideoFrame(*size, "yuv420p")
        for plane, level in zip(picture.planes, (number * 7 % 220, 90, 160), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        picture.pts = number
        picture.time_base = encoder.time_base
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    return tuple((p.pts, p.dts, p.is_keyframe, bytes(p)) for p in packets)


@lru_cache(maxsize=16)
def sound(codec: Codec, packets: int, rate: int = 48_000) -> tuple[tuple[float, bytes, bytes], ...]:
    """(media ms, packet, config) of a low hum."""
    encoder = av.CodecContext.create("libopus" if codec == "opus" else "aac", "w")
    encoder.sample_rate, encoder.layout = rate, "stereo"
    encoder.format = "s16" if codec == "opus" else "fltp"
    samples = 960 if codec == "opus" else 1024
    encoded: list[bytes] = []
    number = 0
    while len(encoded) < packets:
        frame = av.AudioFrame(encoder.format.name, "stereo", samples)
        frame.sample_rate, frame.pts = rate, number * samples
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        encoded += [bytes(packet) for packet in encoder.encode(frame)]
        number += 1
    config = bytes(encoder.extradata or b"") if codec == "aac" else b""
    return tuple(
        (index * samples * 1000 / rate, packet, config)
        for index, packet in enumerate(encoded[:packets])
    )


def video_frames(
    frames: int,
    *,
    room: str = "demo",
    epoch: int = 1,
    from_ms: float = 0.0,
    began_ms: float = BEGAN_MS,
    gop: int = 30,
    fps: int = 30,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    b: int = 0,
) -> list[EncodedFrame]:
    """Video of one epoch from its media time `from_ms` on, in decode order."""
    step_ms = 1000 / fps
    made = []
    for pts, dts, is_key, data in h264(frames, gop, fps, size, b):
        pts_ms = from_ms + pts * step_ms
        made.append(
            EncodedFrame(
                room=room, epoch=epoch, track="video", codec="h264",
                rtp=round(pts_ms * 90) % 2**32, pts_ms=pts_ms, server_ms=began_ms + pts_ms,
                duration_ms=0.0, is_key=is_key, data=data,
                dts_ms=from_ms + dts * step_ms if b else None,
            )
        )  # fmt: skip
    return made


def sound_frames(
    packets: int,
    *,
    codec: Codec = "opus",
    room: str = "demo",
    epoch: int = 1,
    from_ms: float = 0.0,
    began_ms: float = BEGAN_MS,
    rate: int = 48_000,
) -> list[EncodedFrame]:
    """Sound on the same line."""
    return [
        EncodedFrame(
            room=room, epoch=epoch, track="audio", codec=codec, rtp=round(ms * rate / 1000),
            pts_ms=from_ms + ms, server_ms=began_ms + from_ms + ms, duration_ms=0.0, is_key=True,
            data=packet, config=config,
        )
        for ms, packet, config in sound(codec, packets, rate)
    ]  # fmt: skip


def interleaved(*tracks: list[EncodedFrame]) -> Iterator[EncodedFrame]:
    """Tracks merged in order of decoding, as an ingest gives them."""
    merged = [frame for track in tracks for frame in track]
    order = sorted(merged, key=lambda f: (f.epoch, f.pts_ms if f.dts_ms is None else f.dts_ms))
    return iter(order)
