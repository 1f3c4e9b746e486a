"""POST (in arrays) → committed projections; and how fast projections are rebuilt."""

import asyncio
import sys
import time
from pathlib import Path

import asyncpg
from msgspec import Struct

from benchmarks import bed, programs
from benchmarks.references import COPY_ROWS, copy_rows_per_s
from benchmarks.targets import Figure, Report
from tests.faults.instance import ROOT, Instance

EVENTS, EVENTS_QUICK = 400_000, 60_000
BATCH = 100
CONNECTIONS = 16
"""Clients that each wait for their answer: the load adapts to what the system takes."""
COMMITTED_SQL = (
    "SELECT coalesce(sum(next_offset), 0) FROM projection_positions WHERE topic = 'live.room.v1'"
)
COMMITTED_S_MAX = 300.0
POLL_S = 0.05
EVENTS_PER_S_AT_LEAST = 15_000
REBUILD_PER_S_AT_LEAST = 50_000


class Flood(Struct):
    """One flood, from the first POST to the last commit."""

    posted: programs.Measured
    committed_s: float
    cpu_s: dict[str, float]


async def measure(quick: bool) -> Report:
    """Flood, then rebuild what the flood left."""
    programs.build("viewers")
    events = EVENTS_QUICK if quick else EVENTS
    async with bed.running() as instance:
        await _flood(instance, events // 20)
        found = await _flood(instance, events)
        copied = await copy_rows_per_s(instance.dsn, min(events, 100_000))
        rebuilt, rebuild_s = await _rebuild(instance)
    figures = [
        Figure(
            "POST → committed projections", events / found.committed_s, "ev/s",
            at_least=EVENTS_PER_S_AT_LEAST, reference=copied,
            reference_is=f"plain COPY of {COPY_ROWS:,} such rows",
        ),
        Figure("POST → acknowledged", events / found.posted.post_seconds, "ev/s"),
        Figure(
            "rebuild of all projections", rebuilt / rebuild_s, "ev/s",
            at_least=REBUILD_PER_S_AT_LEAST, reference=copied, reference_is="plain COPY",
        ),
        *(
            Figure(f"CPU of {name}", 1e6 * seconds / events, "µs/ev")
            for name, seconds in sorted(found.cpu_s.items())
        ),
        Figure("CPU of all", 1e6 * sum(found.cpu_s.values()) / events, "µs/ev"),
    ]  # fmt: skip
    notes = [
        f"{events:,} comments in arrays of {BATCH} over 50 rooms, {CONNECTIONS} connections that "
        "wait for their answers; generator, broker, database and all processes on this machine",
        f"acknowledged after {found.posted.post_seconds:.1f} s, all committed after "
        f"{found.committed_s:.1f} s; an array's acknowledgement took "
        f"{found.posted.due_to_ack.count and _answer_ms(found):.1f} ms on average",
        f"rebuild: {rebuilt:,} records in {rebuild_s:.1f} s, the command's own start included",
    ]
    return Report("throughput", "Throughput on this machine, all included", figures, notes)


def _answer_ms(found: Flood) -> float:
    return found.posted.post_seconds * 1000 * CONNECTIONS * BATCH / found.posted.events


async def _flood(instance: Instance, events: int) -> Flood:
    connection = await asyncpg.connect(instance.dsn)
    try:
        had = await connection.fetchval(COMMITTED_SQL)
        before = _cpu(instance)
        began = time.monotonic()
        loading = asyncio.create_task(
            programs.viewers(
                post=instance.gateways(1)[0], watch=instance.gateways(1)[0], viewers=0, rooms=50,
                rate=0, events=events, batch=BATCH, conns=CONNECTIONS,
            )
        )  # fmt: skip
        while await connection.fetchval(COMMITTED_SQL) < had + events:
            if time.monotonic() - began > COMMITTED_S_MAX:
                raise TimeoutError(f"not all of {events} events were committed")
            if loading.done() and loading.exception():
                break
            await asyncio.sleep(POLL_S)
        took = time.monotonic() - began
        posted = await loading
    finally:
        await connection.close()
    if posted.acknowledged != events:
        raise RuntimeError(f"only {posted.acknowledged} of {events} were acknowledged")
    after = _cpu(instance)
    spent = {kind: after[kind] - before.get(kind, 0.0) for kind in after}
    return Flood(posted, took, spent)


async def _rebuild(instance: Instance) -> tuple[int, float]:
    connection = await asyncpg.connect(instance.dsn)
    records = int(await connection.fetchval(COMMITTED_SQL))
    await connection.close()
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engagement", "rebuild",
        cwd=ROOT, env=instance.environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"engagement rebuild: {out.decode()[-2000:]}")
    return records, time.monotonic() - began


def _cpu(instance: Instance) -> dict[str, float]:
    """CPU seconds of all processes by kind; the database with all its backends."""
    spent: dict[str, float] = {}
    for kind, pids in instance.processes().items():
        for pid in pids:
            spent[kind] = spent.get(kind, 0.0) + _cpu_of(pid)
    return spent


def _cpu_of(pid: int) -> float:
    """User and system time, of children that ended as well, s (proc(5): 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # It has ended; its parent counts it from now on.
    own = sum(map(int, fields[11:13])) / 100
    children = Path(f"/proc/{pid}/task/{pid}/children")
    living = children.read_text().split() if children.exists() else []
    return own + sum(_cpu_of(int(child)) for child in living)
