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
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from engagement import child_process
from engagement.data_directory import DataDirectoryLock, announce, withdraw
from engagement.database.embedded import EmbeddedPostgres, ensure_database
from engagement.errors import ConflictError, UnavailableError
from engagement.log import admin
from engagement.log.embedded import EmbeddedKafka
from engagement.log.kafka_jars import Tell, silent
from engagement.ports import dialled, require_free
from engagement.process_logs import LogFollower, Repeats, readable
from engagement.settings import Settings
from engagement.supervised_child import SupervisedChild

log = structlog.get_logger()
T = TypeVar("T")

WATCH_S: Final = 0.05
FOLLOW_S: Final = 0.25
STOP_TIMEOUT_S: Final = 6.0
READY_TIMEOUT_S: Final = 60.0
STOP_ORDER: Final = (
    ("demo-crowd", "demo-video"),
    ("gateway", "media"),
    ("worker", "project", "marks"),
    ("engine",),
)
"""Commands, as they are ended: who writes requests goes before who reads them."""


@dataclass(frozen=True)
class Role:
    """One process of ours: the command that it is, and the settings that differ for it."""

    name: str
    command: str
    environment: Mapping[str, str] = field(default_factory=dict)


def roles(settings: Settings, extra: Sequence[Role] = ()) -> list[Role]:
    """The processes of one machine, in the order in which they start."""
    workers = [
        Role(f"worker-{number}", "worker", {"ENGAGEMENT_WORKER_ID": str(number)})
        for number in range(settings.workers)
    ]
    gateways = [
        Role(f"gateway-{number}", "gateway", {"ENGAGEMENT_PORT": str(port)})
        for number, port in enumerate(gateway_ports(settings))
    ]
    # A gateway takes longest to start and is what people wait for.
    return [
        *gateways,
        *workers,
        Role("projector", "project"),
        Role("media", "media"),
        Role("marks", "marks"),
        *extra,
    ]


def gateway_ports(settings: Settings) -> list[int]:
    """The port of each gateway: consecutive, leaving out the media process's."""
    ports = range(settings.port, settings.port + settings.gateways + 1)
    return [port for port in ports if port != settings.media_port][: settings.gateways]


