"""The live playlist, read by a parser that is not ours, and the arithmetic of its window."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import m3u8
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.errors import BadRequestError, NotFoundError
from media.engine import TimedMark
from media.hls import bounds
from media.hls.fragments import Fragmenter, Header, KeyFrameWanted, Part
from media.hls.playlist import date_time, render
from media.hls.window import LiveWindow
from tests.unit.encoded import BEGAN_MS, video_frames

FIRST = 1000


def part(
    pts_ms: float, *, begins: bool = False, epoch: int = 1, ms: float = 250, size: int = 10
) -> Part:
    return Part(
        epoch=epoch, data=b"x" * size, duration_ticks=round(ms * 90), begins_segment=begins,
        is_independent=begins, pts_ms=pts_ms, server_ms=BEGAN_MS + pts_ms,
    )  # fmt: skip


def header(epoch: int = 1) -> Header:
    return Header(epoch, b"header of %d" % epoch, "avc1.42c01e")


def filled(segments: int, parts: int = 8, epochs: int = 1) -> LiveWindow:
    """Segments of two seconds, the newest still growing; an equal number in each epoch."""
    window = LiveWindow(FIRST)
    per_epoch = max(1, segments // epochs)
    for number in range(segments):
        epoch, within = number // per_epoch + 1, number % per_epoch
        if within == 0:
            window.take(header(epoch))
        for index in range(parts):
            pts_ms = within * parts * 250 + index * 250
            window.take(part(pts_ms, begins=index == 0, epoch=epoch))
    return window


def moment(unix_ms: float) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=unix_ms)


def test_a_parser_finds_segments_parts_and_what_comes_next() -> None:
    parsed = m3u8.loads(render(filled(3)))
    assert (parsed.target_duration, parsed.media_sequence, parsed.version) == (3, FIRST, 9)
    assert [s.uri for s in parsed.segments if s.uri] == ["1000.m4s", "1001.m4s"]
    assert [s.duration for s in parsed.segments if s.uri] == [2.0, 2.0]
    assert [p.uri for p in parsed.segments[2].parts] == [f"1002.{n}.m4s" for n in range(8)]
    assert parsed.preload_hint.uri == "1002.8.m4s"
    assert parsed.server_control.can_block_reload == "YES"
    assert parsed.server_control.part_hold_back >= 3 * parsed.part_inf.part_target
    assert parsed.server_control.hold_back >= 3 * parsed.target_duration
    assert parsed.server_control.can_skip_until >= 6 * parsed.target_duration
    assert parsed.segments[0].init_section.uri == "init-1001.mp4"
    assert not parsed.is_endlist


def test_every_segment_has_its_date_and_its_media_time() -> None:
    window = filled(4)
    parsed = m3u8.loads(render(window))
    dates = [s.program_date_time for s in parsed.segments if s.uri]
    assert dates == [moment(BEGAN_MS + 2000 * n) for n in range(3)]
    times = re.findall(r"#EXT-X-LIVE-MEDIA-TIME:EPOCH=(\d+),PTS=([\d.]+)", render(window))
    assert times == [("1", f"{2000 * n}.000") for n in range(4)]


@given(st.floats(1.0e12, 4.0e12))
def test_a_date_is_right_to_the_millisecond(unix_ms: float) -> None:
    read = datetime.fromisoformat(date_time(unix_ms))
    assert abs((read - moment(0)) / timedelta(milliseconds=1) - unix_ms) <= 0.501


def test_another_epoch_is_a_discontinuity_with_its_own_header() -> None:
    text = render(filled(4, epochs=2))
    parsed = m3u8.loads(text)
    assert [s.discontinuity for s in parsed.segments if s.uri] == [False, False, True]
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert parsed.segments[2].init_section.uri != parsed.segments[0].init_section.uri
    assert re.search(r"DISCONTINUITY-SEQUENCE:1\n", text)


@given(epochs=st.integers(1, 8), segments=st.integers(8, 60))
@settings(max_examples=40, deadline=None)
def test_numbers_of_segments_and_discontinuities_never_change(epochs: int, segments: int) -> None:
    window = LiveWindow(FIRST)
    known: dict[str, int] = {}
    per_epoch = segments // epochs
    for number in range(segments):
        if number % per_epoch == 0:
            window.take(header(number // per_epoch + 1))
        for index in range(8):
            window.take(part(number * 2000.0 + index * 250, begins=index == 0))
        text = render(window)
        discontinuity = int(re.search(r"DISCONTINUITY-SEQUENCE:(\d+)", text)[1])  # type: ignore[index]
        msn = int(re.search(r"MEDIA-SEQUENCE:(\d+)", text)[1])  # type: ignore[index]
        for line in text.splitlines():
            if line == "#EXT-X-DISCONTINUITY":
                discontinuity += 1
            elif re.fullmatch(r"\d+\.m4s", line):
                assert line == f"{msn}.m4s"
                assert known.setdefault(line, discontinuity) == discontinuity
                msn += 1


@given(st.lists(st.integers(300, 3400), min_size=3, max_size=60))
@settings(max_examples=50, deadline=None)
def test_the_window_is_as_long_as_promised_and_no_longer(lengths_ms: list[int]) -> None:
    window = LiveWindow(FIRST)
    window.take(header())
    at_ms = 0.0
    for length_ms in lengths_ms:
        window.take(part(at_ms, begins=True, ms=length_ms))
        at_ms += length_ms
        there_ms = sum(s.ticks for s in window.segments) / 90
        assert there_ms >= min(at_ms, bounds.WINDOW_S * 1000) - 1
        assert there_ms - window.segments[0].ticks / 90 < bounds.WINDOW_S * 1000


def test_a_window_of_many_bytes_is_shorter() -> None:
    window = LiveWindow(FIRST)
    window.take(header())
    size = bounds.WINDOW_BYTES_MAX // 4
    for number in range(8):
        window.take(part(number * 2000.0, begins=True, ms=2000, size=size))
    assert sum(segment.size for segment in window.segments) <= bounds.WINDOW_BYTES_MAX


def test_a_delta_update_is_the_whole_playlist_without_what_the_player_knows() -> None:
    window = filled(16)
    whole, delta = render(window).splitlines(), render(window, skip=True).splitlines()
    [skip] = [line for line in delta if line.startswith("#EXT-X-SKIP")]
    skipped = int(skip.rpartition("=")[2])
    uris = [line for line in whole if re.fullmatch(r"\d+\.m4s", line)]
    left = [line for line in delta if re.fullmatch(r"\d+\.m4s", line)]
    assert skipped > 0 and uris[skipped:] == left
    kept_s = sum(s.ticks for s in list(window.segments)[skipped:]) / 90_000
    assert kept_s >= bounds.SKIP_UNTIL_S
    assert whole[-30:] == delta[-30:]


def test_a_short_playlist_has_no_delta() -> None:
    window = filled(5)
    assert render(window, skip=True) == render(window)


def test_parts_are_listed_for_three_target_durations() -> None:
    listed = re.findall(r'PART:.*URI="(\d+)\.', render(filled(16)))
    oldest = min(map(int, listed))
    assert (FIRST + 15 - oldest + 1) * 2 <= bounds.PARTS_LISTED_S + 2


@given(
    segments=st.integers(1, 12),
    parts=st.integers(1, 8),
    msn=st.integers(0, 20),
    index=st.integers(-1, 30),
)
def test_every_request_is_answered_waits_for_what_comes_or_is_too_far_ahead(
    segments: int, parts: int, msn: int, index: int
) -> None:
    """Whoever is let wait gets an answer as the stream goes on, and nobody waits for long."""
    window = filled(segments, parts=8)
    for _ in range(8 - parts):
        window.segments[-1].parts.pop()
    asked, part_asked = FIRST + msn, None if index < 0 else index
    try:
        window.check_request(asked, part_asked)
    except BadRequestError:
        is_far = asked > window.segments[-1].msn + 1
        assert is_far or (part_asked is not None and part_asked >= bounds.PARTS_AHEAD_MAX)
        return
    came = 0
    while not window.has(asked, part_asked):
        came += 1
        assert came <= 24, "let wait for what is too far ahead"
        newest = window.segments[-1]
        begins = len(newest.parts) == 8
        window.take(part(0.0, begins=begins))


def test_the_answer_to_a_blocked_request_has_what_was_asked_for() -> None:
    window = filled(3, parts=4)
    assert window.has(1002, 3) and not window.has(1002, 4)
    window.take(part(5000))
    assert window.has(1002, 4) and 'URI="1002.4.m4s"' in render(window)
    assert not window.has(1002, None)
    window.take(part(5250, begins=True))
    assert window.has(1002, None) and "\n1002.m4s\n" in render(window)


def test_a_part_beyond_a_whole_segment_is_the_first_of_the_next() -> None:
    window = filled(2)
    window.take(header())
    assert not window.has(1001, 8)
    window.take(part(4000, begins=True))
    assert window.has(1001, 8)


@pytest.mark.parametrize(
    ("msn", "index"), [(1004, None), (1004, 0), (1002, 19), (1003, 11), (2**53, 0)]
)
def test_what_is_too_far_ahead_is_refused(msn: int, index: int | None) -> None:
    window = filled(3)
    with pytest.raises(BadRequestError) as refused:
        window.check_request(msn, index)
    assert refused.value.code == "too_far_ahead"
    window.check_request(1003, None)
    window.check_request(1002, 18)


def mark(pts_ms: float, epoch: int = 1, id: str = "gift-1", **attributes: str) -> TimedMark:
    return TimedMark(id, "demo", epoch, pts_ms, "gift", 0.0, attributes)


def test_a_mark_is_a_date_range_at_the_date_of_its_frame() -> None:
    window = filled(4)
    window.mark(mark(2500, gift="rose", coins="12"))
    [line] = [line for line in render(window).splitlines() if "DATERANGE" in line]
    assert f'START-DATE="{date_time(BEGAN_MS + 2500)}"' in line
    assert 'ID="gift-1",CLASS="gift"' in line and 'X-GIFT="rose",X-COINS="12"' in line
    window.mark(mark(2500))
    assert render(window).count("DATERANGE") == 1, "the same mark twice is one"


def test_marks_leave_with_the_segments_they_belong_to() -> None:
    window = filled(4)
    window.mark(mark(500, id="early"))
    window.mark(mark(6_500, id="late"))
    for number in range(4, 18):
        window.take(part(number * 2000.0, begins=True, ms=2000))
    assert window.segments[0].pts_ms > 500 and window.segments[0].pts_ms <= 6_500
    text = render(window)
    assert '"early"' not in text and '"late"' in text


def test_a_mark_of_an_epoch_that_is_not_here_is_refused() -> None:
    with pytest.raises(NotFoundError):
        filled(4).mark(mark(0, epoch=9))


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_no_mark_breaks_a_playlist(id: str, name: str, value: str) -> None:
    window = filled(3)
    window.mark(mark(100, id=id, **{name: value}))
    text = render(window)
    without = render(filled(3))
    assert len(text.splitlines()) == len(without.splitlines()) + 1
    [line] = [line for line in text.splitlines() if "DATERANGE" in line]
    assert line.count('"') % 2 == 0


def test_when_nobody_comes_back_the_playlist_ends() -> None:
    window = filled(2)
    window.finish()
    text = render(window)
    assert text.endswith("1001.m4s\n#EXT-X-ENDLIST\n") and "PRELOAD-HINT" not in text
    assert window.has(5000, 3), "nobody is let wait for what will not come"


def test_durations_add_up_to_what_was_published() -> None:
    fragmenter, window = Fragmenter(), LiveWindow(FIRST)
    for frame in video_frames(300, gop=37):
        for output in fragmenter.feed(frame):
            if not isinstance(output, KeyFrameWanted):
                window.take(output)
    for output in fragmenter.end():
        if not isinstance(output, KeyFrameWanted):
            window.take(output)
    window.complete()
    parsed = m3u8.loads(render(window))
    assert sum(s.duration for s in parsed.segments) == pytest.approx(10.0, abs=1e-4)
    for segment, following in pairwise(parsed.segments):
        seconds = (following.program_date_time - segment.program_date_time).total_seconds()
        assert seconds == pytest.approx(segment.duration, abs=0.0011)
