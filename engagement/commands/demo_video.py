"""`engagement demo-video`: the hosts of the demo, as a process of their own."""

import asyncio
import contextlib
import signal

import uvloop

from engagement.host_video.host import run_hosts
from engagement.observability import configure_logging
from engagement.settings import Settings


def demo_video(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT."""
    configure_logging(settings, "demo-video")
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    task = asyncio.ensure_future(run_hosts(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await task
