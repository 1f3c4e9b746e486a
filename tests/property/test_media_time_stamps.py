"""The promise of a stamp: `mediapts` is the newest ingested frame's, within `mediaerr`."""

import os
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engagement.domain import limits
from engagement.domain.media_time import Stamp
from tests.property.media_clock_world import Act, Gateway, Publishing, World

EXAMPLES = int(os.environ.get("CLOCK_EXAMPLES", "60"))

publishings = st.builds(
    Publishing,
    fps=st.sampled_from([15, 25, 30, 60]),
    first_rtp=st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 200_000, 2**32 - 1)),
    offset_ms=st.floats(-1e7, 1e7),
    drift_ppm=st.floats(-limits.DRIFT_PPM_MAX, limits.DRIFT_PPM_MAX),
    delay_ms=st.floats(1, 300),
    jitter_ms=st.floats(0, 80),
    capture=st.sampled_from(["frames", "reports", "none"]),
    seed=st.integers(0, 2**32),
)
steps = st.one_of(st.floats(-200, 200), st.floats(-20_000, 20_000))
acts = st.lists(
    st.one_of(
        st.builds(Act, st.just("run"), st.floats(100, 9_000)),
        st.builds(Act, st.just("publisher_step"), steps),
        st.builds(Act, st.just("media_step"), steps),
        st.builds(Act, st.sampled_from(["lost", "late", "frozen"]), st.floats(40, 4_000)),
        st.builds(Act, st.just("drift"), st.floats(-limits.DRIFT_PPM_MAX, limits.DRIFT_PPM_MAX)),
        st.builds(Act, st.just("republish")),
    ),
    min_size=1,
    max_size=8,
).map(lambda chosen: [step for act in chosen for step in (act, Act("run", 1_500))])


def instants_of_interest(world: World, lag_ms: float, rng: random.Random) -> list[float]:
    """Any time, and around every anchor, before and after a gateway can know of it."""
    start_ms = world.frames[0].frame.arrival_ms
    anywhere = [rng.uniform(start_ms, world.end_ms) for _ in range(150)]
    around = [
        produced_ms + offset
        for produced_ms, _ in world.events
        for offset in (-1.0, 0.0, 0.5, lag_ms / 2, lag_ms, lag_ms + 5)
    ]
    return [at for at in anywhere + around if start_ms <= at <= world.end_ms]


def error_ms(world: World, stamp: Stamp, accepted_ms: float) -> float:
    newest_ms = world.epochs[stamp.epoch].newest_at(int(accepted_ms * 1000))
    assert newest_ms is not None, "stamped in an epoch that had not begun"
    return stamp.pts_ms - newest_ms


def assert_every_stamp_holds(world: World, gateway: Gateway, seed: int) -> int:
    rng = random.Random(seed)
    stamped = 0
    for accepted_ms in instants_of_interest(world, gateway.lag_ms, rng):
        flushed_ms = accepted_ms + rng.uniform(0, 2 * limits.FLUSH_MS)
        stamp = gateway.stamp(accepted_ms, flushed_ms)
        if stamp is None:
            continue
        stamped += 1
        error = error_ms(world, stamp, accepted_ms)
        assert stamp.err_ms is not None
        assert abs(error) <= stamp.err_ms, (accepted_ms - world.frames[0].frame.arrival_ms, stamp)
        opened = [
            event.anchor.epoch
            for at_ms, event in world.events
            if event.kind == "clock.epoch.opened" and at_ms <= accepted_ms - gateway.lag_ms - 0.001
        ]
        assert stamp.epoch >= max(opened, default=0), "an epoch that was known is not used"
    return stamped


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)
@given(publishings, acts, st.floats(0, 250), st.integers(0, 2**32))
@example(Publishing(), [Act("run", 3_000), Act("media_step", 1_300), Act("run", 3_000)], 50.0, 1)
@example(Publishing(), [Act("run", 3_000), Act("media_step", -1_300), Act("run", 3_000)], 50.0, 1)
@example(Publishing(), [Act("run", 3_000), Act("frozen", 1_300), Act("run", 9_000)], 50.0, 1)
@example(Publishing(), [Act("run", 3_000), Act("late", 1_900), Act("run", 9_000)], 250.0, 1)
@example(Publishing(first_rtp=2**32 - 1), [Act("run", 12_000)], 0.0, 1)
def test_a_stamp_is_right_within_its_stated_uncertainty(
    publishing: Publishing, schedule: list[Act], lag_ms: float, seed: int
) -> None:
    world = World(publishing, [Act("run", 2_000), *schedule])
    assert assert_every_stamp_holds(world, Gateway(world, lag_ms, seed), seed) > 0


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@example(Publishing(fps=25, delay_ms=1.0, jitter_ms=63.0), 1.0, 0)
@given(publishings, st.floats(0, 100), st.integers(0, 2**32))
def test_in_calm_weather_the_uncertainty_is_small(
    publishing: Publishing, lag_ms: float, seed: int
) -> None:
    world = World(publishing, [Act("run", 15_000)])
    gateway = Gateway(world, lag_ms, seed)
    interval_ms = 1000 / publishing.fps
    start_ms = world.frames[0].frame.arrival_ms
    rng = random.Random(seed)
    for _ in range(50):
        # An interval after the first second, of which an opening states what it must.
        accepted_ms = rng.uniform(start_ms + 7_000, world.end_ms)
        stamp = gateway.stamp(accepted_ms, accepted_ms)
        assert stamp is not None and stamp.err_ms is not None
        # A frame interval, the jitter, the announced step, the lag; 12 ms for drift in the window.
        bound_ms = interval_ms + publishing.jitter_ms + limits.ANCHOR_STEP_MS + lag_ms + 12
        # A frame that is later than any of the last two seconds doubles it for a while.
        assert stamp.err_ms <= 2 * bound_ms
        assert world.events[0][1].kind == "clock.epoch.opened"
    assert {event.anchor.epoch for _, event in world.events} == {1}


@pytest.mark.parametrize("sent", ["frames", "reports", "none"])
def test_the_world_can_tell_a_wrong_stamp(sent: str) -> None:
    world = World(Publishing(capture=sent), [Act("run", 4_000)])
    gateway = Gateway(world, 10.0, 1)
    at_ms = world.end_ms - 500
    stamp = gateway.stamp(at_ms, at_ms)
    assert stamp is not None and stamp.err_ms is not None
    late = Stamp(stamp.epoch, stamp.pts_ms + 300, stamp.err_ms, stamp.anchor)
    assert abs(error_ms(world, late, at_ms)) > stamp.err_ms
