"""What the processes of a supervisor say, from their log files onto its console.

The files are followed, the processes are not read through pipes: a supervisor that dies or is
slow must not hold up anybody who logs.
"""

import contextlib
import re
from pathlib import Path
from typing import Final

import msgspec

READ_BYTES_MAX: Final = 64 * 1024
"""Of one file at a time; a process that says more is cut short."""
AGAIN_S: Final = 10.0
"""The same line is shown once in this time."""
_LINES_KNOWN_MAX: Final = 500
_QUIET: Final = ("debug", "info")
_LEFT_OUT: Final = ("process", "timestamp", "logger")
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class LogFollower:
    """The lines that are appended to one file from now on."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._position = self._size()
        self._rest = b""

    def _size(self) -> int:
        with contextlib.suppress(OSError):
            return self._path.stat().st_size
        return 0

    def lines(self) -> list[str]:
        """Whole lines that are new; after a flood the newest ones, and a word about the others."""
        size = self._size()
        if size < self._position:  # It was put aside and begun anew.
            self._position, self._rest = 0, b""
        if size == self._position:
            return []
        skipped = max(0, size - self._position - READ_BYTES_MAX)
        with contextlib.suppress(OSError), self._path.open("rb") as log:
            log.seek(self._position + skipped)
            fresh = log.read(READ_BYTES_MAX)
            self._position += skipped + len(fresh)
            *whole, self._rest = ((b"" if skipped else self._rest) + fresh).split(b"\n")
            said = [f"({skipped} bytes left out: see {self._path})"] if skipped else []
            return said + [line.decode(errors="replace") for line in whole]
        return []


def readable(name: str, line: str, *, everything: bool = False) -> str | None:
    """A log line for people, or None when it is of no interest: below warning, or empty."""
    text = _ESCAPES.sub("", line).strip()
    try:
        entry = msgspec.json.decode(text)
    except msgspec.DecodeError:
        entry = None
    if not isinstance(entry, dict):
        return f"{name} | {text}" if text else None
    level = str(entry.pop("level", "info"))
    if level in _QUIET and not everything:
        return None
    event = entry.pop("event", "")
    more = " ".join(f"{key}={value}" for key, value in entry.items() if key not in _LEFT_OUT)
    return f"{name} | {level}: {event} {more}".rstrip()


class Repeats:
    """Leaves out lines that are said over and over, and says later how often."""

    def __init__(self) -> None:
        self._shown_at_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def take(self, line: str, now_s: float) -> str | None:
        """What to show of a line that comes now."""
        before_s = self._shown_at_s.get(line)
        if before_s is not None and now_s - before_s < AGAIN_S:
            self._left_out[line] = self._left_out.get(line, 0) + 1
            return None
        if len(self._shown_at_s) >= _LINES_KNOWN_MAX:
            self._shown_at_s.clear()
            self._left_out.clear()
        self._shown_at_s[line] = now_s
        times = self._left_out.pop(line, 0)
        return f"{line} ({times} times more before)" if times else line
