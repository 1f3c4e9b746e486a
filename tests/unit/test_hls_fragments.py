"""What is in which part: read back by FFmpeg, which knows nothing of how it was made."""

import io
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engagement.errors import BadRequestError
from media.frames import EncodedFrame
from media.hls import bounds
from media.hls.fragments import Fragmenter, Header, KeyFrameWanted, Output, Part
from tests.unit.encoded import BEGAN_MS, interleaved, sound_frames, video_frames


@dataclass
class Read:
    """One packet as FFmpeg finds it; times in ms."""

    kind: str
    dts: float
    pts: float
    duration: float
    data: bytes


def read(*pieces: bytes) -> list[Read]:
    """Every packet of a header and some fragments."""
    found = []
    with av.open(io.BytesIO(b"".join(pieces))) as container:
        for packet in container.demux():
            if packet.dts is None:
                continue
            ms = 1000 * float(packet.time_base or Fraction(1))
            kind = packet.stream.type
            found.append(
                Read(kind, packet.dts * ms, packet.pts * ms, packet.duration * ms, bytes(packet))
            )
    return found


def cut(frames: list[EncodedFrame]) -> list[Output]:
    """Everything that these frames become, the epoch ended."""
    fragmenter = Fragmenter()
    outputs = [output for frame in frames for output in fragmenter.feed(frame)]
    return outputs + fragmenter.end()


def parts_of(outputs: list[Output]) -> list[Part]:
    return [output for output in outputs if isinstance(output, Part)]


def headers_of(outputs: list[Output]) -> list[Header]:
    return [output for output in outputs if isinstance(output, Header)]


def whole(outputs: list[Output]) -> bytes:
    return b"".join(o.data for o in outputs if not isinstance(o, KeyFrameWanted))


def test_every_frame_is_found_again_at_its_own_time() -> None:
    outputs = cut(list(interleaved(video_frames(90), sound_frames(150))))
    packets = read(whole(outputs))
    video = [packet for packet in packets if packet.kind == "video"]
    assert [round(packet.pts, 2) for packet in video] == [
        round(n * 1000 / 30, 2) for n in range(90)
    ]
    sound = [packet for packet in packets if packet.kind == "audio"]
    assert [packet.pts for packet in sound] == [n * 20.0 for n in range(150)]
    assert [packet.data for packet in sound] == [frame.data for frame in sound_frames(150)]


def test_a_part_begins_with_video_so_that_players_tie_its_date_to_a_frame() -> None:
    # The story: sound that began up to 20 ms before the first frame of a part put the date of
    # everything that hls.js played after it off by as much.
    outputs = cut(list(interleaved(video_frames(150), sound_frames(250, from_ms=7.0))))
    header = headers_of(outputs)[0].data
    for part in parts_of(outputs):
        packets = read(header, part.data)
        first = {p.kind: p.dts for p in reversed(packets)}
        assert first["video"] == pytest.approx(part.pts_ms, abs=0.02)
        assert first["audio"] >= first["video"]


def test_parts_follow_each_other_without_gap_or_overlap() -> None:
    parts = parts_of(cut(list(interleaved(video_frames(150), sound_frames(250)))))
    for part, following in pairwise(parts):
        assert part.pts_ms + part.duration_ticks / 90 == pytest.approx(following.pts_ms, abs=0.02)
    assert sum(part.duration_ticks for part in parts) == 5 * 90_000


@pytest.mark.parametrize("fps", [15, 20, 24, 25, 30, 50, 60])
def test_parts_are_as_long_as_the_draft_allows(fps: int) -> None:
    parts = parts_of(cut(video_frames(fps * 5, fps=fps, gop=fps * 2)))
    target = bounds.PART_TARGET_S * 90_000
    for part, following in pairwise(parts):
        assert part.duration_ticks <= target + 1
        if not following.begins_segment:
            assert part.duration_ticks >= 0.85 * target


