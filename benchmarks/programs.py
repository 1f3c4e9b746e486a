"""The two Go programs beside this file: building them, and running the load."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

HERE = Path(__file__).parent
BINARIES = HERE / "results" / "bin"
RUN_S_MAX = 300.0


class Spread(Struct):
    """A distribution, ms."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class Measured(Struct):
    """What `viewers` prints (benchmarks/viewers/measure.go)."""

    events: int
    acknowledged: int
    refused: int
    delivered: int
    missing: int
    repeated: int
    strayed: int
    out_of_order: int
    frames: int
    bytes: int
    skipped_frames: int
    sockets_closed: int
    due_to_ack: Spread
    ack_to_frame: Spread
    due_to_frame: Spread
    post_seconds: float
    window_seconds: float
    window_delivered: int
    window_cpu_seconds: dict[str, float] | None = None

    @property
    def complete(self) -> bool:
        """Every acknowledged event reached every viewer once and in order."""
        return not (self.missing or self.repeated or self.strayed or self.out_of_order)

    def cpu_per_million(self, name: str) -> float:
        """CPU seconds that this process group spent per million delivered events."""
        spent = (self.window_cpu_seconds or {})[name]
        return spent / max(self.window_delivered, 1) * 1e6


class NoGoError(Exception):
    """There is no Go toolchain here."""


def build(name: str) -> Path:
    """Build the program in `benchmarks/<name>`; NoGoError without a Go toolchain."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise NoGoError("needs Go 1.24 or newer on the PATH (https://go.dev/dl/)")
    BINARIES.mkdir(parents=True, exist_ok=True)
    target = BINARIES / name
    done = subprocess.run(
        [go, "build", "-o", str(target), "."], cwd=HERE / name, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"go build {name}: {done.stderr}")
    return target


async def viewers(**options: Any) -> Measured:
    """Run the load with these flags (underscores for hyphens)."""
    arguments = [f"-{name.replace('_', '-')}={value}" for name, value in options.items()]
    process = await asyncio.create_subprocess_exec(
        str(build("viewers")),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_S_MAX):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"viewers: {err.decode()[-2000:]}")
    return msgspec.json.decode(out, type=Measured)
