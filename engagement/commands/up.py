"""`engagement up` and `engagement demo`: everything on one machine."""

import asyncio
import os
import time
from collections.abc import Sequence

import structlog
from rich.console import Console

from engagement.commands.steps import steps
from engagement.errors import EngagementError
from engagement.observability import configure_logging
from engagement.settings import Settings
from engagement.supervisor import Role, Supervisor

EXIT_FAILED = 1


def up(settings: Settings, *, without: Sequence[str] = (), verbose: bool = False) -> int:
    """Run until Ctrl-C; returns the exit code."""
    return _supervise(settings, without=without, verbose=verbose)


def demo(settings: Settings, *, verbose: bool = False) -> int:
    """`up` in dev auth, with two live rooms, a crowd in each, and battles between them."""
    # The processes of the demo read their settings from the environment too.
    os.environ["ENGAGEMENT_AUTH"] = "dev"
    extra = [Role("demo-crowd", "demo-crowd")]
    if settings.demo_video:
        extra.append(Role("publisher", "demo-video"))
    else:
        os.environ.setdefault("ENGAGEMENT_SYNTHETIC_ROOMS", '["demo", "rival"]')
    dev = settings.model_copy(update={"auth": "dev"})
    return _supervise(dev, extra=extra, verbose=verbose)


def _supervise(
    settings: Settings, *, extra: Sequence[Role] = (), without: Sequence[str] = (), verbose: bool
) -> int:
    configure_logging(settings.model_copy(update={"log_format": "console"}), "supervisor")
    console = Console(stderr=True, highlight=False)
    started_s = time.monotonic()
    with steps(console) as (tell, clear):

        def ready() -> None:
            clear()
            _greet(console, settings, time.monotonic() - started_s)

        supervisor = Supervisor(
            settings,
            extra=extra,
            without=without,
            tell=tell,
            show=lambda line: console.print(line, markup=False, soft_wrap=True),
            verbose=verbose,
        )
        try:
            asyncio.run(supervisor.run(ready))
        except EngagementError as error:
            clear()
            console.print(f"{error.code}: {error.detail}", markup=False, soft_wrap=True)
            return EXIT_FAILED
    structlog.get_logger().info("stopped", data=str(settings.data_dir.resolve()))
    return 0


def _greet(console: Console, settings: Settings, took_s: float) -> None:
    console.print(f"[green]ready[/] after {took_s:.1f} s")
    console.print(f"  page      http://{settings.host}:{settings.port}/")
    console.print(f"  API       http://{settings.host}:{settings.port}/docs")
    console.print(f"  Kafka     {settings.bootstrap_servers}")
    console.print(f"  database  {_without_password(settings.dsn)}")
    console.print(f"  data      {settings.data_dir.resolve()} (logs in logs/)")
    console.print("Ctrl-C stops everything and keeps the data.")


def _without_password(dsn: str) -> str:
    """For screens: postgresql://user:secret@host/name without the secret."""
    scheme, at, place = dsn.rpartition("@")
    user = scheme.split("://", 1)
    if not at or ":" not in user[-1]:
        return dsn
    return f"{user[0]}://{user[-1].split(':', 1)[0]}:…@{place}"
