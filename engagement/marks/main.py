"""The marks process: `engagement marks`."""

import asyncio
import contextlib
import signal

import httpx
import structlog

from engagement.child_process import exit_with_parent
from engagement.log.admin import wait_for_broker
from engagement.log.tail import Tail
from engagement.marks.follower import TIMEOUT_S, MarksFollower
from engagement.observability import configure_logging, serve_metrics
from engagement.settings import Settings

log = structlog.get_logger()

BROKER_S = 120.0
PAUSE_S = 0.2
"""Players of playlists are a second behind at least."""


async def run(settings: Settings) -> None:
    """Follow until SIGTERM or SIGINT. Several do no harm: a mark is known by its fact."""
    configure_logging(settings, "marks")
    exit_with_parent()
    serve_metrics(settings.metrics_port)
    task = asyncio.ensure_future(_follow(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _follow(settings: Settings) -> None:
    await wait_for_broker(settings.bootstrap_servers, BROKER_S)
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as client:
        follower = MarksFollower(settings, client)
        tail = Tail(
            settings.bootstrap_servers,
            [follower.followed],
            settings.partitions,
            client_id="marks",
            pause_s=PAUSE_S,
        )
        log.info("marks.ready")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tail.run())
            tasks.create_task(follower.run())
