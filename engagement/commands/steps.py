"""Progress of something that goes step by step: what is going on now, and how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from engagement.log.kafka_jars import Tell

_BYTES_PER_MB: Final = 1_000_000


@contextmanager
def steps(console: Console) -> Iterator[tuple[Tell, Callable[[], None]]]:
    """A line with a bar on a terminal, a line for each step elsewhere; and how to clear it."""
    if not console.is_terminal:
        told = ""

        def tell_line(what: str, done: int, total: int) -> None:
            nonlocal told
            if what != told:
                told = what
                console.print(what)

        yield tell_line, lambda: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[share]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None, share="")

        def tell_bar(what: str, done: int, total: int) -> None:
            share = f"{done / _BYTES_PER_MB:.0f} of {total / _BYTES_PER_MB:.0f} MB" if total else ""
            bar.start()
            bar.update(task, description=what, completed=done, total=total or None, share=share)

        yield tell_bar, bar.stop
