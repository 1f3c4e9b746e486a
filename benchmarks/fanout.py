"""CPU per delivered event, against a server on the Go library centrifuge."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median

from benchmarks import bed, programs
from benchmarks.targets import Figure, Report

VIEWERS = 1_000
RATES = (100, 200)
PEER_WATCH, PEER_FEED = "127.0.0.1:28900", "127.0.0.1:28901"
WRITE_DELAY = "25ms"
"""As long as our tick, so that both collect for the same time."""
RATIO_AT_MOST = 0.5

Measure = Callable[[], Awaitable[programs.Measured]]


async def measure(quick: bool) -> Report:
    """Ours and the peer in turn, the same client for both, at each rate."""
    programs.build("viewers")
    repeats, seconds, warmup = (1, 4, 1) if quick else (5, 10, 3)
    figures: list[Figure] = []
    notes = [
        "counted: user and system CPU of the serving process alone. Ours is fed through Kafka and "
        "consumes it; another gateway takes the POSTs. The peer reads a line feed.",
        f"the peer is plain, and once more with the library's WriteDelay of {WRITE_DELAY}",
    ]
    async with bed.running(gateways=2, rooms=1) as instance:
        posting, watching = instance.gateways(2)
        for rate in RATES:
            rounds: dict[str, list[programs.Measured]] = {"ours": [], "plain": [], "delayed": []}
            same = {"rate": rate, "seconds": seconds, "warmup": warmup, "viewers": VIEWERS}
            for _ in range(repeats):
                pid = instance.gateway_pids()[watching]
                rounds["ours"].append(
                    await programs.viewers(
                        watch=watching, post=posting, cpu=f"server={pid}", **same
                    )
                )
                for name, delay in (("plain", "0s"), ("delayed", WRITE_DELAY)):
                    rounds[name].append(await _peer(delay, same))
                await _settled()
            figures += _figures(rate, rounds)
            notes += [_note(rate, name, runs) for name, runs in rounds.items()]
    return Report("fanout", f"Fan-out: CPU to {VIEWERS:,} viewers of one room", figures, notes)


async def _peer(write_delay: str, same: dict[str, int]) -> programs.Measured:
    async with _running_peer(write_delay) as pid:
        return await programs.viewers(
            protocol="centrifuge", watch=PEER_WATCH, feed=PEER_FEED, cpu=f"server={pid}", **same
        )


@contextlib.asynccontextmanager
async def _running_peer(write_delay: str) -> AsyncIterator[int]:
    binary = programs.build("centrifuge_peer")
    process = subprocess.Popen(
        [binary, "-listen", PEER_WATCH, "-feed", PEER_FEED, "-write-delay", write_delay]
    )
    try:
        await _listening(PEER_WATCH)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


async def _listening(address: str) -> None:
    host, _, port = address.partition(":")
    for _ in range(500):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"nobody listens on {address}")


async def _settled() -> None:
    """Let the leaving of a thousand viewers be over before the next round."""
    await asyncio.sleep(1.0)


def _figures(rate: int, rounds: dict[str, list[programs.Measured]]) -> list[Figure]:
    cost = {name: [run.cpu_per_million("server") for run in runs] for name, runs in rounds.items()}

    def ratio(other: str) -> float:
        return median(o / p for o, p in zip(cost["ours"], cost[other], strict=True))

    return [
        Figure(
            f"{rate}/s: ours", median(cost["ours"]), "CPU s/M",
            reference=median(cost["plain"]), reference_is="centrifuge",
        ),
        Figure(f"{rate}/s: ours ÷ centrifuge, median", ratio("plain"), "", RATIO_AT_MOST),
        Figure(
            f"{rate}/s: centrifuge with WriteDelay", median(cost["delayed"]), "CPU s/M",
            reference=median(cost["plain"]), reference_is="centrifuge",
        ),
        Figure(f"{rate}/s: ours ÷ centrifuge with WriteDelay, median", ratio("delayed"), ""),
        Figure(f"{rate}/s: ours, ack → frame p99", _p99(rounds["ours"]), "ms"),
        Figure(f"{rate}/s: centrifuge, feed → frame p99", _p99(rounds["plain"]), "ms"),
    ]  # fmt: skip


def _p99(runs: list[programs.Measured]) -> float:
    return median(run.ack_to_frame.p99_ms for run in runs)


def _note(rate: int, name: str, runs: list[programs.Measured]) -> str:
    costs = ", ".join(f"{run.cpu_per_million('server'):.2f}" for run in runs)
    whole = all(run.complete and not run.sockets_closed for run in runs)
    one = runs[0]
    return (
        f"{rate}/s {name}: {costs} CPU s/M; {one.bytes / max(one.delivered, 1):.0f} bytes and "
        f"{one.frames / max(one.delivered, 1):.2f} frames per event; "
        + ("every event reached every viewer once" if whole else "EVENTS WERE MISSING")
    )