def test_segments_begin_with_key_frames_and_dates() -> None:
    parts = parts_of(cut(video_frames(150, gop=45)))
    begun = [part for part in parts if part.begins_segment]
    assert [round(part.pts_ms) for part in begun] == [0, 1500, 3000, 4500]
    assert all(part.is_independent for part in begun)
    assert [part.server_ms for part in begun] == [BEGAN_MS + part.pts_ms for part in begun]


def test_key_frames_that_come_often_do_not_make_short_segments() -> None:
    begun = [part for part in parts_of(cut(video_frames(120, gop=6))) if part.begins_segment]
    assert [round(part.pts_ms) for part in begun] == [0, 1000, 2000, 3000]


def test_without_key_frames_one_is_asked_for_and_the_segment_ends_all_the_same() -> None:
    fragmenter = Fragmenter()
    asked, begun = [], []
    for frame in video_frames(150, gop=600):
        for output in fragmenter.feed(frame):
            if isinstance(output, KeyFrameWanted):
                asked.append(frame.pts_ms)
            elif isinstance(output, Part) and output.begins_segment:
                begun.append(output.pts_ms)
    assert asked[:3] == [pytest.approx(t, abs=40) for t in (2000, 2500, 3000)]
    assert begun[1] <= bounds.SEGMENT_MAX_S * 1000 + 0.1


def test_a_stream_that_begins_in_its_middle_waits_for_a_key_frame_and_asks_for_it() -> None:
    fragmenter = Fragmenter()
    frames = video_frames(60, gop=30)[5:]
    outputs = [output for frame in frames for output in fragmenter.feed(frame)]
    assert isinstance(outputs[0], KeyFrameWanted)
    assert parts_of(outputs)[0].pts_ms == pytest.approx(1000)
    assert fragmenter.dropped == 25


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_aac_and_b_frames_are_carried(rate: int) -> None:
    frames = list(interleaved(video_frames(90, b=2), sound_frames(120, codec="aac", rate=rate)))
    outputs = cut(frames)
    assert headers_of(outputs)[0].codecs.endswith("mp4a.40.2")
    video = [packet for packet in read(whole(outputs)) if packet.kind == "video"]
    assert any(packet.pts != packet.dts for packet in video)
    shown = sorted(packet.pts for packet in video)
    # B-frames are decoded before media time 0: the whole stream is moved by as much.
    assert [round(t - shown[0], 1) for t in shown] == [round(n * 1000 / 30, 1) for n in range(90)]


def test_sound_that_stops_becomes_silence_in_the_same_part_and_comes_back() -> None:
    spoken = sound_frames(300)
    gone = [frame for frame in spoken if not 2000 <= frame.pts_ms < 4000]
    outputs = cut(list(interleaved(video_frames(180), gone)))
    sound = [packet for packet in read(whole(outputs)) if packet.kind == "audio"]
    ends = [packet.dts + packet.duration for packet in sound]
    starts = [packet.dts for packet in sound[1:]]
    gaps = [start - end for start, end in zip(starts, ends, strict=False)]
    assert max(map(abs, gaps)) < 20, "players stop where one of two tracks has nothing"
    assert sum(packet.data == b"\xf8\xff\xfe" for packet in sound) >= 95
    assert sound[-1].data == spoken[-1].data


def test_parts_wait_for_sound_that_is_gone_once_and_not_again() -> None:
    fragmenter = Fragmenter()
    spoken = [frame for frame in sound_frames(100) if frame.pts_ms < 2000]
    waited = [
        frame.pts_ms - output.pts_ms - output.duration_ticks / 90
        for frame in interleaved(video_frames(180), spoken)
        for output in fragmenter.feed(frame)
        if isinstance(output, Part) and output.pts_ms > 2600
    ]
    assert len(waited) > 8 and max(waited) < 1, "a part is there with the first frame after it"


