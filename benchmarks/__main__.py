"""``python -m benchmarks [latency] [throughput] [fanout] [gifts] [--quick]``: tables of figures."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import fanout, gifts, latency, throughput
from benchmarks.programs import NoGoError
from benchmarks.targets import Measurement, Report, measured, record, save, show

BENCHMARKS: dict[str, Callable[[bool], Coroutine[Any, Any, Report]]] = {
    "latency": latency.measure,
    "throughput": throughput.measure,
    "fanout": fanout.measure,
    "gifts": gifts.measure,
}


def main(arguments: list[str]) -> int:
    """0 when every target that was measured is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="short: to see that it works")
    parser.add_argument("--results", type=Path, help="record them in benchmarks.md here")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    console = Console(width=150)
    missed: list[str] = []
    measurements: list[Measurement] = []
    for name in chosen.names or BENCHMARKS:
        console.rule(name)
        try:
            report = asyncio.run(BENCHMARKS[name](chosen.quick))
        except NoGoError as reason:
            console.print(f"[yellow]skipped: {reason}[/]")
            continue
        show(console, report)
        measurements.append(measured(report, quick=chosen.quick))
        console.print(f"  {save(measurements[-1]).relative_to(Path.cwd())}")
        missed += [figure.what for figure in report.figures if figure.met is False]
    if chosen.results:
        record(chosen.results, measurements)
    for what in missed:
        console.print(f"[red]target missed:[/] {what}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
