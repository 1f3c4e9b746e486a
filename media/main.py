"""The media process: engines, their clocks onto the log, a small API. Shares nothing else."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import structlog
import uvicorn

from engagement.child_process import exit_with_parent
from engagement.errors import ConflictError
from engagement.log.admin import wait_for_broker
from engagement.log.writer import LogWriter
from engagement.observability import configure_logging
from engagement.settings import ConfigurationError, Settings
from media import metrics
from media.clock_topic import ClockLog, read_newest_anchors
from media.engine import ClockMoved, MediaEvent
from media.engines import Engines
from media.http import Serving, create_app
from media.virtual_publisher import PublisherTraits

log = structlog.get_logger()

EXIT_CONFIGURATION: Final = 78
"""`EX_CONFIG` of sysexits.h: starting again will not help."""
FLUSH_S: Final = 2.0
"""How long the closing of epochs waits for the log at the end."""
BROKER_S: Final = 120.0
GRACE_S: Final = 1
"""How long requests that are being answered may take at the end."""


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to :func:`run`: epochs are closed before the port is."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then end every epoch and leave.

    Exits with 78 when the settings forbid it.
    """
    configure_logging(settings, "media")
    try:
        _check(settings)
    except ConfigurationError as error:
        log.error("media.configuration", error=str(error))
        sys.exit(EXIT_CONFIGURATION)
    exit_with_parent()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = Serving(settings, Engines(settings))
    async with _http(serving, settings) as server:
        clocks = asyncio.create_task(_keep_clocks(serving, stopping), name="clocks")
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({clocks, stop, server}, return_when=asyncio.FIRST_COMPLETED)
        stopping.set()
        if not clocks.done() and serving.not_ready:
            clocks.cancel()  # It waits for a broker; there is nothing to close.
        with suppress(asyncio.CancelledError):
            await clocks


def _check(settings: Settings) -> None:
    if settings.auth == "dev" and settings.host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigurationError(
            "ENGAGEMENT_AUTH=dev trusts whoever asks: it listens on loopback only, "
            f"not on {settings.host}"
        )
    missing = {"api", "webrtc", "hls"} - set(settings.media_mediamtx)
    if settings.media_mediamtx and missing:
        raise ConfigurationError(
            f"ENGAGEMENT_MEDIA_MEDIAMTX lacks the address of {', '.join(sorted(missing))}"
        )


@asynccontextmanager
async def _http(serving: Serving, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    server = _Server(
        uvicorn.Config(
            create_app(serving),
            host=settings.host,
            port=settings.media_port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    task = asyncio.create_task(server.serve(), name="http")
    try:
        yield task
    finally:
        server.should_exit = True
        await task


async def _keep_clocks(serving: Serving, stopping: asyncio.Event) -> None:
    """Learn the newest epochs, run the engines, and write what their clocks announce."""
    settings, engines = serving.settings, serving.engines
    await wait_for_broker(settings.bootstrap_servers, BROKER_S)
    newest = await read_newest_anchors(settings.bootstrap_servers, settings.partitions)
    for room, anchor in newest.items():
        engines.clock.add(room, anchor)
    writer = LogWriter(settings.bootstrap_servers, client_id="media")
    await writer.start()
    clock_log = ClockLog(writer, settings.partitions)
    serving.unsent = lambda: clock_log.unsent
    events = engines.events()  # Before the first host, so that no event is missed.
    writing = asyncio.create_task(_write_clocks(events, clock_log), name="clock-log")
    await engines.start({room: anchor.epoch for room, anchor in newest.items()})
    _start_hosts(engines, settings.synthetic_rooms)
    serving.not_ready = ""
    log.info("media.ready", rooms=len(settings.synthetic_rooms), known_rooms=len(newest))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({stop, writing}, return_when=asyncio.FIRST_COMPLETED)
    serving.not_ready = "stopping"
    await engines.close()
    await writing
    try:
        await clock_log.flush(FLUSH_S)
        await writer.stop()
    except TimeoutError:
        log.warning("media.epochs_left_open", rooms=clock_log.unsent)
    log.info("media.stopped")


def _start_hosts(engines: Engines, rooms: list[str]) -> None:
    for room in rooms:
        with suppress(ConflictError):  # Named twice, or a command was quicker.
            engines.synthetic.start_host(room, PublisherTraits())


async def _write_clocks(events: AsyncIterator[MediaEvent], clock_log: ClockLog) -> None:
    async for event in events:
        if not isinstance(event, ClockMoved):
            continue
        moved = event.event
        clock_log.write(event.room, moved, event.engine)
        metrics.CLOCK_EVENTS.labels(moved.kind, moved.reason).inc()
        metrics.ANCHOR_ERR_MS.observe(moved.anchor.err_ms)
        if moved.kind == "clock.epoch.opened":
            metrics.EPOCHS.labels(moved.reason).inc()
        elif moved.kind == "clock.stepped":
            metrics.STEPS.labels(moved.reason).inc()
