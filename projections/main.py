"""The projector process: `engagement project`."""

import asyncio
import os
import signal

from engagement.collector import collect_rarely
from engagement.database.connection import BY_KEY, create_engine
from engagement.observability import configure_logging, serve_metrics
from engagement.settings import Settings
from projections.runner import Projector


async def run(settings: Settings) -> None:
    """Project until SIGTERM or SIGINT. Any number of these share the partitions."""
    configure_logging(settings, "projector")
    serve_metrics(settings.metrics_port)
    # Effect and position are one transaction: one that a crash of the database loses is folded
    # again. So nobody waits for the disk at every commit.
    engine = create_engine(settings, pool_size=1, synchronous_commit="off", **BY_KEY)
    projector = Projector(
        engine, settings.bootstrap_servers, name=f"{os.uname().nodename}/{os.getpid()}"
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, projector.stop)
    collect_rarely()
    try:
        await projector.run()
    finally:
        await engine.dispose()
