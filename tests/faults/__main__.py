"""``python -m tests.faults``: the whole fault run, its verdict, and the result to commit."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import report
from .checker import judge_run
from .instance import ROOT
from .run import Options, run

REQUESTS_PER_S = 800
"""Pace of the load: with everything on two cores it leaves the machine busy, not drowned."""
SECONDS_MIN = 40
SHORT = {"requests": 20_000, "gifts": 5_000, "kills": 12, "pauses": 2}
"""What `--short` runs: CI's share."""


def parse(arguments: list[str]) -> tuple[Options, argparse.Namespace]:
    """Options from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--gifts", type=int, default=50_000, help="0: no money at all")
    parser.add_argument("--kills", type=int, default=60, help="SIGKILLs, each kind in turn")
    parser.add_argument("--pauses", type=int, default=6, help="SIGSTOP … SIGCONT; one is long")
    parser.add_argument("--seconds", type=float, default=0, help="0: as many as are needed")
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument("--port", type=int, default=28_100, help="first of 50 ports")
    parser.add_argument(
        "--short", action="store_true", help="20,000 requests, 5,000 gifts, 12 kills"
    )
    parser.add_argument("--keep", type=Path, help="keep the run's files in this directory")
    parser.add_argument("--results", type=Path, help="write faults.json and faults.md here")
    chosen = parser.parse_args(arguments)
    if chosen.short:
        vars(chosen).update(SHORT)
    directory = chosen.keep or Path(tempfile.mkdtemp(prefix="faults-"))
    # PostgreSQL runs as another user where this runs as root, and has to get in.
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    asked = chosen.requests + chosen.gifts
    options = Options(
        requests=chosen.requests,
        gifts=chosen.gifts,
        kills=chosen.kills,
        pauses=chosen.pauses,
        seconds=chosen.seconds or max(SECONDS_MIN, asked / REQUESTS_PER_S),
        seed=chosen.seed or random.SystemRandom().randrange(1, 1 << 31),
        directory=directory,
        first_port=chosen.port,
    )
    return options, chosen


def show(console: Console, found: dict[str, object]) -> None:
    """Print the verdict."""
    verdict = found["verdict"]
    assert isinstance(verdict, dict)
    table = Table("evidence", "count", title="What was looked at")
    for name, count in verdict["looked_at"].items():
        if isinstance(count, int):
            table.add_row(name.replace("_", " "), f"{count:,}")
    console.print(table)
    for name, count in verdict["anomalies"].items():
        console.print(f"[red]{name}[/]: {count}")
        for example in verdict["examples"][name]:
            console.print(f"   {example}", markup=False, highlight=False)
    for name in ("faults", "server_errors", "never_came_back", "verified", "seconds"):
        if found[name]:
            console.print(f"{name.replace('_', ' ')}: {found[name]}")
    console.print("[green]no anomaly[/]" if found["ok"] else "[red]ANOMALIES[/]")


def main(arguments: list[str]) -> int:
    """0 when nothing is wrong."""
    options, chosen = parse(arguments)
    console = Console()
    console.print(f"seed {options.seed}, files in {options.directory}")
    began = time.monotonic()

    def say(what: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {what}")

    outcome = asyncio.run(run(options, say))
    say("judging")
    verdict, evidence = judge_run(options.directory)
    found = report.result(options, outcome, verdict, evidence)
    show(console, found)
    if chosen.results:
        report.write(chosen.results, found)
    if found["ok"] and not chosen.keep:
        shutil.rmtree(options.directory, ignore_errors=True)
    elif not found["ok"]:
        console.print(f"judge again: python -m tests.faults.checker {options.directory}")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    if Path.cwd() != ROOT:
        sys.exit(f"run this in {ROOT}")
    sys.exit(main(sys.argv[1:]))