class Supervisor:
    """All processes of one data directory."""

    def __init__(
        self,
        settings: Settings,
        *,
        extra: Sequence[Role] = (),
        without: Sequence[str] = (),
        tell: Tell = silent,
        show: Callable[[str], None] = lambda _: None,
        verbose: bool = False,
    ) -> None:
        """`tell` hears what is going on, `show` what processes log at warning and above."""
        self._settings = settings
        self._roles = [role for role in roles(settings, extra) if role.command not in without]
        self._tell, self._show, self._verbose = tell, show, verbose
        self._directory = settings.data_dir.resolve()
        self._lock = DataDirectoryLock(self._directory)
        self._children: dict[SupervisedChild, str] = {}
        self._followers: list[LogFollower] = []
        self._stopping = asyncio.Event()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Start everything, call `ready` when the gateways are, and watch until SIGINT or SIGTERM.

        Raises ConflictError when another instance has the directory, another program a port, or
        the topics have other partitions; UnavailableError when an engine does not start.
        """
        self._lock.acquire()
        (self._directory / "pids.json").unlink(missing_ok=True)
        announce(self._settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._unless_stopped(self._start_engines())
            if not self._stopping.is_set():
                self._start_roles()
                tasks += [asyncio.create_task(self._watch()), asyncio.create_task(self._follow())]
                await self._unless_stopped(self._gateways_ready())
            if not self._stopping.is_set():
                ready()
            await self._stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.to_thread(self._stop_all)
            withdraw(self._settings)
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
        """Both side by side; returns when topics and schema are as this version wants them."""
        await _in_daemon_thread(self._require_ports)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_database())
                group.create_task(self._start_broker())
        except ExceptionGroup as failed:
            raise _first_of(failed) from None

    def _require_ports(self) -> None:
        settings = self._settings
        wanted = {role.command for role in self._roles}
        for port in gateway_ports(settings) if "gateway" in wanted else ():
            require_free(port, "the gateway", "ENGAGEMENT_PORT", host=settings.host)
        if "media" in wanted:
            require_free(settings.media_port, "media", "ENGAGEMENT_MEDIA_PORT", host=settings.host)

    async def _start_database(self) -> None:
        settings = self._settings
        if not settings.database_url:
            self._tell("starting PostgreSQL", 0, 0)
            postgres = EmbeddedPostgres(settings)
            await _in_daemon_thread(postgres.prepare)
            child = self._start_engine("database", postgres)
            await self._while_it_runs(child, asyncio.to_thread(ensure_database, settings))
        self._tell("migrating the database", 0, 0)
        await asyncio.to_thread(_migrate, settings)

    async def _start_broker(self) -> None:
        settings = self._settings
        if settings.kafka:
            self._tell("waiting for Kafka", 0, 0)
            await admin.wait_for_broker(settings.bootstrap_servers)
        else:
            kafka = EmbeddedKafka(settings)
            await _in_daemon_thread(lambda: kafka.prepare(self._tell))
            self._tell("starting Kafka", 0, 0)
            child = self._start_engine("broker", kafka)
            await self._while_it_runs(child, admin.wait_for_broker(settings.bootstrap_servers))
        self._tell("creating topics", 0, 0)
        await admin.create_topics(settings)
        await self._refuse_other_partitions()

    async def _refuse_other_partitions(self) -> None:
        """A room lives in the partition that its name and their number give: it would move."""
        for difference in await admin.compare_topics(self._settings):
            if difference.what == "partitions":
                raise ConflictError(
                    f"{difference.topic} has {difference.found} partitions, but the settings say "
                    f"{difference.declared}, and rooms would lose their history. Set "
                    f"ENGAGEMENT_PARTITIONS={difference.found}, or begin with empty data.",
                    code="topics_differ",
                )
            log.warning(
                "a topic is not as declared: see `engagement topics`",
                topic=difference.topic,
                what=difference.what,
                declared=difference.declared,
                found=difference.found,
            )

    def _start_engine(self, name: str, engine: EmbeddedKafka | EmbeddedPostgres) -> SupervisedChild:
        child = SupervisedChild(
            name, start=engine.start, stop=lambda _: engine.stop(), log_file=engine.log_file
        )
        self._children[child] = "engine"
        child.start()
        self._note_pids()
        return child

    async def _while_it_runs(self, child: SupervisedChild, work: Awaitable[None]) -> None:
        """Wait for `work` as long as `child` runs. UnavailableError with its reason if it ends."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.wait((task,), timeout=WATCH_S)
            if not child.runs and not task.done():
                task.cancel()
                raise UnavailableError(
                    f"{child.last_words()} (all of it: {child.log_file})", code="engine_failed"
                )
        task.result()

    # --- our processes ---------------------------------------------------------------------------

    def _start_roles(self) -> None:
        self._tell("starting workers, projector, media and gateway", 0, 0)
        for role in self._roles:
            self._start_role(role)
        self._note_pids()

    def _start_role(self, role: Role) -> None:
        logs = self._directory / "logs"
        logs.mkdir(exist_ok=True)
        log_file = logs / f"{role.name}.log"
        environment = {
            **os.environ,
            **self._handed_down(),
            **role.environment,
            child_process.PARENT_VARIABLE: str(os.getpid()),
        }

        def start() -> subprocess.Popen[bytes]:
            argv = [sys.executable, "-m", "engagement", role.command]
            return child_process.spawn(argv, log_file=log_file, env=environment)

        def stop(process: subprocess.Popen[bytes] | None) -> None:
            if process is not None:
                child_process.stop(process, STOP_TIMEOUT_S)

        child = SupervisedChild(role.name, start=start, stop=stop, log_file=log_file)
        self._followers.append(LogFollower(role.name, log_file))
        self._children[child] = role.command
        child.start()

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

    async def _follow(self) -> None:
        repeats = Repeats()
        while True:
            await asyncio.sleep(FOLLOW_S)
            for follower in self._followers:
                for line in follower.lines():
                    text = readable(follower.name, line, everything=self._verbose)
                    shown = text and repeats.take(text, time.monotonic())
                    if shown:
                        self._show(shown)

    def _note_pids(self) -> None:
        """Name every process, for people and for tests that kill them."""
        pids = {
            child.name: child.process.pid
            for child in self._children
            if child.process is not None and child.runs
        }
        draft = self._directory / "pids.json.new"
        draft.write_text(json.dumps({"supervisor": os.getpid(), **pids}, indent=1))
        draft.replace(self._directory / "pids.json")

    async def _gateways_ready(self) -> None:
        gateways = [child for child, command in self._children.items() if command == "gateway"]
        if gateways:
            self._tell("waiting for the gateway", 0, 0)
            await asyncio.gather(*map(self._gateway_ready, gateways, gateway_ports(self._settings)))

    async def _gateway_ready(self, gateway: SupervisedChild, port: int) -> None:
        import httpx

        url = f"http://{dialled(self._settings.host)}:{port}/readyz"
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(url, timeout=2)).status_code == httpx.codes.OK:
                        return
                if gateway.abandoned:
                    raise UnavailableError(gateway.last_words(), code="bad_settings")
                if time.monotonic() > deadline_s:
                    raise UnavailableError(
                        f"{url} is not ready after {READY_TIMEOUT_S:.0f} s: see "
                        f"{gateway.log_file} and run `engagement doctor`",
                        code="not_ready",
                    )
                await asyncio.sleep(WATCH_S)

    def _stop_all(self) -> None:
        """Stage by stage, each at once: an engine goes when nobody needs it any more."""
        for stage in STOP_ORDER:
            ending = [child for child, command in self._children.items() if command in stage]
            if ending:
                self._tell(f"stopping {', '.join(child.name for child in ending)}", 0, 0)
                with ThreadPoolExecutor(len(ending)) as threads:
                    list(threads.map(SupervisedChild.stop, ending))
        (self._directory / "pids.json").unlink(missing_ok=True)


def _migrate(settings: Settings) -> None:
    # Not imported before the broker has been started: it takes half a second.
    from engagement.commands.migrate import upgrade_to_head

    upgrade_to_head(settings)


def _first_of(failed: BaseException) -> BaseException:
    """One reason is enough for a person."""
    while isinstance(failed, BaseExceptionGroup):
        failed = failed.exceptions[0]
    return failed


async def _in_daemon_thread(work: Callable[[], T]) -> T:
    """Like `asyncio.to_thread`, but for work that a Ctrl-C does not wait for, as a download."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(answer: T | None, error: BaseException | None) -> None:
        if not outcome.done():
            if error is None:
                outcome.set_result(answer)  # type: ignore[arg-type]
            else:
                outcome.set_exception(error)

    def run() -> None:
        try:
            answer = work()
        except BaseException as error:
            report: tuple[T | None, BaseException | None] = (None, error)
        else:
            report = (answer, None)
        with contextlib.suppress(RuntimeError):  # The loop has ended meanwhile.
            loop.call_soon_threadsafe(settle, *report)

    threading.Thread(target=run, daemon=True).start()
    return await outcome
