"""Stamps by worked examples, and what a follower of the clock topic keeps."""

import pytest
from msgspec.structs import replace

from engagement.domain import limits
from engagement.domain.clock_events import anchor_of, clock_event
from engagement.domain.media_time import Anchor, RoomClock, stamp, wall_stamp

ANCHOR = Anchor(
    id="a", epoch=3, rate=90_000, rtp=0, pts_ms=10_000.0, wall_ms=999_000.0, offset_ms=1_000.0,
    err_ms=30.0, at_us=1_000_020_000,
)  # fmt: skip


def test_a_stamp_is_on_the_line_of_its_anchor() -> None:
    made = stamp(ANCHOR, 8.0, 1_000_520_000)
    assert (made.epoch, made.pts_ms, made.anchor) == (3, 10_520, "a")
    drift_ms = 520 * limits.DRIFT_PPM_MAX / 1e6
    assert made.err_ms == pytest.approx(30 + limits.ANCHOR_STEP_MS + 0.5 + 8 + drift_ms)


def test_an_overdue_anchor_makes_a_stamp_uncertain() -> None:
    on_time = stamp(ANCHOR, 8.0, ANCHOR.at_us + 5_008_000)
    overdue = stamp(ANCHOR, 8.0, ANCHOR.at_us + 8_008_000)
    assert on_time.err_ms is not None and overdue.err_ms is not None
    assert overdue.err_ms - on_time.err_ms == pytest.approx(3_000, abs=1)


def test_media_time_stands_still_after_the_end() -> None:
    ended = replace(ANCHOR, ended=True)
    soon, late = stamp(ended, 8.0, 1_000_100_000), stamp(ended, 8.0, 9_000_000_000)
    assert soon == late
    assert (late.pts_ms, late.err_ms) == (10_000, 50.5)


def test_without_a_clock_wall_time_counts_from_the_opening() -> None:
    assert wall_stamp(5_000_000, 7_500_900).pts_ms == 2_500


def test_an_anchor_survives_its_journey() -> None:
    for kind, ended in (("clock.anchored", False), ("clock.epoch.closed", True)):
        anchor = replace(ANCHOR, ended=ended)
        event = clock_event("r", kind, anchor, engine="synthetic")  # type: ignore[arg-type]
        assert anchor_of(event.id, event.kind, event.data) == anchor


def after(ms: float, **changes: object) -> Anchor:
    return replace(ANCHOR, id=f"+{ms}", at_us=ANCHOR.at_us + int(ms * 1000), **changes)


def test_a_follower_takes_only_news() -> None:
    clock = RoomClock()
    assert clock.observe(after(100), 0)
    assert not clock.observe(after(100), 0)
    assert not clock.observe(after(50), 0)
    assert not clock.observe(after(900, epoch=2), 0)
    assert clock.observe(after(0, epoch=4), 0)
    assert clock.current == after(0, epoch=4)


def test_hindsight_finds_the_anchor_that_held() -> None:
    clock = RoomClock()
    for ms in (0, 100, 200):
        clock.observe(after(ms), 0)
    assert clock.at(ANCHOR.at_us + 150_000) == after(100)
    assert clock.at(ANCHOR.at_us + 900_000) == after(200)
    assert clock.at(ANCHOR.at_us - 900_000) == after(0), "before the first: the first, backwards"


def test_a_follower_keeps_a_bounded_past() -> None:
    clock = RoomClock()
    for number in range(limits.ANCHORS_PER_ROOM + 5):
        clock.observe(after(number), 0)
    assert len(clock.anchors) == limits.ANCHORS_PER_ROOM


def test_anchors_of_the_past_are_no_measure_of_lag() -> None:
    clock = RoomClock()
    start_us = ANCHOR.at_us + 3_000_000
    clock.observe(after(0), start_us)
    clock.observe(after(1_000), start_us)
    assert clock.lag_ms == limits.CLOCK_LAG_UNMEASURED_MS
    clock.observe(after(4_000), start_us + 1_012_000)
    assert clock.lag_ms == pytest.approx(12)


def test_the_worst_lag_is_forgotten_slowly() -> None:
    clock = RoomClock()
    clock.observe(after(0), ANCHOR.at_us)
    clock.observe(after(5_000), ANCHOR.at_us + 5_040_000)
    clock.observe(after(10_000), ANCHOR.at_us + 10_002_000)
    assert clock.lag_ms == pytest.approx(36)
    clock.observe(after(15_000), ANCHOR.at_us + 15_100_000)
    assert clock.lag_ms == pytest.approx(100)


def test_a_clock_that_is_behind_the_media_servers_counts_as_lag() -> None:
    clock = RoomClock()
    clock.observe(after(0), ANCHOR.at_us)
    clock.observe(after(5_000), ANCHOR.at_us + 4_970_000)
    assert clock.lag_ms == pytest.approx(30)
