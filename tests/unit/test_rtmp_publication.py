"""From FLV tags to frames on the room's clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.clock import ClockEvent, MediaClockEstimator
from media.frames import EncodedFrame
from media.hls.avc import split_annex_b
from media.ingest import bounds
from media.ingest.publication import PublishedFrames
from media.rtmp.flv import AudioReader, VideoReader
from media.rtmp.publication import Publication
from media.rtmp.session import MediaArrived
from tests.unit.encoded import h264, sound
from tests.unit.rtmp_publisher import avc_configuration, avc_frame

NOW_MS = 1.79e12


class Room:
    """A publication and what came of it."""

    def __init__(self) -> None:
        self.frames: list[EncodedFrame] = []
        self.events: list[ClockEvent] = []
        self.publication = Publication(
            PublishedFrames(
                MediaClockEstimator("demo", 7),
                1,
                self.frames.append,
                lambda room, events: self.events.extend(events),
            )
        )

    def video(self, at_ms: int, body: bytes, arrival_ms: float | None = None) -> None:
        arrival_ms = NOW_MS + at_ms if arrival_ms is None else arrival_ms
        self.publication.take(MediaArrived("video", at_ms, body), arrival_ms)

    def audio(self, at_ms: int, body: bytes) -> None:
        self.publication.take(MediaArrived("audio", at_ms, body), NOW_MS + at_ms)


def published(frames: int, *, b: int = 0, from_ms: int = 0) -> Room:
    room, made = Room(), h264(frames, b=b)
    room.video(from_ms, avc_configuration(made[0][3]))
    first_dts = made[0][1]
    for pts, dts, is_key, data in made:
        at_ms = from_ms + (dts - first_dts) * 1000 // 30
        offset_ms = (pts - dts) * 1000 // 30
        room.video(at_ms, avc_frame(data, is_key=is_key, offset_ms=offset_ms))
    return room


def test_frames_are_on_the_line_that_arrivals_draw() -> None:
    room = published(90, from_ms=5_000)
    assert [frame.epoch for frame in room.frames] == [7] * 90
    assert room.frames[0].pts_ms == 0
    assert [f.pts_ms for f in room.frames] == [n * 1000 // 30 for n in range(90)]
    assert [f.server_ms - f.pts_ms for f in room.frames] == [NOW_MS + 5_000] * 90
    assert [f.rtp for f in room.frames] == [(5_000 + n * 1000 // 30) * 90 for n in range(90)]


def test_frames_are_annex_b_with_parameter_sets_before_each_key_frame() -> None:
    room = published(60)
    kinds = [[unit[0] & 31 for unit in split_annex_b(frame.data)] for frame in room.frames]
    assert [frame.is_key for frame in room.frames] == [n % 30 == 0 for n in range(60)]
    for frame, units in zip(room.frames, kinds, strict=True):
        assert ({7, 8} <= set(units)) is frame.is_key


def test_timestamps_go_on_where_they_wrap() -> None:
    room = published(60, from_ms=2**32 - 1_000)
    assert [f.pts_ms for f in room.frames] == [n * 1000 // 30 for n in range(60)]
    assert len({f.epoch for f in room.frames}) == 1
    assert all(0 <= f.rtp < 2**32 for f in room.frames)


def test_b_frames_keep_both_their_times() -> None:
    room = published(60, b=2)
    assert room.publication.frames.has_b_frames
    decoded = [frame.dts_ms for frame in room.frames]
    assert None not in decoded[1:] and decoded[1:] == sorted(decoded[1:])  # type: ignore[type-var]
    assert [f.pts_ms for f in room.frames] != sorted(f.pts_ms for f in room.frames)
    assert len({f.epoch for f in room.frames}) == 1


def test_sound_is_on_the_same_line() -> None:
    room = published(30)
    packets = sound("aac", 20)
    room.audio(500, b"\xaf\x00" + packets[0][2])
    for ms, packet, _ in packets:
        room.audio(500 + int(ms), b"\xaf\x01" + packet)
    spoken = [frame for frame in room.frames if frame.track == "audio"]
    assert [frame.pts_ms for frame in spoken] == [500 + int(ms) for ms, _, _ in packets]
    assert spoken[0].config == packets[0][2] and spoken[0].codec == "aac"


def test_a_stream_begins_with_a_key_frame() -> None:
    room, made = Room(), h264(60)
    room.video(0, avc_configuration(made[0][3]))
    for number, (_, _, is_key, data) in enumerate(made[5:]):
        room.video(number * 33, avc_frame(data, is_key=is_key))
    assert room.frames[0].is_key and room.frames[0].pts_ms == 0


def test_a_file_sent_at_once_is_refused_with_what_to_do() -> None:
    room, made = Room(), h264(60)
    room.video(0, avc_configuration(made[0][3]))
    with pytest.raises(BadRequestError, match="-re"):
        for number in range(3_000):
            _, _, is_key, data = made[number % 60]
            room.video(number * 100, avc_frame(data, is_key=is_key), NOW_MS + number)
    opened = [event for event in room.events if event.kind == "clock.epoch.opened"]
    assert len(opened) <= bounds.EPOCHS_PER_MINUTE_MAX


@pytest.mark.parametrize(
    ("body", "reader", "says"),
    [
        (b"\x90hvc1" + bytes(8), VideoReader, "not hvc1: set the encoder to H.264"),
        (b"\x12" + bytes(8), VideoReader, "set the encoder to H.264"),
        (b"\x2f\xff", AudioReader, "not MP3: set the encoder to AAC"),
        (b"\xbf\xff", AudioReader, "not Speex"),
    ],
)
def test_another_codec_is_refused_with_what_to_do(
    body: bytes, reader: type[VideoReader | AudioReader], says: str
) -> None:
    with pytest.raises(BadRequestError, match=says):
        reader().take(0, body)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=80)), max_size=20))
def test_junk_tags_are_ignored_or_refused(tags: list[tuple[bool, bytes]]) -> None:
    video, audio = VideoReader(), AudioReader()
    for is_video, body in tags:
        head = b"\x17" if is_video else b"\xaf"
        for junk in (body, head + body, head + b"\0" + body, head + b"\1" + body):
            try:
                (video if is_video else audio).take(0, junk)
            except BadRequestError as error:
                assert error.code in ("bad_flv", "codec_not_supported")


@given(st.integers(0, 60), st.binary(min_size=1, max_size=4))
def test_a_broken_configuration_is_refused_or_read(at: int, junk: bytes) -> None:
    body = avc_configuration(h264(1)[0][3])
    broken = body[:at] + junk + body[at + len(junk) :]
    reader = VideoReader()
    for tag in (broken, broken[: at + 1], b"\x17\x01\0\0\0" + junk):
        try:
            reader.take(0, tag)
        except BadRequestError as error:
            assert error.code in ("bad_flv", "codec_not_supported")
