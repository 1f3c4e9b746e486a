"""`engagement up` and `engagement demo`: everything on one machine."""

import asyncio
import os
import time
from collections.abc import Sequence

import structlog
from rich.console import Console
from rich.status import Status

from engagement.errors import EngagementError
from engagement.observability import configure_logging
from engagement.settings import Settings
from engagement.supervisor import Role, Supervisor

EXIT_FAILED = 1


def up(settings: Settings, *, without: Sequence[str] = ()) -> int:
    """Run until Ctrl-C; returns the exit code."""
    return _supervise(settings, extra=(), without=without)


def demo(settings: Settings) -> int:
    """`up` in dev auth, with one live room and a crowd in it."""
    os.environ["ENGAGEMENT_AUTH"] = "dev"
    os.environ.setdefault("ENGAGEMENT_SYNTHETIC_ROOMS", '["demo"]')
    crowd = Role("demo-crowd", ("demo-crowd",))
    return _supervise(Settings(), extra=(crowd,), without=())  # type: ignore[call-arg]


def _supervise(settings: Settings, *, extra: Sequence[Role], without: Sequence[str]) -> int:
    configure_logging(settings.model_copy(update={"log_format": "console"}), "supervisor")
    console = Console(stderr=True)
    started_s = time.monotonic()
    with console.status("starting") as status:

        def ready() -> None:
            status.stop()
            _greet(console, settings, time.monotonic() - started_s)

        supervisor = Supervisor(
            settings, extra=extra, without=without, tell=lambda text: _tell(status, text)
        )
        try:
            asyncio.run(supervisor.run(ready))
        except EngagementError as error:
            status.stop()
            console.print(f"[red]{error.code}[/]: {error.detail}")
            return EXIT_FAILED
        except KeyboardInterrupt:
            pass
    structlog.get_logger().info("stopped", data=str(settings.data_dir))
    return 0


def _tell(status: Status, text: str) -> None:
    status.update(text)


def _greet(console: Console, settings: Settings, took_s: float) -> None:
    console.print(f"[green]ready[/] after {took_s:.1f} s")
    console.print(f"  page      http://{settings.host}:{settings.port}/")
    console.print(f"  API       http://{settings.host}:{settings.port}/docs")
    console.print(f"  Kafka     {settings.bootstrap_servers}")
    console.print(f"  database  {settings.dsn}")
    console.print(f"  data      {settings.data_dir.resolve()} (logs in logs/)")
    console.print("Ctrl-C stops everything and keeps the data.")
