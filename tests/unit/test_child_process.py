"""Child processes: they die with their parent, and only ours are ended as orphans."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement import child_process

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)", "a-mark"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEPER)
    # A process has a command line a moment after it has begun.
    assert child_process.wait_until(lambda: not gone(process.pid), 5)
    yield process
    process.kill()
    process.wait()


def gone(pid: int) -> bool:
    return not child_process.command_of(pid)


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from engagement import child_process\n"
        f"child = child_process.spawn({SLEEPER!r}, log_file=Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not gone(child)
    parent.kill()
    parent.wait()
    assert child_process.wait_until(lambda: gone(child), 5)


def test_a_python_child_watches_its_parent_too(tmp_path: Path) -> None:
    """For systems whose kernel does not do it."""
    program = (
        "import time; from engagement.child_process import exit_with_parent\n"
        "exit_with_parent(0.05); print('watching', flush=True); time.sleep(600)"
    )
    parent = (
        "import os, subprocess, sys, time\n"
        f"os.environ['{child_process.PARENT_VARIABLE}'] = str(os.getpid())\n"
        f"child = subprocess.Popen([sys.executable, '-c', {program!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(600)"
    )
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert started.stdout is not None
    child = int(started.stdout.readline())
    started.kill()
    started.wait()
    assert child_process.wait_until(lambda: gone(child), 5)


def test_stopping_ends_even_a_child_that_will_not(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True); time.sleep(600)"
    )
    log_file = tmp_path / "log"
    child = child_process.spawn([sys.executable, "-c", stubborn], log_file=log_file)
    assert child_process.wait_until(lambda: child_process.last_line(log_file) == "deaf", 10)
    child_process.stop(child, timeout_s=0.2)
    assert child.returncode == -signal.SIGKILL


def test_an_orphan_is_ended_and_its_pid_file_removed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{sleeper.pid}\n")
    child_process.end_orphan(pid_file, "a-mark")
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not pid_file.exists()


def test_a_pid_that_belongs_to_somebody_else_by_now_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{sleeper.pid}\n")
    child_process.end_orphan(pid_file, "another-mark")
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.3)
    assert not pid_file.exists()


def test_a_pid_file_of_garbage_is_nobody(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    for garbage in ("", "not a number", "-"):
        pid_file.write_text(garbage)
        assert child_process.marked_process(pid_file, "a-mark") is None
    assert child_process.marked_process(tmp_path / "missing", "a-mark") is None


def test_a_log_that_has_grown_too_long_is_put_aside(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    with log_file.open("wb") as log:
        log.truncate(child_process.LOG_BYTES_MAX + 1)
    child_process.spawn([sys.executable, "-c", "print('fresh')"], log_file=log_file).wait()
    assert log_file.read_text() == "fresh\n"
    assert (tmp_path / "log.1").stat().st_size > child_process.LOG_BYTES_MAX


def test_the_last_words_are_the_last_line_that_says_something(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    assert child_process.last_line(log_file) == ""
    log_file.write_bytes(b"x" * 10_000 + b"\nBind failed\n\n \n")
    assert child_process.last_line(log_file) == "Bind failed"


def test_processes_are_found_by_the_directory_they_work_in(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPER, cwd=tmp_path) as worker:
        found = child_process.working_in(tmp_path.resolve())
        worker.kill()
    assert found == [worker.pid]
    assert os.getpid() not in found
