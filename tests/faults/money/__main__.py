"""``python -m tests.faults.money``: gifts and battles under fire, and the verdict."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.faults.instance import ROOT

from .judge import judge, load
from .run import Options, Outcome, run

GIFTS_PER_S = 600
"""Pace of the load: with everything on two cores it leaves the machine busy, not drowned."""
SECONDS_MIN = 30


def parse(arguments: list[str]) -> tuple[Options, argparse.Namespace]:
    """Options from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.money", description=__doc__)
    parser.add_argument("--gifts", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=24, help="SIGKILLs, each kind in turn")
    parser.add_argument("--pauses", type=int, default=2, help="SIGSTOP … SIGCONT; one is long")
    parser.add_argument("--seconds", type=float, default=0, help="0: as many as are needed")
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument("--port", type=int, default=28_150, help="first of 50 ports")
    parser.add_argument("--keep", type=Path, help="keep the run's files in this directory")
    parser.add_argument("--results", type=Path, help="write the result to this JSON file")
    chosen = parser.parse_args(arguments)
    directory = chosen.keep or Path(tempfile.mkdtemp(prefix="money-"))
    # PostgreSQL runs as another user where this runs as root, and has to get in.
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    options = Options(
        gifts=chosen.gifts,
        kills=chosen.kills,
        pauses=chosen.pauses,
        seconds=chosen.seconds or max(SECONDS_MIN, chosen.gifts / GIFTS_PER_S),
        seed=chosen.seed or random.SystemRandom().randrange(1, 1 << 31),
        directory=directory,
        first_port=chosen.port,
    )
    return options, chosen


def is_good(outcome: Outcome, verdict: dict[str, Any]) -> bool:
    """Nothing is wrong, and the product's own proofs agree."""
    return bool(
        verdict["ok"]
        and not any(outcome.verified.values())
        and not outcome.server_errors
        and not outcome.never_came_back
    )


def show(console: Console, outcome: Outcome, verdict: dict[str, Any]) -> None:
    """Print the verdict."""
    table = Table("evidence", "count", title="What was looked at")
    for name, count in verdict["looked_at"].items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    console.print(table)
    for name, count in verdict["anomalies"].items():
        console.print(f"[red]{name}[/]: {count}")
        for example in verdict["examples"][name]:
            console.print(f"   {example}", markup=False, highlight=False)
    console.print(f"faults: {outcome.faults}")
    console.print(f"verify: {outcome.verified}, seconds: {outcome.seconds}")
    for what in (*outcome.server_errors[:5], *outcome.never_came_back):
        console.print(f"[red]{what}[/]")


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
    verdict = judge(load(options.directory))
    show(console, outcome, verdict)
    good = is_good(outcome, verdict)
    console.print("[green]no anomaly[/]" if good else "[red]ANOMALIES[/]")
    if chosen.results:
        result = {"ok": good, "outcome": outcome, "verdict": verdict}
        chosen.results.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    if good and not chosen.keep:
        shutil.rmtree(options.directory, ignore_errors=True)
    elif not good:
        console.print(f"judge again: python -m tests.faults.money.judge {options.directory}")
    return 0 if good else 1


if __name__ == "__main__":
    if Path.cwd() != ROOT:
        sys.exit(f"run this in {ROOT}")
    sys.exit(main(sys.argv[1:]))
