"""Child processes that die with their parent.

On Linux the kernel does it (`PR_SET_PDEATHSIG`, prctl(2)), also when the parent is killed with
SIGKILL; our own Python children watch their parent besides (:func:`exit_with_parent`), which
works everywhere. Spawn from the main thread: the signal comes when the spawning *thread* ends.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

PARENT_VARIABLE: Final = "ENGAGEMENT_PARENT_PID"
_PR_SET_PDEATHSIG: Final = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(death_signal: int = signal.SIGKILL) -> None:
    """To be called in the child between fork and exec (and after any change of user)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)


def spawn(
    argv: Sequence[str],
    *,
    log_file: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    before_exec: Callable[[], None] | None = None,
    death_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output appended to `log_file`."""

    def prepare() -> None:
        if before_exec is not None:
            before_exec()
        die_with_parent(death_signal)

    with log_file.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - our own argv; prctl must run in the child
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509
        )


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """SIGTERM, then SIGKILL after `timeout_s`; returns when the process is gone."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def exit_with_parent(check_every_s: float = 1.0) -> None:
    """Watch the parent that `PARENT_VARIABLE` names and end this process when it has gone."""
    expected = os.environ.get(PARENT_VARIABLE)
    if not expected:
        return

    def watch() -> None:
        pause = threading.Event()
        while os.getppid() == int(expected):
            pause.wait(check_every_s)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def command_of(pid: int) -> list[str]:
    """The command line of a process, or [] when there is none (or no /proc)."""
    with contextlib.suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return [part.decode(errors="replace") for part in raw.split(b"\0") if part]
    return []


def end_orphan(pid_file: Path, mark: str) -> None:
    """Kill the process that a former run left, if its command line still holds `mark`."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    if any(mark in part for part in command_of(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = threading.Event()
        while any(mark in part for part in command_of(pid)):
            deadline.wait(0.02)
    pid_file.unlink(missing_ok=True)
