"""The fit of a recording's two clocks: drift and steps are found, outliers are not believed."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.recordings.clock_fit import Point, fit_clock


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[Point], list[float], float]:
    """Points of a piecewise linear clock with noise; its steps; the noise's bound."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    noise_ms = draw(st.sampled_from([0.5, 2.0, 10.0]))
    smallest_step_ms = 40 * noise_ms
    level_ms = draw(st.floats(-1e6, 1e6))
    wall_ms = 1.6e12
    points: list[Point] = []
    steps: list[float] = []
    for number in range(draw(st.integers(1, 5))):
        if number:
            step_ms = draw(st.floats(smallest_step_ms, 5000)) * chance.choice((-1, 1))
            steps.append(step_ms)
            level_ms += step_ms
        drift = draw(st.floats(-100, 100)) / 1e6
        for _ in range(draw(st.integers(30, 200))):
            advance_ms = chance.uniform(10, 800)
            wall_ms += advance_ms
            level_ms += drift * advance_ms
            noisy_ms = level_ms + chance.uniform(-noise_ms, noise_ms)
            points.append(Point(wall_ms, wall_ms - noisy_ms))
    return points, steps, noise_ms


@given(recordings())
@settings(max_examples=60, deadline=None)
def test_every_step_is_found_and_every_row_is_near_the_line(
    drawn: tuple[list[Point], list[float], float],
) -> None:
    points, steps, noise_ms = drawn
    fit = fit_clock(points)
    assert fit is not None
    assert len(fit.segments) == len(steps) + 1
    for found, true in zip(fit.steps_ms, steps, strict=True):
        assert abs(found - true) <= 6 * noise_ms
    for point in points:
        error_ms = abs(fit.media_at(point.wall_ms) - point.media_ms)
        assert error_ms <= fit.segment_at(point.wall_ms).err_ms + 1e-3
        assert error_ms <= 6 * noise_ms
    assert sum(segment.rows for segment in fit.segments) + fit.outliers == len(points)


@given(recordings(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_lone_outliers_move_nothing(
    drawn: tuple[list[Point], list[float], float], seed: int
) -> None:
    points, steps, noise_ms = drawn
    chance = random.Random(seed)
    spoilt = list(points)
    at = range(9, len(points) - 9, 40)
    for position in at:
        point = points[position]
        spoilt[position] = Point(point.wall_ms, point.media_ms - chance.uniform(8000, 60_000))
    fit = fit_clock(spoilt)
    assert fit is not None
    assert len(fit.segments) == len(steps) + 1
    for position, point in enumerate(points):
        if position not in at:
            assert abs(fit.media_at(point.wall_ms) - point.media_ms) <= 6 * noise_ms


def test_nothing_gives_no_clock_and_one_row_gives_its_own() -> None:
    assert fit_clock([]) is None
    fit = fit_clock([Point(1000.0, 250.0)])
    assert fit is not None
    assert fit.media_at(1500.0) == 750.0
