"""The projector process: `engagement project`."""

import asyncio
import os
import signal
import uuid

from engagement.database.connection import create_engine
from engagement.observability import configure_logging, serve_metrics
from engagement.settings import Settings
from projections.runner import Projector


async def run(settings: Settings) -> None:
    """Project until SIGTERM or SIGINT."""
    configure_logging(settings, "projector")
    serve_metrics(settings.metrics_port)
    engine = create_engine(settings)
    projector = Projector(
        engine,
        settings.bootstrap_servers,
        partitions=settings.partitions,
        owner=f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, projector.stop)
    try:
        await projector.run()
    finally:
        await engine.dispose()
