"""The media process on a real broker: anchors get onto the clock topic, epochs survive kills."""

import os
import signal
import uuid
from collections.abc import AsyncIterator

import pytest

from engagement.domain.events import CLOCK_TOPIC
from engagement.log.topics import partition_of
from engagement.settings import Settings
from tests.media_process import ClockReader, Media, media
from tests.webrtc_clients import Publisher

pytestmark = pytest.mark.engines


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


async def test_a_publisher_by_whip_has_a_clock_on_the_topic(
    engines: Settings, room: str, reader: ClockReader
) -> None:
    with media(engines, [room]) as process:
        await process.ready()
        await reader.kind("clock.anchored")
        publisher, whip = Publisher(), f"/v1/rooms/{room}/whip"

        async def exchange(offer: str) -> str:
            headers = {"content-type": "application/sdp", "x-user": "ana"}
            answer = await process.http.post(whip, content=offer, headers=headers)
            assert answer.status_code == 201, answer.text
            return answer.text

        await publisher.publish(exchange)
        switched = await reader.kind("clock.epoch.closed")
        assert (switched["data"]["engine"], switched["data"]["reason"]) == (
            "synthetic",
            "engine_switch",
        )
        opened = await reader.kind("clock.epoch.opened")
        assert (opened["data"]["engine"], opened["data"]["epoch"]) == ("embedded", 2)
        await publisher.close()
        assert (await reader.kind("clock.epoch.closed"))["data"]["reason"] == "publisher_left"


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
