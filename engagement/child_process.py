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
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

PARENT_VARIABLE: Final = "ENGAGEMENT_PARENT_PID"
LOG_BYTES_MAX: Final = 20_000_000
"""A log that is longer when its process starts is put aside as `<name>.1`, in place of an older."""
ORPHAN_TIMEOUT_S: Final = 10
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

    with contextlib.suppress(OSError):
        if log_file.stat().st_size > LOG_BYTES_MAX:
            log_file.replace(log_file.with_name(f"{log_file.name}.1"))
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


def marked_process(pid_file: Path, mark: str) -> int | None:
    """The pid in a file, if that process lives and its command line holds `mark`."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if _is_marked(pid, mark) else None


def end_orphan(pid_file: Path, mark: str, end_signal: int = signal.SIGKILL) -> None:
    """End the process that a former run left, if its command line still holds `mark`."""
    pid = marked_process(pid_file, mark)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, end_signal)
        if not wait_until(lambda: not _is_marked(pid, mark), ORPHAN_TIMEOUT_S):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not _is_marked(pid, mark), ORPHAN_TIMEOUT_S)
    pid_file.unlink(missing_ok=True)


def _is_marked(pid: int, mark: str) -> bool:
    return any(mark in part for part in command_of(pid))


def working_in(directory: Path) -> list[int]:
    """Processes whose working directory this is, as far as we may see (none without /proc)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if entry.readlink() == directory:
                found.append(int(entry.parent.name))
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether `condition` became true in time. Blocks: not for an event loop that is busy."""
    pause = threading.Event()
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        pause.wait(0.02)
    return True


def last_line(log_file: Path) -> str:
    """The last line of a log, for a message about the process that wrote it."""
    with contextlib.suppress(OSError), log_file.open("rb") as log:
        log.seek(max(0, log_file.stat().st_size - 4096))
        lines = log.read().decode(errors="replace").split("\n")
        return next((line.strip()[-300:] for line in reversed(lines) if line.strip()), "")
    return ""
