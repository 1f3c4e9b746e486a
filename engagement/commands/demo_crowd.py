"""`engagement demo-crowd`: the synthetic crowds of the demo, as a process of their own."""

import asyncio
import contextlib
import signal

import uvloop

from engagement.crowd.demo import run_demo
from engagement.observability import configure_logging
from engagement.settings import Settings


def demo_crowd(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT."""
    configure_logging(settings, "demo-crowd")
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    task = asyncio.ensure_future(run_demo(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await task
