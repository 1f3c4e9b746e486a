"""What the estimator makes of a publisher's steps, stalls, drift and wrap-around."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain import limits
from engagement.domain.media_time import RTP_MODULUS, pts_of_rtp
from tests.property.media_clock_world import RATE, START_MS, TIMER_LATE_MS, Act, Publishing, World

quiet = st.builds(
    Publishing,
    fps=st.sampled_from([25, 30, 60]),
    first_rtp=st.integers(0, RTP_MODULUS - 1),
    offset_ms=st.floats(-1e6, 1e6),
    drift_ppm=st.floats(-100, 100),
    jitter_ms=st.floats(0, 8),
    capture=st.sampled_from(["frames", "reports"]),
    seed=st.integers(0, 2**32),
)
big_steps = st.floats(400, 20_000).flatmap(lambda ms: st.sampled_from([ms, -ms]))


def reasons(world: World) -> list[str]:
    return [event.reason for _, event in world.events]


@settings(max_examples=30, deadline=None)
@given(quiet, big_steps)
def test_a_jump_of_the_media_timeline_opens_an_epoch(publishing: Publishing, by_ms: float) -> None:
    acts = [Act("run", 3_000), Act("media_step", by_ms), Act("run", 3_000)]
    world = World(publishing, acts)
    closed = next(e for e in world.events if e[1].kind == "clock.epoch.closed")
    opened = next(e for e in world.events if e[1].anchor.epoch == 2)
    jumped_ms = START_MS + 3_000 + publishing.delay_ms
    assert closed[1].reason == opened[1].reason == "media_step"
    # Ahead, or far back: at once. A little back could be frames out of order, for nine of them.
    patience_ms = 400 if -limits.FRAMES_BACK_MS_MAX - 50 < by_ms < 0 else 80
    assert 0 <= opened[0] - jumped_ms <= patience_ms
    assert opened[1].anchor.pts_ms == 0
    assert closed[1].anchor.ended and not opened[1].anchor.ended


@settings(max_examples=30, deadline=None)
@given(quiet, big_steps)
def test_a_step_of_the_publishers_clock_is_told_and_moves_nothing(
    publishing: Publishing, by_ms: float
) -> None:
    acts = [Act("run", 3_000), Act("publisher_step", by_ms), Act("run", 3_000)]
    world = World(publishing, acts)
    before, after = (
        next(event.anchor for _, event in reversed(world.events) if event.reason == reason)
        for reason in ("settled", "publisher_clock")
    )
    assert {event.anchor.epoch for _, event in world.events} == {1}
    assert after.offset_ms - before.offset_ms == pytest.approx(-by_ms, abs=15)
    line_moved_ms = (after.server_ms - after.pts_ms) - (before.server_ms - before.pts_ms)
    assert abs(line_moved_ms) <= 10


@pytest.mark.parametrize("by_ms", [5_000.0, -5_000.0])
def test_a_clock_that_is_set_while_frames_are_late_is_no_jump_of_the_timeline(by_ms: float) -> None:
    acts = [Act("run", 3_000), Act("publisher_step", by_ms), Act("late", 900), Act("run", 3_000)]
    world = World(Publishing(), acts)
    assert {event.anchor.epoch for _, event in world.events} == {1}
    assert "publisher_clock" in reasons(world)


@settings(max_examples=20, deadline=None)
@given(quiet, st.one_of(st.just(0.0), big_steps))
def test_the_offset_of_the_publishers_clock_is_found(publishing: Publishing, by_ms: float) -> None:
    world = World(publishing, [Act("run", 4_000), Act("publisher_step", by_ms), Act("run", 4_000)])
    # All of the drift since the start, the least delay, and jitter that never was least.
    drifted_ms = 8_000 * publishing.drift_ppm / 1e6
    wanted_ms = -publishing.offset_ms - by_ms + publishing.delay_ms - drifted_ms
    assert world.estimator.publisher_offset_ms == pytest.approx(wanted_ms, abs=10)


@settings(max_examples=20, deadline=None)
@given(quiet, st.floats(-200, 200))
def test_drift_is_measured(publishing: Publishing, drift_ppm: float) -> None:
    world = World(publishing, [Act("drift", drift_ppm), Act("run", 240_000)])
    assert world.estimator.drift_ppm == pytest.approx(drift_ppm, abs=8)
    assert set(reasons(world)) <= {"started", "settled", "interval"}


def test_anchors_come_at_least_every_interval() -> None:
    world = World(Publishing(), [Act("run", 60_000)])
    times = [event.anchor.at_us for _, event in world.events]
    gaps_s = [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(times)]
    assert max(gaps_s) <= limits.ANCHOR_INTERVAL_S
    assert len(times) <= 60 / limits.ANCHOR_INTERVAL_S + 3


def test_the_wrap_around_is_inside_an_epoch_and_exact() -> None:
    world = World(Publishing(first_rtp=RTP_MODULUS - 3 * RATE), [Act("run", 12_000)])
    anchors = world.anchors()
    assert {anchor.epoch for anchor in anchors} == {1}
    assert anchors[0].rtp > anchors[-1].rtp
    for sent in world.frames:
        nearest = min(anchors, key=lambda anchor: abs(anchor.pts_ms - sent.media_ms))
        assert pts_of_rtp(nearest, sent.frame.ticks) == pytest.approx(sent.media_ms, abs=0.02)


@pytest.mark.parametrize("kind", ["lost", "late"])
def test_a_short_stall_is_announced_again_and_again_and_stays_in_the_epoch(kind: str) -> None:
    acts = [Act("run", 3_000), Act(kind, 1_500), Act("run", 4_000)]
    world = World(Publishing(), acts)
    stalled = [event.anchor.err_ms for _, event in world.events if event.reason == "stalled"]
    assert {event.anchor.epoch for _, event in world.events} == {1}
    assert 4 <= len(stalled) <= 8
    assert stalled == sorted(stalled) and stalled[-1] >= 1_500
    assert world.anchors()[-1].err_ms < 60, "a stall is forgotten when frames flow again"


def test_a_long_stall_ends_the_epoch_where_its_last_frame_was() -> None:
    world = World(Publishing(), [Act("run", 3_000), Act("lost", 5_000), Act("run", 2_000)])
    at_ms, closed = next(e for e in world.events if e[1].kind == "clock.epoch.closed")
    assert closed.reason == "gap"
    last = max((s for s in world.frames if s.media_ms <= 3_001), key=lambda s: s.media_ms)
    assert closed.anchor.pts_ms == pytest.approx(last.media_ms, abs=0.02)
    waited_ms = at_ms - last.frame.arrival_ms
    assert 0 <= waited_ms - limits.CLOCK_GAP_MS <= TIMER_LATE_MS
    assert reasons(world)[reasons(world).index("gap") + 1] == "gap"
    assert world.anchors()[-1].epoch == 2


@pytest.mark.parametrize("capture", ["frames", "none"])
def test_a_frozen_timeline_costs_little_for_long(capture: str) -> None:
    acts = [Act("run", 5_000), Act("frozen", 1_200), Act("run", 8_000)]
    world = World(Publishing(capture=capture), acts)
    # A witness shows a jump at once; without one the frames are late, and then the line is theirs.
    assert ("media_step" in reasons(world)) == (capture == "frames")
    assert ("late" in reasons(world)) == (capture == "none")
    assert world.anchors()[-1].err_ms < 60


def test_a_new_source_is_a_new_epoch() -> None:
    world = World(Publishing(), [Act("run", 2_000), Act("republish"), Act("run", 2_000)])
    assert reasons(world).count("new_ssrc") == 2
    assert [e.anchor.epoch for _, e in world.events if e.kind == "clock.epoch.opened"] == [1, 2]


def test_ids_of_anchors_are_unique_and_derived() -> None:
    acts = [Act("run", 9_000), Act("republish"), Act("run", 9_000), Act("lost", 1_500)]
    one, two = World(Publishing(), acts), World(Publishing(), acts)
    ids = [anchor.id for anchor in one.anchors()]
    assert len(set(ids)) == len(ids)
    assert ids == [anchor.id for anchor in two.anchors()]


def test_times_of_anchors_increase_within_an_epoch() -> None:
    acts = [Act("run", 3_000), Act("publisher_step", 500), Act("late", 1_900), Act("run", 6_000)]
    anchors = World(Publishing(jitter_ms=60), acts).anchors()
    keys = [(anchor.epoch, anchor.at_us) for anchor in anchors]
    assert keys == sorted(set(keys))
