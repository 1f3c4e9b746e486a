"""Single stories of the estimator, frame by frame."""

import pytest

from engagement.domain import limits
from media.clock import ClockEvent, Frame, MediaClockEstimator

T0 = 1_764_000_000_000.0
FRAME = 40.0


def frames(
    estimator: MediaClockEstimator,
    first: int,
    count: int,
    *,
    late_ms: float = 0.0,
    ssrc: int = 1,
    start_ticks: int = 0,
    pts: bool = False,
) -> list[ClockEvent]:
    """Frames number `first` and on at 25 fps, each `late_ms` late; the events they cause."""
    events: list[ClockEvent] = []
    for number in range(first, first + count):
        arrival_ms = T0 + number * FRAME + late_ms
        ticks = int(number * FRAME * (1 if pts else 90)) + start_ticks
        events += estimator.frame(Frame(ssrc, ticks, arrival_ms))
    return events


def kinds(events: list[ClockEvent]) -> list[tuple[str, str]]:
    return [(event.kind.removeprefix("clock."), event.reason) for event in events]


def test_an_epoch_opens_with_its_first_frame_and_settles_after_a_second() -> None:
    events = frames(MediaClockEstimator("r", 7), 0, 50)
    assert kinds(events) == [("epoch.opened", "started"), ("anchored", "settled")]
    assert [event.anchor.epoch for event in events] == [7, 7]
    assert events[0].anchor.err_ms == limits.CLOCK_OPENING_ERR_MS
    assert events[1].anchor.err_ms == pytest.approx(FRAME)


def test_a_queue_that_drains_moves_the_line_and_is_told() -> None:
    estimator = MediaClockEstimator("r", 1)
    frames(estimator, 0, 5, late_ms=150)
    events = frames(estimator, 6, 10, late_ms=60)
    assert kinds(events) == [("stepped", "delay")]
    anchor = events[0].anchor
    assert anchor.server_ms - anchor.pts_ms == pytest.approx(T0 + 60)


def test_flv_timestamps_in_ms_need_no_capture_time() -> None:
    estimator = MediaClockEstimator("r", 1, rate=1_000)
    events = frames(estimator, 0, 200, start_ticks=2**32 - 2_000, pts=True)
    assert {event.anchor.epoch for event in events} == {1}
    anchor = events[-1].anchor
    assert anchor.offset_ms == 0.0 and anchor.wall_ms == pytest.approx(T0 + anchor.pts_ms)
    assert estimator.publisher_offset_ms is None


def test_pts_of_mpeg_ts_have_33_bits() -> None:
    estimator = MediaClockEstimator("r", 1, bits=33)
    events: list[ClockEvent] = []
    for number in range(200):
        ticks = (2**33 - 90_000 + number * 3_600) % 2**33
        events += estimator.frame(Frame(1, ticks, T0 + number * FRAME))
    assert {event.anchor.epoch for event in events} == {1}
    assert events[-1].anchor.pts_ms > 4_000


def test_b_frames_out_of_order_are_no_jump() -> None:
    estimator = MediaClockEstimator("r", 1)
    events: list[ClockEvent] = []
    order = [group * 4 + place for group in range(30) for place in (3, 0, 1, 2)]
    for index, number in enumerate(order):
        ticks = number * 3_600 + 900_000
        events += estimator.frame(Frame(1, ticks, T0 + index * FRAME))
    assert {event.anchor.epoch for event in events} == {1}


def test_frames_that_stay_behind_are_a_jump_back() -> None:
    estimator = MediaClockEstimator("r", 1)
    frames(estimator, 0, 100)
    events = frames(estimator, 100, 12, start_ticks=-450 * 90)
    # Until it is sure, frames are missing as far as anybody can tell.
    assert kinds(events)[0] == ("stepped", "stalled")
    assert kinds(events)[-2:] == [("epoch.closed", "media_step"), ("epoch.opened", "media_step")]
    assert events[-2].anchor.ended and events[-2].anchor.pts_ms == 99 * FRAME


def test_nothing_happens_without_an_epoch() -> None:
    estimator = MediaClockEstimator("r", 1)
    assert estimator.deadline_ms is None and not estimator.running
    assert estimator.check(T0) == [] and estimator.end(T0, "publisher_left") == []
    assert estimator.drift_ppm is None and estimator.anchor is None


def test_the_next_epoch_says_why_the_last_one_ended() -> None:
    estimator = MediaClockEstimator("r", 1)
    frames(estimator, 0, 10)
    assert kinds(estimator.end(T0 + 400, "engine_switch")) == [("epoch.closed", "engine_switch")]
    assert kinds(frames(estimator, 20, 1)) == [("epoch.opened", "engine_switch")]
    assert estimator.next_epoch == 3


def test_a_deadline_that_has_not_come_says_nothing() -> None:
    estimator = MediaClockEstimator("r", 1)
    frames(estimator, 0, 60)
    deadline_ms = estimator.deadline_ms
    assert deadline_ms is not None
    assert estimator.check(deadline_ms - 0.001) == []
    assert kinds(estimator.check(deadline_ms)) == [("stepped", "stalled")]
    later_ms = estimator.deadline_ms
    assert later_ms is not None and later_ms - deadline_ms > deadline_ms - (T0 + 59 * FRAME)


def test_two_anchors_of_one_instant_still_have_an_order() -> None:
    # A process that slept through a deadline says both things when the next frame comes.
    estimator = MediaClockEstimator("r", 1)
    for number in range(60):
        at_ms = T0 + number * FRAME
        estimator.frame(Frame(1, number * 3_600, at_ms, capture_ms=at_ms))
    at_ms = T0 + 70 * FRAME
    events = estimator.frame(Frame(1, 70 * 3_600, at_ms, capture_ms=at_ms + 900))
    assert kinds(events) == [("stepped", "stalled"), ("stepped", "publisher_clock")]
    assert events[1].anchor.at_us == events[0].anchor.at_us + 1