def test_sound_that_comes_late_is_waited_for() -> None:
    late = [replace(frame, pts_ms=frame.pts_ms) for frame in sound_frames(250)]
    frames = sorted(
        video_frames(150) + late, key=lambda f: f.pts_ms + (300 if f.track == "audio" else 0)
    )
    outputs = cut(frames)
    sound = [packet for packet in read(whole(outputs)) if packet.kind == "audio"]
    assert [packet.data for packet in sound] == [frame.data for frame in late]


def test_sound_that_begins_later_makes_a_new_header_at_a_key_frame() -> None:
    outputs = cut(list(interleaved(video_frames(150), sound_frames(100, from_ms=2500))))
    first, second = headers_of(outputs)
    assert "opus" not in first.codecs and "opus" in second.codecs
    follows = outputs[outputs.index(second) + 1]
    assert isinstance(follows, Part) and follows.begins_segment and follows.is_independent


def test_another_picture_size_makes_a_new_header() -> None:
    small, large = video_frames(30), video_frames(30, size=(320, 180), from_ms=1000)
    outputs = cut(small + large)
    assert len(headers_of(outputs)) == 2
    at = outputs.index(headers_of(outputs)[1])
    assert outputs[at + 1].pts_ms == pytest.approx(1000)  # type: ignore[union-attr]


def test_another_epoch_makes_a_new_header_and_frames_of_the_last_one_are_dropped() -> None:
    fragmenter = Fragmenter()
    first, second = video_frames(45, epoch=1), video_frames(45, epoch=2)
    outputs = [o for frame in first + second for o in fragmenter.feed(frame)]
    assert fragmenter.feed(first[0]) == [] and fragmenter.dropped == 1
    assert [header.epoch for header in headers_of(outputs)] == [1, 2]
    ended = [part for part in parts_of(outputs) if part.epoch == 1]
    assert sum(part.duration_ticks for part in ended) == 45 * 3000


def test_a_codec_that_hls_does_not_carry_is_refused_by_name() -> None:
    frame = replace(video_frames(1)[0], codec="vp8", data=b"frame")
    with pytest.raises(BadRequestError, match="vp8") as refused:
        Fragmenter().feed(frame)
    assert refused.value.code == "codec_not_packaged"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_frames_lost_late_twice_or_jittered_keep_every_promise(data: st.DataObject) -> None:
    frames = list(interleaved(video_frames(120, gop=30), sound_frames(200)))
    chosen = []
    for number, frame in enumerate(frames):
        if data.draw(st.integers(0, 9), label=f"fate {number}") == 0:
            continue
        jitter = data.draw(st.floats(-9, 9)) if frame.track == "video" else 0.0
        chosen.append(replace(frame, pts_ms=max(0.0, frame.pts_ms + jitter)))
    order = data.draw(st.lists(st.integers(0, max(0, len(chosen) - 2)), max_size=20))
    for at in order:
        chosen[at], chosen[at + 1] = chosen[at + 1], chosen[at]
    outputs = cut(chosen)
    parts = parts_of(outputs)
    if not parts:
        return
    for part, following in pairwise(parts):
        assert part.pts_ms + part.duration_ticks / 90 == pytest.approx(following.pts_ms, abs=0.05)
    packets = read(whole(outputs))
    for kind in ("video", "audio"):
        times = [packet.dts for packet in packets if packet.kind == kind]
        assert times == sorted(set(times))


@given(
    st.lists(
        st.tuples(st.sampled_from(["h264", "opus", "aac", "vp8"]), st.binary(max_size=60)),
        max_size=30,
    )
)
def test_junk_is_refused_or_dropped(junk: list[tuple[str, bytes]]) -> None:
    fragmenter = Fragmenter()
    for number, (codec, data) in enumerate(junk):
        is_video = codec in ("h264", "vp8")
        frame = replace(
            video_frames(1)[0], codec=codec, data=data,
            track="video" if is_video else "audio", pts_ms=number * 20.0, config=data[:8],
        )  # fmt: skip
        try:
            fragmenter.feed(frame)
        except BadRequestError as error:
            assert error.code in ("bad_bitstream", "codec_not_packaged")
