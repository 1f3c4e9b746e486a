"""`python -m tests.simulation --seeds 300`, `--seed 17` for one world alone, or `--mutants`: every
planted bug, and the first world that shows it."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

HASH_SEED = "0"
"""Sets of strings are walked in the order of their hashes: one seed must mean one world."""


@dataclass(frozen=True)
class _Task:
    seed: int
    mutant: str = ""


def main() -> int:
    """Run worlds; 1 when any of them is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="so many worlds")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one")
    parser.add_argument("--seed", type=int, help="one world alone, with all that is wrong in it")
    parser.add_argument("--mutant", default="", help="with this bug planted")
    parser.add_argument("--mutants", action="store_true", help="all bugs, one after the other")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execv(sys.executable, command)
    if options.seed is not None:
        return _one(_Task(options.seed, options.mutant))
    return _convict(options.workers) if options.mutants else _many(options)


def _one(task: _Task) -> int:
    verdict = _run(task)
    print(f"seed {verdict.seed}: {verdict.counts}, digest {verdict.digest}")
    for anomaly in verdict.anomalies:
        print(f"  {anomaly}")
    return 1 if verdict.anomalies else 0


def _many(options: argparse.Namespace) -> int:
    began_s = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    tasks = [_Task(seed, options.mutant) for seed in seeds]
    totals: dict[str, int] = {}
    with ProcessPoolExecutor(options.workers) as pool:
        for verdict in pool.map(_run, tasks, chunksize=4):
            for name, count in verdict.counts.items():
                totals[name] = totals.get(name, 0) + count
            if verdict.anomalies:
                mutant = f" --mutant {options.mutant}" if options.mutant else ""
                print(f"seed {verdict.seed} has {len(verdict.anomalies)} anomalies:")
                print(f"  {verdict.anomalies[0]}")
                print(f"replay it: python -m tests.simulation --seed {verdict.seed}{mutant}")
                pool.shutdown(cancel_futures=True)
                return 1
    print(f"{len(tasks)} worlds, {totals}, no anomaly, {time.monotonic() - began_s:.0f} s")
    return 0


def _convict(workers: int) -> int:
    from tests.simulation.mutants import MUTANTS

    escaped = 0
    # A process each: what is planted stays planted.
    with get_context("fork").Pool(workers, maxtasksperchild=1) as pool:
        for name, seed, anomaly in pool.imap(_first_sign, sorted(MUTANTS), chunksize=1):
            escaped += seed is None
            print(f"{name}: " + ("ESCAPED" if seed is None else f"seed {seed}, {anomaly[:120]}"))
    print(f"{len(MUTANTS)} bugs planted, {escaped} escaped")
    return 1 if escaped else 0


def _first_sign(name: str) -> tuple[str, int | None, str]:
    from tests.simulation.mutants import WORLDS

    for seed in range(WORLDS):
        verdict = _run(_Task(seed, name if seed == 0 else ""))
        if verdict.anomalies:
            return name, seed, verdict.anomalies[0]
    return name, None, ""


def _run(task: _Task):  # type: ignore[no-untyped-def]
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    from tests.simulation.world import run

    if task.mutant:
        from tests.simulation.mutants import plant

        plant(task.mutant)
    return run(task.seed)


if __name__ == "__main__":
    sys.exit(main())
