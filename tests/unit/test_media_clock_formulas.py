"""The formulae of each hop, by worked examples, and the windows they are taken over."""

import itertools
import random

import pytest

from media.clock_formulas import (
    MPEG_TS_BITS,
    Unwrapper,
    capture_ms_by_report,
    hls_playhead_ms,
    ntp_of_unix_ms,
    program_date_time_ms,
    ticks_difference,
    unix_ms_of_ntp,
)
from media.clock_windows import RecentMaximum, RecentMinimum, RecentSlope


def test_ntp_timestamps_of_both_eras() -> None:
    assert unix_ms_of_ntp(2_208_988_800 << 32) == 0
    assert unix_ms_of_ntp((2_208_988_801 << 32) | (1 << 31)) == 1_500
    # 7 February 2036, 06:28:16 UTC: the seconds begin again at 0 (RFC 5905 figure 4).
    assert unix_ms_of_ntp(1 << 31) == 2_085_978_496_500


@pytest.mark.parametrize("unix_ms", [1_764_000_000_123.25, 2_085_978_495_999.0, 2_100_000_000_000])
def test_ntp_and_back(unix_ms: float) -> None:
    assert unix_ms_of_ntp(ntp_of_unix_ms(unix_ms)) == pytest.approx(unix_ms, abs=0.001)


def test_capture_time_follows_a_report_across_the_wrap_around() -> None:
    assert capture_ms_by_report(1_000_000, 2**32 - 45_000, 45_000, 90_000) == 1_001_000
    assert capture_ms_by_report(1_000_000, 45_000, 2**32 - 45_000, 90_000) == 999_000


def test_differences_wrap_at_their_width() -> None:
    assert ticks_difference(5, 2**32 - 5) == 10
    assert ticks_difference(2**32 - 5, 5) == -10
    assert ticks_difference(5, 2**33 - 5, MPEG_TS_BITS) == 10


def test_segments_and_playheads_of_hls() -> None:
    assert program_date_time_ms(1_764_000_000_000, 180_000, 90_000) == 1_764_000_002_000
    # The frame on screen is 40 ms behind `currentTime`: so is the playhead.
    assert hls_playhead_ms(1_764_000_010_000, 9.96, 10.0) == pytest.approx(1_764_000_009_960)


def test_timestamps_unwrap_for_longer_than_their_range() -> None:
    unwrapper = Unwrapper(2**32 - 90_000)
    step = 2**30
    for number in range(1, 20):
        timestamp = (2**32 - 90_000 + number * step) % 2**32
        assert unwrapper.ticks(timestamp) == unwrapper.advance(timestamp) == number * step


def test_extremes_are_those_of_the_window() -> None:
    rng = random.Random(7)
    minimum, maximum = RecentMinimum(100), RecentMaximum(100)
    seen: list[tuple[float, float]] = []
    at = 0.0
    for _ in range(2_000):
        at += rng.uniform(0, 20)
        value = rng.uniform(-5, 5)
        minimum.add(at, value)
        maximum.add(at, value)
        seen.append((at, value))
        window = [value for when, value in seen if when >= at - 100]
        assert (minimum.value, maximum.value) == (min(window), max(window))


def test_a_window_forgets_what_it_is_told_to_but_never_its_newest() -> None:
    minimum = RecentMinimum(1_000)
    for at, value in ((0, 1.0), (10, 2.0), (20, 3.0)):
        minimum.add(at, value)
    minimum.forget_before(15)
    assert minimum.value == 3.0
    minimum.forget_before(1_000)
    assert minimum.value == 3.0


def test_the_slope_of_a_line_is_found_and_not_guessed_from_two_points() -> None:
    slope = RecentSlope(5)
    for at in range(2):
        slope.add(at, 3.0 * at)
        assert slope.value is None
    for at in range(2, 20):
        slope.add(at, 3.0 * at)
    assert slope.value == pytest.approx(3.0)
    slope.clear()
    assert slope.value is None
    for _ in itertools.repeat(None, 3):
        slope.add(1.0, 2.0)
    assert slope.value is None, "points at one instant have no slope"
