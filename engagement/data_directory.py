"""One instance per data directory: a lock that the kernel gives back when its holder dies.

Beside it lies what commands in another terminal must know of the instance that runs.
"""

import fcntl
import json
import os
from io import TextIOWrapper
from pathlib import Path

from engagement.errors import ConflictError
from engagement.settings import Settings

_INSTANCE = "instance.json"


class DataDirectoryLock:
    """An exclusive flock(2) on `<directory>/<name>`, which holds the owner's pid as text."""

    def __init__(self, directory: Path, name: str = "lock") -> None:
        self._path = directory / name
        self._file: TextIOWrapper | None = None

    def acquire(self) -> None:
        """Take it, or keep it. Raises ConflictError when another live process holds it."""
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = self._path.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            handle.close()
            raise ConflictError(
                f"another instance (pid {owner}) uses {self._path.parent}. Stop it, or set "
                "ENGAGEMENT_DATA_DIR to another directory.",
                code="data_dir_in_use",
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._file = handle

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def announce(settings: Settings) -> None:
    """Tell others how the instance of this directory identifies people: `demo` decides that."""
    place = settings.data_dir.resolve() / _INSTANCE
    place.write_text(json.dumps({"auth": settings.auth}))


def as_announced(settings: Settings) -> Settings:
    """The settings of a command that talks to the instance of this directory.

    Where the environment does not say how people are identified, the instance does.
    """
    try:
        auth = json.loads((settings.data_dir / _INSTANCE).read_text())["auth"]
    except (OSError, ValueError, KeyError, TypeError):
        return settings
    if "auth" in settings.model_fields_set or auth not in ("dev", "jwt"):
        return settings
    return settings.model_copy(update={"auth": auth})


def withdraw(settings: Settings) -> None:
    """The instance is gone."""
    (settings.data_dir.resolve() / _INSTANCE).unlink(missing_ok=True)
