"""The worker process: `engagement worker`."""

import uvloop

from engagement.collector import collect_rarely
from engagement.observability import configure_logging, serve_metrics
from engagement.settings import Settings


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; does not return normally (Faust ends the process)."""
    # Before Faust is imported: both of its loops, the app's and the consumer thread's, use it.
    uvloop.install()
    import faust

    from engagement.processors.app import build

    configure_logging(settings, f"worker-{settings.worker_id}")
    serve_metrics(settings.metrics_port)
    worker = faust.Worker(
        build(settings), loglevel="WARN", quiet=True, override_logging=False, redirect_stdouts=False
    )
    worker.spinner = None  # It writes escape codes even where there is no terminal.
    collect_rarely()
    worker.execute_from_commandline()
