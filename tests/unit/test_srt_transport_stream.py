"""From a transport stream to access units and sound: what FFmpeg muxes, what a loss breaks,
and what is no transport stream at all."""

import io
from fractions import Fraction
from functools import lru_cache

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.hls.avc import split_annex_b
from media.srt.elementary import SoundUnit, VideoUnit
from media.srt.tables import crc32_mpeg
from media.srt.transport_stream import PACKET_BYTES, TransportStream, parse_pes
from tests.unit.encoded import h264, sound

FPS, GOP, FRAMES = 30, 10, 40


@lru_cache(maxsize=4)
def muxed(codec: str = "aac", b: int = 0) -> bytes:
    """Forty frames with sound, by FFmpeg's muxer."""
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as muxer:
        frames = h264(FRAMES, GOP, b=b)
        key = io.BytesIO(frames[0][3])
        video = muxer.add_stream_from_template(av.open(key, format="h264").streams.video[0])
        name = "aac" if codec == "aac" else "libopus"
        audio = muxer.add_stream(name, rate=48_000, layout="stereo")
        packets = []
        for pts, dts, is_key, data in frames:
            packet = av.Packet(data)
            packet.stream, packet.is_keyframe = video, is_key
            packet.pts, packet.dts, packet.time_base = pts, dts, Fraction(1, FPS)
            packets.append((dts / FPS, packet))
        samples = 1024 if codec == "aac" else 960
        audio.codec_context.open()
        for number, (_, data, _) in enumerate(sound(codec, 50)):  # type: ignore[arg-type]
            packet = av.Packet(data)
            packet.stream = audio
            packet.pts = packet.dts = number * samples
            packet.time_base = Fraction(1, 48_000)
            packets.append((number * samples / 48_000, packet))
        for _, packet in sorted(packets, key=lambda each: each[0]):
            muxer.mux(packet)
    return out.getvalue()


def units_of(data: bytes, step: int = 1_316) -> tuple[list[VideoUnit], list[SoundUnit]]:
    stream = TransportStream()
    units = [u for at in range(0, len(data), step) for u in stream.receive(data[at : at + step])]
    return (
        [unit for unit in units if isinstance(unit, VideoUnit)],
        [unit for unit in units if isinstance(unit, SoundUnit)],
    )


def reference(data: bytes, kind: str) -> list[tuple[int, int, bytes]]:
    """The same by FFmpeg's demuxer."""
    with av.open(io.BytesIO(data), format="mpegts") as demuxer:
        found = [p for p in demuxer.demux() if p.stream.type == kind and p.pts is not None]
        return [(p.pts, p.dts, bytes(p)) for p in found]


@pytest.mark.parametrize("codec", ["aac", "opus"])
@pytest.mark.parametrize("b", [0, 2])
def test_what_ffmpeg_muxes_comes_out_as_ffmpeg_reads_it(codec: str, b: int) -> None:
    data = muxed(codec, b)
    video, audio = units_of(data)
    pictures = reference(data, "video")
    # The last one has no successor that would end it.
    assert [(u.pts, u.dts) for u in video] == [(pts, dts) for pts, dts, _ in pictures[:-1]]
    for unit, (_, _, expected) in zip(video, pictures, strict=False):
        assert split_annex_b(unit.data) == split_annex_b(expected)
    sounds = reference(data, "audio")
    assert len(audio) == len(sounds)
    for heard, (pts, _, _) in zip(audio, sounds, strict=True):
        assert abs(heard.pts - pts) <= 1
    expected_packets = [packet for _, packet, _ in sound(codec, 50)]  # type: ignore[arg-type]
    assert [heard.data for heard in audio] == expected_packets


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=6))
@settings(max_examples=20)
def test_how_bytes_are_cut_makes_no_difference(steps: list[int]) -> None:
    data = muxed()
    stream, units, at = TransportStream(), [], 0
    while at < len(data):
        step = steps[len(units) % len(steps)]
        units += stream.receive(data[at : at + step])
        at += step
    whole = TransportStream().receive(data)
    assert units == whole


def test_a_lost_packet_breaks_nothing_beyond_the_next_key_frame() -> None:
    data = muxed()
    packets = [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]
    all_video, all_sound = units_of(data)
    by_pts = {unit.pts: unit for unit in all_video}
    for lost in range(3, len(packets), 7):
        kept = b"".join(packets[:lost] + packets[lost + 1 :])
        video, audio = units_of(kept)
        assert all(by_pts[unit.pts] == unit for unit in video), "what comes is whole"
        missing = [unit for unit in all_video if unit not in video]
        assert len(missing) <= GOP + 1
        if missing:
            after = video[[u.pts < missing[0].pts for u in video].count(True) :]
            assert not after or after[0].is_key
        assert len(all_sound) - len(audio) <= 20


def test_a_packet_that_is_sent_twice_counts_once() -> None:
    data = muxed()
    packets = [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]
    doubled = b"".join(packet + packet for packet in packets)
    video, audio = units_of(doubled)
    assert (video, audio) == units_of(data)


def test_another_codec_is_refused_by_name() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as muxer:
        stream = muxer.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            muxer.mux(stream.encode(frame))
        muxer.mux(stream.encode(None))
    with pytest.raises(BadRequestError, match=r"MPEG-2 video is not carried: .*H\.264"):
        TransportStream().receive(out.getvalue())


@given(st.binary(max_size=3_000))
def test_noise_makes_nothing(data: bytes) -> None:
    stream = TransportStream()
    assert stream.receive(data) == []
    assert len(stream.receive(b"")) == 0


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 255)), min_size=1, max_size=40))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_flipped_bytes_are_refused_or_cost_frames_and_nothing_else(
    flips: list[tuple[int, int]],
) -> None:
    data = bytearray(muxed())
    for at, value in flips:
        data[at % len(data)] = value
    try:
        video, audio = units_of(bytes(data))
    except BadRequestError:
        return
    assert len(video) <= FRAMES and len(audio) <= 200
    assert all(unit.data for unit in [*video, *audio])


@given(st.binary(max_size=400))
def test_a_pes_packet_is_read_or_it_is_none(data: bytes) -> None:
    for each in (data, b"\0\0\1\xe0" + data, b"\0\0\1\xe0\0\0\x80" + data):
        found = parse_pes(each)
        assert found is None or len(found.payload) <= len(each)


def test_the_checksum_is_that_of_mpeg() -> None:
    assert crc32_mpeg(b"123456789") == 0x0376E6E7
