"""Runs all processes of one machine: the embedded engines first, then ours, restarting the dead.

A process that dies is started again after 0.3 s, later after more, up to 5 s, when it keeps
dying young. Everything ends with the supervisor, also when that is killed.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from engagement import child_process
from engagement.data_directory import DataDirectoryLock
from engagement.database.embedded import EmbeddedPostgres, ensure_database
from engagement.errors import UnavailableError
from engagement.log import admin
from engagement.log.embedded import EmbeddedKafka
from engagement.settings import Settings

log = structlog.get_logger()

WATCH_S: Final = 0.05
RESTART_AFTER_S: Final = 0.3
RESTART_AFTER_S_MAX: Final = 5.0
YOUNG_S: Final = 5.0
"""A process that dies younger than this waits twice as long for its next start."""
STOP_TIMEOUT_S: Final = 6.0
READY_TIMEOUT_S: Final = 60.0
WILL_NOT_HELP: Final = 78
"""Exit code (`EX_CONFIG`) of a process whose settings are wrong: it is not started again."""


@dataclass(frozen=True)
class Role:
    """One process of ours: the command that it is, and the settings that differ for it."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def roles(settings: Settings, extra: Sequence[Role] = ()) -> list[Role]:
    """The processes of one machine, in the order in which they start."""
    workers = [
        Role(f"worker-{number}", ("worker",), {"ENGAGEMENT_WORKER_ID": str(number)})
        for number in range(settings.workers)
    ]
    gateways = [
        Role(f"gateway-{number}", ("gateway",), {"ENGAGEMENT_PORT": str(port)})
        for number, port in enumerate(gateway_ports(settings))
    ]
    return [*workers, Role("projector", ("project",)), Role("media", ("media",)), *gateways, *extra]


def gateway_ports(settings: Settings) -> list[int]:
    """The port of each gateway: consecutive, leaving out the media process's."""
    ports = range(settings.port, settings.port + settings.gateways + 1)
    return [port for port in ports if port != settings.media_port][: settings.gateways]


class _Child:
    """A process that should run: how it is started, and when it may be started again."""

    def __init__(
        self, name: str, start: Callable[[], subprocess.Popen[bytes]], stop: Callable[[], None]
    ) -> None:
        self.name = name
        self.stop = stop
        self.abandoned = False
        self._start = start
        self._started_at_s = 0.0
        self._restart_at_s: float | None = None
        self._delay_s = RESTART_AFTER_S
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self._start()
        self._started_at_s = time.monotonic()
        self._restart_at_s = None

    def watch(self) -> bool:
        """Notice a death and start again when it is time; True when something changed."""
        if self.process is None or self.abandoned or self.process.poll() is None:
            return False
        now_s = time.monotonic()
        if self._restart_at_s is None:
            young = now_s - self._started_at_s < YOUNG_S
            self._delay_s = (
                min(self._delay_s * 2, RESTART_AFTER_S_MAX) if young else RESTART_AFTER_S
            )
            self._restart_at_s = now_s + self._delay_s
            self.abandoned = self.process.returncode == WILL_NOT_HELP
            log.warning("died", child=self.name, code=self.process.returncode)
            return True
        if now_s < self._restart_at_s:
            return False
        self.start()
        log.info("restarted", child=self.name, pid=self.process.pid if self.process else 0)
        return True


