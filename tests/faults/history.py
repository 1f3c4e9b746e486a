"""The history of a run, written as it happens (format: evidence.py)."""

import time
from pathlib import Path
from typing import Any

import msgspec

_ENCODE = msgspec.json.Encoder().encode


class History:
    """One open JSON-lines file, and a clock that all its times come from."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._calls = 0

    def note(self, kind: str, /, **fields: Any) -> None:
        """Write one line."""
        self._file.write(_ENCODE({"k": kind, **fields}) + b"\n")

    def sending(self, ids: list[str], via: str, *, altered: bool = False) -> int:
        """Note that a call leaves now; returns its number."""
        self._calls += 1
        more = {"altered": True} if altered else {}
        self.note("try", c=self._calls, at=now(), ids=ids, via=via, **more)
        return self._calls

    def answered(self, call: int, statuses: list[str]) -> None:
        """Note the statuses that a call brought back, one per id."""
        self.note("ans", c=call, at=now(), st=statuses)

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def now() -> int:
    """Monotonic time, ns: all times of one run are of one process."""
    return time.monotonic_ns()
