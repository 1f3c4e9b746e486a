"""`python -m tests.sync`: are events on the right frame, on WebRTC, LL-HLS and as a recording?

A real instance, a host who publishes a burned-in clock by WHIP, real Chromium. In the middle the
host publishes anew, then its clock is set by 1.3 s and drifts by 50 ppm.
Exit code 0 when every figure meets its target, 1 when one does not.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from tests.sync.report import failures, markdown, report
from tests.sync.run import run_live, run_replay
from tests.sync.stage import chromium, own_instance, stage


async def sync(arguments: argparse.Namespace) -> int:
    """The events on all three ways."""
    async with (
        own_instance(arguments.first_port) as instance,
        chromium() as browser,
        stage(instance, browser) as room,
    ):
        result = await run_live(room, arguments.events, arguments.per_s, wrong_clocks=True)
        await run_replay(room, result, arguments.seeks)
    lines, missed = report(result), failures(result)
    print("\n".join(lines))
    for miss in missed:
        print(f"MISSED: {miss}")
    if arguments.results is not None:
        text = markdown("Events on the right frame", [("`make sync`", lines)])
        (arguments.results / "sync.md").write_text(text)
    return 1 if missed else 0


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.sync", description=__doc__)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--per-s", type=float, default=4.0, help="events a second, on average")
    parser.add_argument("--seeks", type=int, default=8, help="of the recording")
    parser.add_argument("--first-port", type=int, help="of six; default: free ones")
    parser.add_argument("--results", type=Path, help="directory to write sync.md into")
    return asyncio.run(sync(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
