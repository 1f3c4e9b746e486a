"""One instance per data directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from engagement.data_directory import DataDirectoryLock, announce, as_announced, withdraw
from engagement.errors import ConflictError
from engagement.settings import Settings

HOLDER = (
    "import sys, time; from pathlib import Path\n"
    "from engagement.data_directory import DataDirectoryLock\n"
    "lock = DataDirectoryLock(Path(sys.argv[1])); lock.acquire()\n"
    "print('held', flush=True); time.sleep(600)"
)


def test_a_second_holder_is_refused_and_told_who_has_it_until_that_one_is_killed(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        mine = DataDirectoryLock(tmp_path)
        try:
            with pytest.raises(ConflictError, match=f"pid {holder.pid}"):
                mine.acquire()
        finally:
            holder.kill()
    mine.acquire()
    mine.release()


def test_taking_it_twice_keeps_it_and_releasing_gives_it_back(tmp_path: Path) -> None:
    first, second = DataDirectoryLock(tmp_path), DataDirectoryLock(tmp_path)
    first.acquire()
    first.acquire()
    with pytest.raises(ConflictError):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_locks_of_other_names_do_not_meet(tmp_path: Path) -> None:
    one, other = DataDirectoryLock(tmp_path), DataDirectoryLock(tmp_path, "postgres.lock")
    one.acquire()
    other.acquire()
    one.release()
    other.release()


def test_a_command_in_another_terminal_identifies_itself_as_the_instance_wants(
    tmp_path: Path,
) -> None:
    """`engagement doctor` beside `engagement demo` called its dev mode a JWT without a key."""
    announce(Settings(data_dir=tmp_path, auth="dev"))
    assert as_announced(Settings(data_dir=tmp_path)).auth == "dev"
    assert as_announced(Settings(data_dir=tmp_path, auth="jwt")).auth == "jwt"
    withdraw(Settings(data_dir=tmp_path))
    assert as_announced(Settings(data_dir=tmp_path)).auth == "jwt"


@pytest.mark.parametrize("garbage", ["", "[]", "{}", '{"auth": "nobody"}', '{"auth": 1}'])
def test_an_announcement_of_garbage_says_nothing(tmp_path: Path, garbage: str) -> None:
    (tmp_path / "instance.json").write_text(garbage)
    assert as_announced(Settings(data_dir=tmp_path)).auth == "jwt"
