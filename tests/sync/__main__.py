"""`python -m tests.sync`: are events on the right frame, on WebRTC, LL-HLS and as a recording?

A real instance, a host who publishes a burned-in clock by WHIP, real Chromium. In the middle the
host publishes anew, then its clock is set by 1.3 s and drifts by 50 ppm. `python -m tests.sync
glass` measures how far behind their host viewers are instead.
Exit code 0 when every figure meets its target, 1 when one does not.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from tests.sync import glass, report
from tests.sync.run import run_live, run_replay
from tests.sync.stage import chromium, own_instance, stage

Outcome = tuple[str, list[str], list[str]]
"""A heading, lines of Markdown, and what missed its target."""


async def sync(arguments: argparse.Namespace) -> Outcome:
    """The events on all three ways."""
    async with (
        own_instance(arguments.first_port) as instance,
        chromium() as browser,
        stage(instance, browser) as room,
    ):
        result = await run_live(room, arguments.events, arguments.per_s, wrong_clocks=True)
        await run_replay(room, result, arguments.seeks)
    return "Events on the right frame", report.report(result), report.failures(result)


async def through_glass(arguments: argparse.Namespace) -> Outcome:
    """How far behind their host viewers are."""
    async with (
        own_instance(arguments.first_port) as instance,
        chromium() as browser,
        stage(instance, browser) as room,
    ):
        found = await glass.run_glass(room, arguments.minutes)
    return "Glass to glass", glass.report(found, arguments.minutes), glass.failures(found)


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.sync", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("events", "glass"), default="events")
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--per-s", type=float, default=4.0, help="events a second, on average")
    parser.add_argument("--seeks", type=int, default=8, help="of the recording")
    parser.add_argument("--minutes", type=float, default=10.0, help="of glass")
    parser.add_argument("--first-port", type=int, help="of six; default: free ones")
    parser.add_argument("--results", type=Path, help="directory to write sync.md or glass.md into")
    arguments = parser.parse_args()
    run = through_glass if arguments.what == "glass" else sync
    title, lines, missed = asyncio.run(run(arguments))
    print("\n".join(lines))
    for miss in missed:
        print(f"MISSED: {miss}")
    if arguments.results is not None:
        name = "glass.md" if arguments.what == "glass" else "sync.md"
        (arguments.results / name).write_text(report.markdown(title, lines))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
