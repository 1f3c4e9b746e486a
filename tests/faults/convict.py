"""``python -m tests.faults.convict [mutant …]``: run each mutant, and see that it is found.

Each is a small real run of the whole system with the bug planted (mutants.py). The result is
committed beside the one of the full run.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from .checker import judge_run
from .instance import ROOT
from .mutants import MUTANTS, Mutant
from .run import Options, commit, facts_of_the_machine, run

REQUESTS = 3_000
SECONDS = 16.0
SEED = 20_260_101
FIRST_PORT = 28_300


def try_mutant(name: str, *, first_port: int = FIRST_PORT, seed: int = SEED) -> dict[str, Any]:
    """Run one mutant and judge it: `as_expected`, and what was found."""
    mutant = MUTANTS[name]
    directory = Path(tempfile.mkdtemp(prefix=f"mutant-{name}-"))
    directory.chmod(0o755)
    options = Options(
        requests=REQUESTS - mutant.gifts,
        gifts=mutant.gifts,
        kills=len(mutant.kills),
        pauses=0,
        seconds=SECONDS,
        seed=seed,
        directory=directory,
        first_port=first_port,
        kinds=mutant.kills,
        environment={
            "FAULTS_MUTANT": name,
            "PYTHONPATH": f"{Path(__file__).parent / 'mutant_site'}:{ROOT}",
        },
        patience_s=75.0,
    )
    began = time.monotonic()
    try:
        asyncio.run(run(options, lambda what: None))
        found = judge_run(directory)[0]["anomalies"]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {
        "mutant": name,
        "as_expected": _as_expected(mutant, found),
        "expected": list(mutant.signs),
        "found": found,
        "kills": list(mutant.kills),
        "seconds": round(time.monotonic() - began, 1),
    }


def _as_expected(mutant: Mutant, found: dict[str, int]) -> bool:
    return any(sign in found for sign in mutant.signs) if mutant.signs else not found


def in_words(results: list[dict[str, Any]], machine: dict[str, Any], at: str) -> str:
    """The results as Markdown."""
    bugs = [result for result in results if result["expected"]]
    caught = sum(result["as_expected"] for result in bugs)
    rows = [
        f"| {result['mutant'].replace('_', ' ')} | {', '.join(result['kills']) or 'none'} "
        f"| {_found(result)} | {'yes' if result['as_expected'] else '**NO**'} |"
        for result in results
    ]
    return "\n".join(
        [
            "# Bugs planted in the product, and whether the checker finds them",
            "",
            f"**{caught} of {len(bugs)} found.** Made by `python -m tests.faults.convict` (seed "
            f"{SEED}, commit `{at}`) on {machine['cores']} cores. Each row is a small real run of "
            "the whole system with one bug patched in as its processes start "
            "(`tests/faults/mutants.py`). `only slow` has all the delays of the others and no bug: "
            "nothing may be found there.",
            "",
            "| bug | killed | anomalies | as expected |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _found(result: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in result["found"].items()) or "none"


def main(arguments: list[str]) -> int:
    """0 when every mutant is found and the one without a bug is not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.convict", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="mutant", help=", ".join(MUTANTS))
    parser.add_argument("--results", type=Path, help="write mutants.json and mutants.md here")
    chosen = parser.parse_args(arguments)
    console = Console()
    results = []
    for name in chosen.names or MUTANTS:
        result = try_mutant(name)
        results.append(result)
        colour = "green" if result["as_expected"] else "red"
        console.print(f"[{colour}]{name}[/] {result['seconds']} s: {_found(result)}")
    if chosen.results:
        at, machine = commit(), facts_of_the_machine()
        found = {"commit": at, "machine": machine, "seed": SEED, "mutants": results}
        pretty = msgspec.json.format(msgspec.json.encode(found), indent=2)
        (chosen.results / "mutants.json").write_bytes(pretty + b"\n")
        (chosen.results / "mutants.md").write_text(in_words(results, machine, at))
    return 0 if all(result["as_expected"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