class Supervisor:
    """All processes of one data directory."""

    def __init__(
        self,
        settings: Settings,
        *,
        extra: Sequence[Role] = (),
        without: Sequence[str] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._extra = extra
        self._without = set(without)
        self._tell = tell
        self._directory = settings.data_dir.resolve()
        self._lock = DataDirectoryLock(self._directory)
        self._children: list[_Child] = []
        self._stopping = asyncio.Event()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Start everything, call `ready` when the gateway is, and watch until SIGINT or SIGTERM.

        Raises ConflictError when another instance has the directory, UnavailableError when an
        engine does not start.
        """
        self._lock.acquire()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        watching: asyncio.Task[None] | None = None
        try:
            await self._unless_stopped(self._start_engines())
            self._start_roles()
            watching = asyncio.create_task(self._watch())
            await self._unless_stopped(self._gateway_ready())
            if not self._stopping.is_set():
                ready()
            await self._stopping.wait()
        finally:
            if watching is not None:
                watching.cancel()
            await asyncio.to_thread(self._stop_all)
            self._lock.release()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this, but not longer than until somebody wants us to stop."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return
        task.result()

    # --- engines ---------------------------------------------------------------------------------

    async def _start_engines(self) -> None:
        settings = self._settings
        self._directory.mkdir(parents=True, exist_ok=True)
        if not settings.database_url:
            self._tell("starting PostgreSQL")
            postgres = EmbeddedPostgres(settings)
            self._start("database", postgres.start, postgres.stop)
        if not settings.kafka:
            self._tell("starting Kafka")
            kafka = EmbeddedKafka(settings)
            self._start("broker", kafka.start, kafka.stop)
        self._note_pids()
        from engagement.commands.migrate import upgrade_to_head

        if not settings.database_url:
            await asyncio.to_thread(ensure_database, settings)
        self._tell("migrating the database")
        await asyncio.to_thread(upgrade_to_head, settings)
        self._tell("waiting for Kafka")
        await admin.wait_for_broker(settings.bootstrap_servers)
        self._tell("creating topics")
        await admin.create_topics(settings)

    def _start(
        self, name: str, start: Callable[[], subprocess.Popen[bytes]], stop: Callable[[], None]
    ) -> None:
        child = _Child(name, start, stop)
        child.start()
        self._children.append(child)

    # --- our processes ---------------------------------------------------------------------------

    def _start_roles(self) -> None:
        self._tell("starting workers, projector, media and gateway")
        for role in roles(self._settings, self._extra):
            if role.argv[0] in self._without:
                continue
            self._start_role(role)
        self._note_pids()

    def _start_role(self, role: Role) -> None:
        logs = self._directory / "logs"
        logs.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            **self._handed_down(),
            **role.environment,
            child_process.PARENT_VARIABLE: str(os.getpid()),
        }

        def start() -> subprocess.Popen[bytes]:
            return child_process.spawn(
                [sys.executable, "-m", "engagement", *role.argv],
                log_file=logs / f"{role.name}.log",
                env=environment,
            )

        def stop() -> None:
            if child.process is not None:
                child_process.stop(child.process, STOP_TIMEOUT_S)

        child = _Child(role.name, start, stop)
        child.start()
        self._children.append(child)

    def _handed_down(self) -> dict[str, str]:
        """What a command line may have set beside the environment."""
        settings = self._settings
        return {
            "ENGAGEMENT_DATA_DIR": str(self._directory),
            "ENGAGEMENT_AUTH": settings.auth,
            "ENGAGEMENT_PORT": str(settings.port),
            "ENGAGEMENT_MEDIA_PORT": str(settings.media_port),
        }

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            # Every child is looked at, whatever the first ones answer.
            changes = [child.watch() for child in self._children]
            if any(changes):
                self._note_pids()

    def _note_pids(self) -> None:
        """Name every process, for people and for tests that kill them."""
        pids = {
            child.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.poll() is None
        }
        draft = self._directory / "pids.json.new"
        draft.write_text(json.dumps({"supervisor": os.getpid(), **pids}, indent=1))
        draft.replace(self._directory / "pids.json")

    async def _gateway_ready(self) -> None:
        if "gateway" in self._without:
            return
        self._tell("waiting for the gateway")
        import httpx

        url = f"http://{self._settings.host}:{self._settings.port}/readyz"
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(url, timeout=2)).status_code == httpx.codes.OK:
                        return
                if any(child.abandoned for child in self._children):
                    names = [child.name for child in self._children if child.abandoned]
                    raise UnavailableError(
                        f"{', '.join(names)} refuses its settings: see {self._logs(names[0])}",
                        code="bad_settings",
                    )
                if time.monotonic() > deadline_s:
                    raise UnavailableError(
                        f"the gateway is not ready after {READY_TIMEOUT_S:.0f} s: see "
                        f"{self._logs('gateway-0')} and run `engagement doctor`",
                        code="not_ready",
                    )
                await asyncio.sleep(0.05)

    def _logs(self, name: str) -> Path:
        return self._directory / "logs" / f"{name}.log"

    def _stop_all(self) -> None:
        """Ours first, all at once; then the engines, the database before the broker's log."""
        ours = [child for child in self._children if child.name not in ("broker", "database")]
        for child in ours:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        for child in [*ours, *(c for c in self._children if c not in ours)]:
            child.stop()
        (self._directory / "pids.json").unlink(missing_ok=True)
