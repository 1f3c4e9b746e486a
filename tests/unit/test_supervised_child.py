"""When a dead process is started again, and when it is not."""

from pathlib import Path
from typing import Any, cast

import pytest

from engagement.errors import ConflictError
from engagement.supervised_child import RESTART_AFTER_S, RESTART_AFTER_S_MAX, SupervisedChild


class FakeProcess:
    """What `subprocess.Popen` looks like to a supervisor."""

    pid = 4711

    def __init__(self) -> None:
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode


class World:
    """A child in a world whose clock we hold."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.started: list[FakeProcess] = []
        self.fails: Exception | None = None
        self.child = SupervisedChild(
            "child",
            start=self._start,
            stop=lambda _: None,
            log_file=Path("/nowhere"),
            clock=lambda: self.now_s,
        )
        self.child.start()

    def _start(self) -> Any:
        if self.fails is not None:
            raise self.fails
        self.started.append(FakeProcess())
        return cast(Any, self.started[-1])

    def dies(self, code: int = 1) -> None:
        self.started[-1].returncode = code
        self.child.watch()

    def back_after_s(self) -> float:
        """How long the dead child waits for its next start."""
        died_s, before = self.now_s, len(self.started)
        while len(self.started) == before:
            self.now_s += 0.05
            assert self.now_s - died_s < 60
            self.child.watch()
        return self.now_s - died_s


@pytest.fixture
def world() -> World:
    return World()


def test_a_living_child_is_left_alone(world: World) -> None:
    assert not world.child.watch()
    assert len(world.started) == 1


def test_a_child_that_has_lived_is_back_at_once(world: World) -> None:
    world.now_s += 60
    world.dies()
    assert world.back_after_s() == pytest.approx(RESTART_AFTER_S, abs=0.06)


def test_a_child_that_dies_young_waits_longer_each_time_but_not_for_ever(world: World) -> None:
    waits = []
    for _ in range(8):
        world.dies()
        waits.append(world.back_after_s())
    assert waits[0] == pytest.approx(RESTART_AFTER_S, abs=0.06)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(RESTART_AFTER_S_MAX, abs=0.06)
    world.now_s += 60
    world.dies()
    assert world.back_after_s() == pytest.approx(RESTART_AFTER_S, abs=0.06)


def test_wrong_settings_are_not_tried_again(world: World) -> None:
    world.dies(code=78)
    world.now_s += 600
    assert not world.child.watch()
    assert world.child.abandoned
    assert len(world.started) == 1


@pytest.mark.parametrize("reason", [OSError("no space left"), ConflictError("the port is taken")])
def test_a_start_that_fails_is_tried_again(world: World, reason: Exception) -> None:
    world.now_s += 60
    world.dies()
    world.fails = reason
    for _ in range(40):
        world.now_s += 0.05
        world.child.watch()
    assert len(world.started) == 1
    world.fails = None
    world.back_after_s()
    assert world.child.runs
