"""The media process on a real broker: anchors get onto the clock topic, epochs survive kills."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.domain.events import CLOCK_TOPIC
from engagement.log.topics import partition_of
from engagement.settings import Settings
from tests.conftest import free_ports, process_environment

pytestmark = pytest.mark.engines
WAIT_S = 20.0

RUN = (
    "import asyncio; from media.main import run; from engagement.settings import Settings; "
    "asyncio.run(run(Settings()))"
)


class Media:
    """A media process of its own, on a port of its own."""

    def __init__(self, engines: Settings, rooms: list[str], **more: str) -> None:
        self.port = free_ports(1)[0]
        environment = process_environment(
            engines,
            ENGAGEMENT_MEDIA_PORT=str(self.port),
            ENGAGEMENT_SYNTHETIC_ROOMS=json.dumps(rooms),
            **more,
        )
        self.process = subprocess.Popen([sys.executable, "-c", RUN], env=environment)
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


@pytest.fixture
async def reader(engines: Settings, room: str) -> AsyncIterator[ClockReader]:
    async with ClockReader(engines, room) as reader:
        yield reader


async def test_a_host_named_in_the_settings_has_a_clock_on_the_topic(
    engines: Settings, room: str, reader: ClockReader
) -> None:
    with media(engines, [room]) as process:
        await process.ready()
        opened = await reader.kind("clock.epoch.opened")
        anchored = await reader.kind("clock.anchored")
        assert opened["specversion"] == "1.0" and opened["roomid"] == room
        assert opened["data"]["engine"] == "synthetic"
        assert opened["data"]["epoch"] == anchored["data"]["epoch"] == 1
        clock = (await process.http.get(f"/v1/rooms/{room}/clock")).json()
        assert [each["id"] for each in clock["anchors"]][:2] == [opened["id"], anchored["id"]]
        assert clock["now"]["epoch"] == 1 and clock["running"]


async def test_commands_reach_the_topic(engines: Settings, room: str, reader: ClockReader) -> None:
    with media(engines, []) as process:
        await process.ready()
        await process.do(room, "start", drift_ppm=50, clock_offset_ms=-3_000)
        await reader.kind("clock.anchored")
        await process.do(room, "step", of="publisher_clock", by_ms=1_300)
        stepped = await reader.kind("clock.stepped")
        assert (stepped["data"]["reason"], stepped["data"]["epoch"]) == ("publisher_clock", 1)
        assert stepped["data"]["offset_ms"] == pytest.approx(3_000 - 1_300 + 20, abs=10)
        await process.do(room, "step", of="media_timeline", by_ms=-1_300)
        assert (await reader.kind("clock.epoch.opened"))["data"]["reason"] == "media_step"
        await process.do(room, "republish")
        assert (await reader.kind("clock.epoch.opened"))["data"]["epoch"] == 3
        await process.do(room, "stall", for_ms=600)
        assert (await reader.kind("clock.stepped"))["data"]["reason"] == "stalled"
        answer = await process.do(room, "stop")
        assert not answer["running"] and answer["anchors"][-1]["ended"]
        assert (await reader.kind("clock.epoch.closed"))["data"]["reason"] == "publisher_left"


async def test_a_killed_process_never_reuses_an_epoch(
    engines: Settings, room: str, reader: ClockReader
) -> None:
    with media(engines, [room]) as process:
        await process.ready()
        await reader.kind("clock.anchored")
        process.end(signal.SIGKILL)
    with media(engines, [room]) as process:
        await process.ready()
        opened = await reader.kind("clock.epoch.opened")
        assert opened["data"]["epoch"] == 2
        assert "clock.epoch.closed" not in [event["type"] for event in reader.seen]


async def test_a_terminated_process_closes_its_epochs(
    engines: Settings, room: str, reader: ClockReader
) -> None:
    with media(engines, [room]) as process:
        await process.ready()
        await reader.kind("clock.epoch.opened")
        assert process.end(signal.SIGTERM) == 0
        closed = await reader.kind("clock.epoch.closed")
        assert closed["data"]["reason"] == "engine_stopped"


async def test_garbage_on_the_clock_topic_stops_nobody(
    engines: Settings, room: str, reader: ClockReader
) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=engines.bootstrap_servers)
    await producer.start()
    partition = partition_of(room, engines.partitions)
    for value in (b"\xff\x00", b"{}", b'{"type":"clock.anchored","data":{}}', None):
        await producer.send_and_wait(CLOCK_TOPIC, value, room.encode(), partition)
    await producer.stop()
    with media(engines, [room]) as process:
        await process.ready()
        clock = (await process.http.get(f"/v1/rooms/{room}/clock")).json()
        assert clock["now"]["epoch"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/rooms/{room}/synthetic", b"{", 400, "bad_request"),
        ("POST", "/v1/rooms/{room}/synthetic", b'{"do":"dance"}', 400, "bad_request"),
        ("POST", "/v1/rooms/{room}/synthetic", b'{"do":"start","fps":NaN}', 400, "bad_request"),
        ("POST", "/v1/rooms/{room}/synthetic", b'{"do":"stop","x":1}', 400, "bad_request"),
        ("POST", "/v1/rooms/{room}/synthetic", b'{"do":"stop"}', 404, "stream_not_found"),
        ("POST", "/v1/rooms/{room}/synthetic", b" " * 5_000, 413, "too_large"),
        ("POST", "/v1/rooms/-bad-/synthetic", b'{"do":"start"}', 400, "bad_request"),
        ("GET", "/v1/rooms/{room}/clock", None, 404, "clock_not_found"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("PUT", "/v1/rooms/{room}/clock", None, 405, "method_not_allowed"),
    ],
)
async def test_bad_requests_get_problems(
    served: Media, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    url = path.format(room=f"room-{uuid.uuid4().hex[:8]}")
    headers = {"content-type": "application/json"}
    answer = await served.http.request(method, url, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture(scope="module")
async def served(engines: Settings) -> AsyncIterator[Media]:
    with media(engines, []) as process:
        yield await process.ready()


async def test_pages_of_other_origins_command_nobody(served: Media, room: str) -> None:
    answer = await served.http.post(
        f"/v1/rooms/{room}/synthetic",
        json={"do": "start"},
        headers={"origin": "https://elsewhere.example"},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


async def test_a_second_start_is_refused(served: Media, room: str) -> None:
    await served.do(room, "start")
    answer = await served.http.post(f"/v1/rooms/{room}/synthetic", json={"do": "start"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_publishing")
    await served.do(room, "stop")
    answer = await served.http.post(f"/v1/rooms/{room}/synthetic", json={"do": "republish"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_publishing")


async def test_probes_and_metrics(served: Media, room: str) -> None:
    await served.do(room, "start")
    assert (await served.http.get("/livez")).json() == {"status": "ok"}
    text = (await served.http.get("/metrics")).text
    assert 'engagement_media_epochs_total{reason="started"}' in text
    assert 'engagement_media_streams{engine="synthetic"}' in text
    assert "/v1/rooms/{room}/synthetic" in (await served.http.get("/openapi.json")).json()["paths"]


async def test_with_tokens_only_services_and_admins_command(engines: Settings, room: str) -> None:
    import jwt

    secret = os.urandom(32).hex()

    def token(role: str) -> dict[str, str]:
        claims = {"sub": "somebody", "role": role, "aud": "engagement", "iat": 1, "exp": 2**33}
        return {"authorization": f"Bearer {jwt.encode(claims, secret, 'HS256')}"}

    with media(engines, [], ENGAGEMENT_AUTH="jwt", ENGAGEMENT_JWT_SECRET=secret) as process:
        await process.ready()
        statuses = [
            (
                await process.http.post(f"/v1/rooms/{room}/synthetic", json=body, headers=headers)
            ).status_code
            for body, headers in (
                ({"do": "start"}, {}),
                ({"do": "start"}, {"authorization": "Bearer nonsense"}),
                ({"do": "start"}, {"x-user": "me", "x-role": "admin"}),
                ({"do": "start"}, token("viewer")),
                ({"do": "start"}, token("service")),
                ({"do": "stop"}, token("admin")),
            )
        ]
        assert statuses == [401, 401, 401, 403, 200, 200]
