"""``python -m tests.faults``: the whole fault run, its verdict, and the result to commit."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from . import report
from .checker import judge_run
from .instance import ROOT
from .plan import ROOMS
from .run import Options, run

ASKED_PER_S = 700
"""Pace of the load: with everything on two cores it leaves the machine busy, not drowned."""
SECONDS_MIN = 40.0


class Scenario(Struct, frozen=True):
    """What one kind of run does."""

    says: str
    requests: int
    gifts: int
    kills: int = 0
    pauses: int = 0
    sleeps: int = 0
    rooms: int = ROOMS
    battle_s: int = 0
    seconds: float = 0.0
    """0: as many as the load needs."""


SCENARIOS = {
    "everything": Scenario(
        "everything is killed, 20 times each kind",
        requests=200_000, gifts=50_000, kills=120, pauses=6,
    ),
    "sleepers": Scenario(
        "workers are stopped until others have taken over, and wake up",
        requests=10_000, gifts=20_000, sleeps=20, seconds=200.0,
    ),
    "battles": Scenario(
        "100 battles at once, kills in their last five seconds",
        requests=2_000, gifts=100_000, kills=12, rooms=200, battle_s=100, seconds=105.0,
    ),
    "short": Scenario(
        "what every change is tested with",
        requests=20_000, gifts=5_000, kills=12, pauses=2,
    ),
    "full": Scenario(
        "a million gifts and 500 kills",
        requests=200_000, gifts=1_000_000, kills=500, pauses=20,
    ),
}  # fmt: skip


def parse(arguments: list[str]) -> tuple[Options, argparse.Namespace]:
    """Options from the command line."""
    says = "; ".join(f"{name}: {scenario.says}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("scenario", nargs="?", default="everything", choices=SCENARIOS, help=says)
    parser.add_argument("--requests", type=int, help="other than gifts")
    parser.add_argument("--gifts", type=int, help="0: no money at all")
    parser.add_argument("--kills", type=int, help="SIGKILLs, each kind in turn")
    parser.add_argument("--pauses", type=int, help="SIGSTOP … SIGCONT; one is long")
    parser.add_argument("--sleeps", type=int, help="SIGSTOP of a worker until it is replaced")
    parser.add_argument("--battle-s", type=int, help="all battles at once, so long")
    parser.add_argument("--seconds", type=float, help="0: as many as are needed")
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument("--port", type=int, default=28_100, help="first of 50 ports")
    parser.add_argument("--keep", type=Path, help="keep the run's files in this directory")
    parser.add_argument("--results", type=Path, help="write faults-<scenario>.json and .md here")
    chosen = parser.parse_args(arguments)
    directory = chosen.keep or Path(tempfile.mkdtemp(prefix="faults-"))
    # PostgreSQL runs as another user where this runs as root, and has to get in.
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    scenario = SCENARIOS[chosen.scenario]
    amounts = {
        name: getattr(scenario if getattr(chosen, name, None) is None else chosen, name)
        for name in scenario.__struct_fields__
        if name != "says"
    }
    asked = amounts["requests"] + amounts["gifts"]
    amounts["seconds"] = amounts["seconds"] or max(SECONDS_MIN, asked / ASKED_PER_S)
    options = Options(
        **amounts,
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
    for name in ("faults", "fenced", "server_errors", "never_came_back", "verified", "seconds"):
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
    found["scenario"] = SCENARIOS[chosen.scenario].says
    show(console, found)
    if chosen.results:
        report.write(chosen.results, chosen.scenario, found)
    if found["ok"] and not chosen.keep:
        shutil.rmtree(options.directory, ignore_errors=True)
    elif not found["ok"]:
        console.print(f"judge again: python -m tests.faults.checker {options.directory}")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    if Path.cwd() != ROOT:
        sys.exit(f"run this in {ROOT}")
    sys.exit(main(sys.argv[1:]))
