"""The synthetic engine: its two clocks, and hosts that come and go."""

import random

import pytest

from engagement.domain import limits
from engagement.errors import ConflictError, UnavailableError
from media.clock import MediaClockEstimator
from media.synthetic import SyntheticEngine, clock_skew_ms
from media.virtual_publisher import PublisherTraits, VirtualPublisher


class Machine:
    """A monotonic and a wall clock, and a scheduler that takes the processor away at readings."""

    def __init__(self, preempted_ms: list[float]) -> None:
        self.elapsed_ms = 0.0
        self._preempted_ms = preempted_ms

    def _read(self) -> float:
        now_ms = self.elapsed_ms
        self.elapsed_ms += self._preempted_ms.pop(0) if self._preempted_ms else 0.001
        return now_ms

    def now_ms(self) -> float:
        return self._read()

    def server_ms(self) -> float:
        return self._read() + 1_000_000


def test_a_busy_machine_does_not_move_the_wall_clock() -> None:
    # 200 rooms on a machine with a load of 20 opened 160 epochs a second: the processor was taken
    # away between reading one clock and the other, and all frames seemed to jump.
    machine = Machine([80.0, 0.0, 0.0, 0.05, 0.0, 120.0])
    assert clock_skew_ms(machine.now_ms, machine.server_ms) == pytest.approx(1_000_000, abs=0.1)


def test_rooms_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SYNTHETIC_ROOMS_MAX", 2)
    engine = SyntheticEngine()
    engine.start_host("a", PublisherTraits())
    engine.start_host("b", PublisherTraits())
    with pytest.raises(UnavailableError):
        engine.start_host("c", PublisherTraits())
    engine.stop_host("a")
    engine.start_host("a", PublisherTraits())


def test_a_host_that_left_takes_no_commands() -> None:
    engine = SyntheticEngine()
    engine.start_host("a", PublisherTraits())
    engine.stop_host("a")
    for command in (engine.stop_host, engine.republish):
        with pytest.raises(ConflictError):
            command("a")


def test_a_machine_that_slept_loses_the_frames_and_ends_the_epoch() -> None:
    times = {"now": 1_000.0}
    engine = SyntheticEngine(
        now_ms=lambda: times["now"], server_ms=lambda: times["now"] + 1_764_000_000_000
    )
    engine.start_host("a", PublisherTraits())
    for sleep_ms in (60_000, 100):
        times["now"] += sleep_ms
        engine.set_drift("a", 10)
    ended, opened = engine.clock.recent("a")[-2:]
    assert (ended.epoch, ended.ended, opened.epoch) == (1, True, 2)


@pytest.mark.parametrize("kind", ["lost", "late", "frozen"])
def test_a_stall_lasts_as_long_as_it_should(kind: str) -> None:
    host = VirtualPublisher(PublisherTraits(jitter_ms=0), 0.0, random.Random(1))
    frames = [host.pop(0.0) for _ in range(30)]
    host.stall(900, kind)  # type: ignore[arg-type]
    later = [host.pop(0.0) for _ in range(60)]
    gap_ms = later[0].arrival_ms - frames[-1].arrival_ms
    assert gap_ms == pytest.approx(900, abs=40)
    if kind == "late":
        assert later[10].arrival_ms == later[0].arrival_ms, "they come all at once"
    media_ms = (later[0].ticks - frames[-1].ticks) % 2**32 / 90
    assert media_ms == pytest.approx(933 if kind == "lost" else 33, abs=2)


def test_a_hosts_drift_and_clock_are_what_the_estimator_finds() -> None:
    traits = PublisherTraits(drift_ppm=50, clock_offset_ms=-3_000, jitter_ms=2, delay_ms=20)
    host = VirtualPublisher(traits, 1_764_000_000_000.0, random.Random(1))
    estimator = MediaClockEstimator("a", 1)
    while host.next_arrival_ms < 1_764_000_000_000.0 + 120_000:
        estimator.frame(host.pop(0.0))
    assert estimator.drift_ppm == pytest.approx(50, abs=3)
    drifted_ms = 120_000 * 50 / 1e6
    assert estimator.publisher_offset_ms == pytest.approx(3_000 + 20 - drifted_ms, abs=3)
