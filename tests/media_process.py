"""A media process for tests, and a reader of the clock topic."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.domain.events import CLOCK_TOPIC
from engagement.log.topics import partition_of
from engagement.settings import Settings
from tests.conftest import free_ports, process_environment

WAIT_S = 20.0

_RUN = (
    "import asyncio; from media.main import run; from engagement.settings import Settings; "
    "asyncio.run(run(Settings()))"
)


class Media:
    """A media process of its own, on a port of its own."""

    def __init__(self, engines: Settings, rooms: list[str], **more: str) -> None:
        [self.port] = free_ports(1)
        environment = process_environment(
            engines,
            ENGAGEMENT_MEDIA_PORT=str(self.port),
            ENGAGEMENT_SYNTHETIC_ROOMS=json.dumps(rooms),
            **more,
        )
        self.process = subprocess.Popen([sys.executable, "-c", _RUN], env=environment)
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=5)

    async def ready(self) -> "Media":
        async with asyncio.timeout(WAIT_S):
            while True:
                assert self.process.poll() is None, "media has ended"
                try:
                    if (await self.http.get("/readyz")).status_code == 200:
                        return self
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)

    async def do(self, room: str, do: str, **how: Any) -> Any:
        answer = await self.http.post(f"/v1/rooms/{room}/synthetic", json={"do": do, **how})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@contextmanager
def media(engines: Settings, rooms: list[str], **more: str) -> Iterator[Media]:
    """A media process with synthetic hosts in these rooms; killed at the end if need be."""
    started = Media(engines, rooms, **more)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


class ClockReader:
    """Reads a room's clock events from the topic, from the beginning."""

    def __init__(self, engines: Settings, room: str) -> None:
        self.room = room
        self.seen: list[dict[str, Any]] = []
        self._at = TopicPartition(CLOCK_TOPIC, partition_of(room, engines.partitions))
        self._consumer = AIOKafkaConsumer(bootstrap_servers=engines.bootstrap_servers)

    async def __aenter__(self) -> "ClockReader":
        await self._consumer.start()
        self._consumer.assign([self._at])
        await self._consumer.seek_to_beginning(self._at)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            while True:
                record = await self._consumer.getone()
                if record.key != self.room.encode():
                    continue
                event = json.loads(record.value)
                self.seen.append(event)
                if wanted(event):
                    return event

    async def kind(self, kind: str) -> dict[str, Any]:
        return await self.until(lambda event: event["type"] == kind)
