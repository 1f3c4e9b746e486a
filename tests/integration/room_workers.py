"""Worker processes as the supervisor runs them, and a gateway that needs no HTTP."""

import asyncio
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC, RawFact
from engagement.log.codec import PoisonError, decode_raw, encode_envelope
from engagement.log.topics import REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.processors.fact_headers import order_of, writer_of
from engagement.settings import Settings
from tests.conftest import process_environment
from tests.integration.log_reader import LogReader

_RUN = (
    "from engagement.processors.main import run\n"
    "from engagement.settings import Settings\n"
    "run(Settings())"
)


class Workers:
    """Worker processes by ordinal."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        environment = process_environment(self._settings, ENGAGEMENT_WORKER_ID=str(number))
        argv = [sys.executable, "-c", _RUN]
        self.processes[number] = subprocess.Popen(argv, env=environment)

    def kill(self, number: int) -> None:
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def signal(self, number: int, what: signal.Signals) -> None:
        self.processes[number].send_signal(what)

    def stop(self, number: int, timeout_s: float = 30) -> int:
        """SIGTERM; the exit code."""
        process = self.processes.pop(number)
        process.terminate()
        return process.wait(timeout_s)

    def stop_all(self) -> None:
        for number in list(self.processes):
            self.processes[number].send_signal(signal.SIGCONT)
            self.kill(number)


class Stage:
    """A gateway's log writer and the facts that come back, from the beginning of the test on."""

    def __init__(self, settings: Settings, workers: Workers) -> None:
        self.settings, self.workers = settings, workers
        self._seen = 0
        self._facts: dict[str, list[tuple[Any, RawFact]]] = {}
        self._ids: set[str] = set()

    async def __aenter__(self) -> "Stage":
        self._writer = LogWriter(self.settings.bootstrap_servers, client_id="test")
        await self._writer.start()
        topics = (ROOM_TOPIC, ACTIVITY_TOPIC)
        self._reader = LogReader(self.settings, topics, self.settings.partitions)
        await (await self._reader.__aenter__()).from_the_end()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__()
        await self._writer.stop()

    def send(self, *things: Accepted, gateway: str = "test-gateway") -> None:
        """One envelope per partition."""
        by_partition: dict[int, list[Accepted]] = {}
        for each in things:
            number = partition_of(each.room, self.settings.partitions)
            by_partition.setdefault(number, []).append(each)
        for number, requests in by_partition.items():
            self.put(number, encode_envelope(Envelope(gateway, requests)))

    def put(self, partition: int, value: bytes | None, key: bytes | None = b"gw") -> None:
        """Any record of the requests topic."""
        self._writer.append(REQUESTS_TOPIC, partition, key, value)

    def put_fact(self, topic: str, partition: int, value: bytes) -> None:
        """Any record of a fact topic, as somebody else writes it."""
        self._writer.append(topic, partition, b"somebody", value)

    async def sent(self) -> None:
        """Everything sent is on the log."""
        for number in range(self.settings.partitions):
            await self._writer.acknowledged(REQUESTS_TOPIC, number)

    def facts(self, rooms: Iterable[str], topic: str | None = None) -> list[RawFact]:
        """Facts of these rooms so far, in the order of decision, repeats included."""
        return [fact for _, fact in self.placed(rooms, topic)]

    def placed(self, rooms: Iterable[str], topic: str | None = None) -> list[tuple[Any, RawFact]]:
        """Records and their facts."""
        self._decode()
        found = [
            each
            for room in rooms
            for each in self._facts.get(room, ())
            if topic in (None, each[0].topic)
        ]
        return sorted(found, key=lambda each: order_of(each[0].headers))

    def _decode(self) -> None:
        records, self._seen = self._reader.records[self._seen :], len(self._reader.records)
        for record in records:
            try:
                fact = decode_raw(record.value)
            except PoisonError:
                continue  # The garbage of other tests.
            self._ids.add(fact.id)
            self._facts.setdefault(fact.roomid, []).append((record, fact))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Read facts until this holds."""
        await self._reader.until(lambda _: holds())

    async def until_facts(self, ids: Iterable[str]) -> None:
        """Read until facts with all these ids are there."""
        missing = set(ids)

        def found() -> bool:
            self._decode()
            missing.difference_update(self._ids)
            return not missing

        await self.until(found)

    def worker_of(self, room: str) -> str:
        """The ordinal of the worker that wrote the newest fact of this room."""
        self._decode()
        record, _ = self._facts[room][-1]
        return writer_of(record.headers).decode().partition("-")[0]


def rooms_in_every_partition(settings: Settings) -> list[str]:
    """One room in each partition."""
    found: dict[int, str] = {}
    while len(found) < settings.partitions:
        room = f"room-{uuid.uuid4().hex[:12]}"
        found.setdefault(partition_of(room, settings.partitions), room)
    return [found[number] for number in sorted(found)]


def now_us() -> int:
    return time.time_ns() // 1000


async def gone(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that ends by itself."""
    return await asyncio.to_thread(process.wait, 60)
