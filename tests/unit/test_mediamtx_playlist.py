"""How far a playlist has got, by its dates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.mediamtx.playlist import Progress, media_playlist_of, progress_of

BEGAN_MS = 1_790_000_000_000.0
DATE = "2026-09-21T14:13:20"
LIVE = f"""#EXTM3U
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.5
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-PROGRAM-DATE-TIME:{DATE}.000Z
#EXT-X-PART:DURATION=0.50000,URI="a.mp4",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.50000,URI="b.mp4"
#EXTINF:1.00000,
seg7.mp4
#EXT-X-PROGRAM-DATE-TIME:{DATE}.000+00:00
#EXTINF:1.00000,
seg8.mp4
#EXT-X-PART:DURATION=0.25000,URI="c.mp4"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="d.mp4"
"""


def test_parts_end_where_dates_and_durations_say_and_the_next_one_is_named() -> None:
    progress = progress_of(LIVE)
    ends = [round(end - BEGAN_MS) for end in progress.ends_ms]
    assert ends == [500, 1_000, 1_000, 1_000, 1_250]
    assert (progress.next_segment, progress.next_part, progress.can_block) == (9, 1, True)


def test_a_playlist_without_dates_says_nothing_of_time() -> None:
    lines = [line for line in LIVE.splitlines() if "DATE-TIME" not in line]
    assert progress_of("\n".join(lines)).ends_ms == ()


def test_a_multivariant_playlist_names_its_first_rendition() -> None:
    text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n\nmain.m3u8\n#EXT-X-STREAM-INF:\nlow.m3u8\n"
    assert media_playlist_of(text) == "main.m3u8"
    assert media_playlist_of(LIVE) is None


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "#EXTM3U\n#EXTINF:x,", "#EXTM3U\n#EXTINF:-1,", "#EXTM3U\n#EXTINF:inf,",
     "#EXTM3U\n#EXT-X-PROGRAM-DATE-TIME:now", "#EXTM3U\n" * 5_000],
)  # fmt: skip
def test_what_is_no_playlist_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError):
        progress_of(text)


@given(st.lists(st.one_of(st.sampled_from(LIVE.splitlines()), st.text(max_size=60)), max_size=30))
def test_whatever_comes_is_read_or_refused(lines: list[str]) -> None:
    try:
        progress = progress_of("\n".join(["#EXTM3U", *lines]))
    except BadRequestError:
        return
    assert isinstance(progress, Progress)
    assert all(end >= 0 for end in progress.ends_ms)
