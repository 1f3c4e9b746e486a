"""A private instance: `engagement up` in its own data directory and ports, seen from outside.

Processes are found as the operating system shows them, not by asking the supervisor: a process
that it has lost sight of is still found here.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import aiohttp
from msgspec import Struct

ROOT = Path(__file__).parents[2]
Kind = Literal["gateway", "worker", "projector", "media", "broker", "database"]
START_S_MAX = 120.0
STOP_S_MAX = 30.0


class Ports(Struct, frozen=True):
    """Every port of an instance."""

    gateway: int
    """Of the first gateway; the second has the next one."""
    media: int
    kafka: int
    database: int


def ports_from(first: int) -> Ports:
    """Ports of an instance that may use [first, first + 50)."""
    return Ports(gateway=first, media=first + 20, kafka=first + 30, database=first + 40)


class Instance:
    """One `engagement up` and all that it started."""

    def __init__(self, directory: Path, ports: Ports, **more: str) -> None:
        self.directory = directory
        self.ports = ports
        self.log = directory / "up.log"
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the instance, and commands that talk to it, are told."""
        return {
            **os.environ,
            "ENGAGEMENT_DATA_DIR": str(self.directory / "data"),
            "ENGAGEMENT_PORT": str(self.ports.gateway),
            "ENGAGEMENT_MEDIA_PORT": str(self.ports.media),
            "ENGAGEMENT_KAFKA_PORT": str(self.ports.kafka),
            "ENGAGEMENT_DATABASE_PORT": str(self.ports.database),
            "ENGAGEMENT_AUTH": "dev",
            **self._more,
        }

    def gateways(self, count: int) -> list[str]:
        """host:port of each gateway."""
        return [f"127.0.0.1:{self.ports.gateway + number}" for number in range(count)]

    @property
    def bootstrap(self) -> str:
        """Of the broker."""
        return f"127.0.0.1:{self.ports.kafka}"

    @property
    def dsn(self) -> str:
        """Of the database."""
        return f"postgresql://engagement@127.0.0.1:{self.ports.database}/engagement"

    async def start(self, gateways: int) -> None:
        """Start everything and wait until each gateway is ready. TimeoutError when it is not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # Being told to end must run the `finally` that stops the instance.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                [sys.executable, "-m", "engagement", "up"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for address in self.gateways(gateways):
            await self.wait_ready(address)

    async def wait_ready(self, address: str, timeout_s: float = START_S_MAX) -> None:
        """Wait until this gateway says that it is ready."""
        deadline = time.monotonic() + timeout_s
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with session.get(f"http://{address}/readyz") as answer:
                        if answer.status == 200:
                            return
                if self._process is not None and self._process.poll() is not None:
                    last_words = self.log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"`engagement up` ended: {last_words}")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{address} is not ready after {timeout_s} s: {self.log}")
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Stop it as Ctrl-C does, and make sure that nothing is left."""
        if self._process is None:
            return
        left = [pid for pids in self.processes().values() for pid in pids]
        for pid in left:
            _signal(pid, signal.SIGCONT)
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S_MAX)
        self._process.kill()
        self._process.wait()
        for pid in left:
            _signal(pid, signal.SIGKILL)

    def reap(self, timeout_s: float = STOP_S_MAX) -> int:
        """Wait for the supervisor, which somebody has told to end; its exit code."""
        return 0 if self._process is None else self._process.wait(timeout_s)

    def processes(self) -> dict[Kind, list[int]]:
        """Pids of what runs now, by kind, oldest first."""
        found: dict[Kind, list[int]] = {}
        if self._process is None:
            return found
        for pid in sorted(_descendants(self._process.pid)):
            kind = _kind_of(_command(pid))
            if kind is not None:
                found.setdefault(kind, []).append(pid)
        return found

    def logged(self, event: str) -> int:
        """How often processes have logged this."""
        files = (self.directory / "data" / "logs").glob("*.log")
        return sum(path.read_text(errors="replace").count(f'"{event}"') for path in files)

    def gateway_pids(self) -> dict[str, int]:
        """Address → pid of the gateway that listens there."""
        listeners = _listening_inodes()
        found = {}
        for pid in self.processes().get("gateway", ()):
            for inode in _socket_inodes(pid):
                port = listeners.get(inode)
                if port is not None and self.ports.gateway <= port < self.ports.gateway + 10:
                    found[f"127.0.0.1:{port}"] = pid
        return found


def _kind_of(command: list[str]) -> Kind | None:
    line = " ".join(command)
    if "kafka.Kafka" in command:
        return "broker"
    if command and Path(command[0]).name == "postgres" and "-D" in command:
        return "database"
    if "engagement" not in line:
        return None
    commands: dict[str, Kind] = {
        "gateway": "gateway", "worker": "worker", "project": "projector", "media": "media"
    }  # fmt: skip
    for word in command:
        if word in commands:
            return commands[word]
    return None


def _descendants(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, fresh = set(), {root}
    while fresh:
        found |= fresh
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
    return found - {root}


def _command(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return [part.decode(errors="replace") for part in raw.split(b"\0") if part]
    return []


def _listening_inodes() -> dict[str, int]:
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found


def _socket_inodes(pid: int) -> list[str]:
    inodes = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:["):
                    inodes.append(target[8:-1])
    return inodes


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
