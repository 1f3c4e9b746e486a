"""What a supervisor shows of its processes' logs."""

from pathlib import Path

import pytest

from engagement.process_logs import AGAIN_S, READ_BYTES_MAX, LogFollower, Repeats, readable


def test_only_what_is_new_is_read_and_only_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    follower = LogFollower("worker-0", log)
    assert follower.lines() == []
    with log.open("a") as more:
        more.write("one\ntwo\nthr")
        more.flush()
        assert follower.lines() == ["one", "two"]
        more.write("ee\n")
        more.flush()
        assert follower.lines() == ["three"]


def test_a_log_that_is_begun_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a long line from before\n")
    follower = LogFollower("worker-0", log)
    log.replace(tmp_path / "log.1")
    log.write_text("anew\n")
    assert follower.lines() == ["anew"]


def test_a_log_that_is_not_there_yet_says_nothing(tmp_path: Path) -> None:
    assert LogFollower("worker-0", tmp_path / "log").lines() == []


def test_a_flood_is_cut_and_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    follower = LogFollower("worker-0", log)
    log.write_text("x" * 99 + "\n" * 1 + ("y" * 99 + "\n") * 10_000 + "last\n")
    told, *lines = follower.lines()
    assert "bytes left out" in told
    assert lines[-1] == "last"
    assert sum(map(len, lines)) <= READ_BYTES_MAX


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"event":"started","level":"info"}', None),
        ('{"event":"late","level":"warning","lag":3}', "w | warning: late lag=3"),
        ('\x1b[?25h{"event":"late","level":"error","process":"w"}', "w | error: late"),
        ("Traceback (most recent call last):", "w | Traceback (most recent call last):"),
        ("\x1b[2J\x1b]0;owned\x07red", "w | ]0;ownedred"),
        ("[1, 2]", "w | [1, 2]"),
        ("   ", None),
    ],
)
def test_lines_for_people(line: str, shown: str | None) -> None:
    assert readable("w", line) == shown


def test_everything_is_shown_to_those_who_want_it() -> None:
    line = '{"event":"started","level":"info"}'
    assert readable("w", line, everything=True) == "w | info: started"


def test_what_is_said_over_and_over_is_shown_now_and_then_with_its_count() -> None:
    repeats = Repeats()
    assert repeats.take("waits", 0) == "waits"
    assert [repeats.take("waits", 0.1 * n) for n in range(1, 5)] == [None] * 4
    assert repeats.take("another", 1) == "another"
    assert repeats.take("waits", AGAIN_S) == "waits (4 times more before)"
    assert repeats.take("waits", 3 * AGAIN_S) == "waits"
