"""A share of a rebuild in a process of its own: some partitions, from offset 0 to a goal.

Decoding is what a rebuild waits for, and one interpreter decodes on one core. Partitions hold
different rooms, so two processes fill the same tables without meeting. The one that shares out
writes what is to be done to the other's standard input, and reads how far it is from its output.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from engagement.collector import collect_rarely
from engagement.database.connection import BY_KEY, create_engine
from engagement.domain.events import ROOM_TOPIC
from engagement.errors import UnavailableError
from engagement.log.reader import LogReader
from engagement.settings import settings
from projections.rebuild_fold import SCHEMA, Folded, fold_up_to
from projections.registry import named
from projections.room_facts import FactReader

SHARED_RECORDS_MIN: Final = 50_000
"""Fewer are folded before another process has started."""


class _Share(Struct, frozen=True):
    partitions: int
    goal: dict[int, int]
    projections: list[str]


class RebuildShare:
    """Another process that folds a share, with the settings of this one's environment."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(os.environ if environment is None else environment)

    async def fold(
        self,
        goal: Mapping[int, int],
        partitions: int,
        projections: Sequence[str],
        tell: Callable[[int], None],
    ) -> Folded:
        """Fold these partitions from offset 0 up to the goal; `tell` hears of records.

        Raises UnavailableError when the process fails; what it has written is of no use then.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "projections.rebuild_share"),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin and process.stdout and process.stderr  # noqa: S101 - they are pipes
        complaints = asyncio.create_task(process.stderr.read())
        try:
            share = _Share(partitions, dict(goal), list(projections))
            process.stdin.write(msgspec.json.encode(share))
            process.stdin.write_eof()
            folded = Folded(0, 0)
            async for line in process.stdout:
                folded = msgspec.json.decode(line, type=Folded)
                tell(folded.records)
            if await process.wait() == 0:
                return folded
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        said = (await complaints).decode(errors="replace")[-500:]
        raise UnavailableError(f"a share of the rebuild failed: {said}", code="rebuild_failed")


async def _fold(share: _Share) -> None:
    engine = create_engine(settings(), pool_size=1, synchronous_commit="off", **BY_KEY)
    try:
        async with (
            LogReader(settings().bootstrap_servers, ROOM_TOPIC) as reader,
            engine.connect() as plain,
        ):
            connection = await plain.execution_options(schema_translate_map={None: SCHEMA})
            kinds = [kind for name in share.projections for kind in named(name)]
            following = dict.fromkeys(share.goal, 0)
            await reader.partitions()
            await fold_up_to(
                *(connection, reader, kinds, FactReader(share.partitions)),
                following,
                share.goal,
                _say,
            )
    finally:
        await engine.dispose()


def _say(folded: Folded) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(folded) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    import uvloop

    collect_rarely()
    uvloop.run(_fold(msgspec.json.decode(sys.stdin.buffer.read(), type=_Share)))
