"""Progress of long commands: a bar on a terminal, JSON lines elsewhere. Both on stderr."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[int, int], None]

REPORT_S = 1.0
"""One JSON line a second, and one at the end."""


@contextmanager
def counted(what: str) -> Iterator[Tell]:
    """Yields a function that is told (done, total) as often as one likes."""
    if sys.stderr.isatty():
        yield from _bar(what)
    else:
        yield from _lines(what)


def _bar(what: str) -> Iterator[Tell]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]:,.0f}/s"),
        rich.TextColumn("lag {task.fields[lag]:,}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, rate=0.0, lag=0)
        started_s = time.monotonic()

        def tell(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - started_s, 1e-3)
            bar.update(task, completed=done, total=total, rate=rate, lag=max(0, total - done))

        yield tell


def _lines(what: str) -> Iterator[Tell]:
    started_s = told_s = time.monotonic()
    last: tuple[int, int] | None = None

    def write(done: int, total: int, now_s: float) -> None:
        rate = done / max(now_s - started_s, 1e-3)
        lag = max(0, total - done)
        line = {
            "doing": what,
            "done": done,
            "total": total,
            "lag": lag,
            "per_s": round(rate),
            "eta_s": round(lag / rate, 1) if rate else None,
        }
        sys.stderr.write(json.dumps(line) + "\n")

    def tell(done: int, total: int) -> None:
        nonlocal told_s, last
        last = done, total
        now_s = time.monotonic()
        if now_s - told_s >= REPORT_S:
            told_s, last = now_s, None
            write(done, total, now_s)

    yield tell
    if last is not None:
        write(*last, time.monotonic())
