"""The fit of a recording's two clocks: drift and steps are found, outliers are not believed."""

import random

import pytest
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


def five_hours(seed: int, *, off: float) -> tuple[list[Point], set[float]]:
    """A five-hour room: +19 ppm, one step of -1.3 s, +16 ppm, whole milliseconds, some silences.

    A share of the rows is off the clock by seconds; returned with the wall times of these.
    """
    chance = random.Random(seed)
    wall_ms, level_ms = 1.6e12, 1000.0
    points, strays = [], set()
    for number in range(20_000):
        second_half = number >= 10_000
        advance_ms = chance.expovariate(1 / 900) + (900_000 if number % 9_973 == 9_972 else 0)
        wall_ms += advance_ms
        level_ms += advance_ms * (16e-6 if second_half else 19e-6)
        level_ms -= 1300 if number == 10_000 else 0
        astray_ms = chance.uniform(1000, 20_000) if chance.random() < off else 0.0
        if astray_ms:
            strays.add(wall_ms)
        points.append(Point(wall_ms, float(round(wall_ms - level_ms - astray_ms))))
    return points, strays


@pytest.mark.parametrize("off", [0.0, 0.02, 0.2])
def test_five_hours_of_drift_and_one_step_are_two_lines(off: float) -> None:
    points, strays = five_hours(1, off=off)
    fit = fit_clock(points)
    assert fit is not None
    assert [round(segment.drift_ppm, 1) for segment in fit.segments] == [19.0, 16.0]
    assert [segment.stepped for segment in fit.segments] == [False, True]
    assert abs(fit.steps_ms[0] + 1300) < 0.5
    assert abs(fit.outliers - len(strays)) <= 2
    on_clock = [point for point in points if point.wall_ms not in strays]
    assert max(abs(fit.media_at(p.wall_ms) - p.media_ms) for p in on_clock) < 1


def test_a_drift_that_bends_is_followed_without_a_step() -> None:
    points = [Point(n * 500.0, n * 500.0 - (n / 3000) ** 2 * 60) for n in range(9000)]
    fit = fit_clock(points)
    assert fit is not None
    assert len(fit.segments) > 1
    assert fit.steps_ms == []
    assert all(abs(fit.media_at(p.wall_ms) - p.media_ms) <= 2 for p in points)


@pytest.mark.parametrize(("rows", "steps"), [(1, 0), (2, 0), (4, 0), (6, 2)])
def test_a_short_excursion_that_comes_back_is_no_step(rows: int, steps: int) -> None:
    def at(number: int) -> Point:
        away_ms = 700.0 if 50 <= number < 50 + rows else 0.0
        return Point(number * 100.0, number * 100.0 + away_ms)

    fit = fit_clock([at(number) for number in range(100)])
    assert fit is not None
    assert len(fit.steps_ms) == steps
    assert fit.outliers == (0 if steps else rows)


@pytest.mark.parametrize(("rows", "steps"), [(1, 0), (2, 0), (3, 1)])
def test_three_rows_that_agree_to_the_end_are_a_step(rows: int, steps: int) -> None:
    points = [Point(n * 100.0, n * 100.0 + (700 if n >= 40 else 0)) for n in range(40 + rows)]
    fit = fit_clock(points)
    assert fit is not None
    assert len(fit.steps_ms) == steps


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_has_no_drift(seed: int) -> None:
    chance = random.Random(seed)
    points = [Point(n * 3000.0, n * 3000.0 + chance.uniform(-100, 100)) for n in range(30)]
    fit = fit_clock(points)
    assert fit is not None
    assert [segment.drift_ppm for segment in fit.segments] == [0.0]


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e12, 1e12)), min_size=1, max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_rows_at_all_make_the_fit_fail(drawn: list[tuple[float, float]]) -> None:
    wall_ms = 1.6e12
    points = []
    for advance_ms, media_ms in drawn:
        wall_ms += advance_ms
        points.append(Point(wall_ms, media_ms))
    fit = fit_clock(points)
    assert fit is not None
    assert sum(segment.rows for segment in fit.segments) + fit.outliers == len(points)
    starts = [segment.start_ms for segment in fit.segments]
    assert starts == sorted(starts)


def test_nothing_gives_no_clock_and_one_row_gives_its_own() -> None:
    assert fit_clock([]) is None
    fit = fit_clock([Point(1000.0, 250.0)])
    assert fit is not None
    assert fit.media_at(1500.0) == 750.0
