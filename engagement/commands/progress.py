"""Progress of long commands: a bar on a terminal, JSON lines elsewhere."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REPORT_S = 1.0


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that is told (done, total) as often as one likes."""
    if sys.stderr.isatty():
        yield from _bar(what)
    else:
        yield from _lines(what)


def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None, rate=0.0)
        started_s = time.monotonic()

        def tell(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - started_s, 1e-3)
            progress.update(task, completed=done, total=total, rate=rate)

        yield tell


def _lines(what: str) -> Iterator[Callable[[int, int], None]]:
    started_s = told_s = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s < REPORT_S and done < total:
            return
        told_s = now_s
        rate = done / max(now_s - started_s, 1e-3)
        line = {"doing": what, "done": done, "total": total, "per_s": round(rate)}
        sys.stderr.write(json.dumps(line) + "\n")

    yield tell
