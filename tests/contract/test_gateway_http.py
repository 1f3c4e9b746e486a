"""The HTTP calls of the outside contract, against a real gateway and its real engines."""

import asyncio
import contextlib
import gzip
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jwt
import pytest
import websockets

from engagement.domain import limits
from engagement.errors import CLOSE_CODES
from engagement.settings import Settings
from tests.gateway_process import GatewayProcess, Process, Worker, comment, request
from tests.waiting import until

SECRET = "a secret of more than thirty-two bytes"


@pytest.fixture(scope="module")
def worker(engines: Settings) -> Iterator[Worker]:
    process = Worker(engines)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
async def gateway(engines: Settings, worker: Worker) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(engines, ENGAGEMENT_ALLOWED_ORIGINS='["https://live.example"]')
    process.start()
    yield await process.ready()
    _, log = process.stop()
    assert "Traceback" not in log, log


def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this problem, told as RFC 9457 says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    return problem


async def put(
    gateway: GatewayProcess, room: str, body: Any, user: str | None = "ana", role: str = "viewer"
) -> httpx.Response:
    headers = {"X-Role": role, **({"X-User": user} if user else {})}
    content = body if isinstance(body, bytes) else json.dumps(body)
    return await gateway.http.put(f"/v1/rooms/{room}", content=content, headers=headers)


async def test_a_room_is_open_as_soon_as_it_is_said_to_be(
    gateway: GatewayProcess, room: str
) -> None:
    answer = await put(gateway, room, {"title": "Cooking", "host": "ana"})
    assert answer.status_code == 201
    told = answer.json()
    assert {**told, "cursor": ""} == {
        "room": room,
        "title": "Cooking",
        "host": "ana",
        "status": "open",
        "online": 0,
        "likes": 0,
        "battle": None,
        "media": None,
        "cursor": "",
    }
    assert (await gateway.post(room, comment())).status_code == 202
    assert (await put(gateway, room, {"title": "Cooking", "host": "ana"})).status_code == 200
    assert (await gateway.http.get(f"/v1/rooms/{room}")).json()["host"] == "ana"


async def test_a_room_has_one_host(gateway: GatewayProcess, room: str) -> None:
    await gateway.open_room(room)
    is_problem(await put(gateway, room, {"title": "Mine"}, "ben"), 409, "room_taken")
    is_problem(await put(gateway, room, {"title": "x", "host": "ana"}, "ben"), 403, "forbidden")
    assert (await gateway.http.delete(f"/v1/rooms/{room}")).status_code == 401
    answer = await gateway.http.delete(f"/v1/rooms/{room}", headers={"X-User": "ben"})
    is_problem(answer, 403, "forbidden")


async def test_an_admin_opens_and_closes_rooms_for_others(
    gateway: GatewayProcess, room: str
) -> None:
    answer = await put(gateway, room, {"title": "x", "host": "ana"}, "root", "admin")
    assert (answer.status_code, answer.json()["host"]) == (201, "ana")
    headers = {"X-User": "root", "X-Role": "admin"}
    answer = await gateway.http.delete(f"/v1/rooms/{room}", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "closed")


async def test_a_closed_room_takes_nothing_until_it_opens_again(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    for _ in range(2):
        answer = await gateway.http.delete(f"/v1/rooms/{room}", headers={"X-User": "ana"})
        assert answer.status_code == 200
    is_problem(await gateway.post(room, comment()), 409, "room_closed")
    batch = (await gateway.post(room, [comment(), request("room.leave")])).json()["results"]
    assert [each.get("code", each["status"]) for each in batch] == ["room_closed", "accepted"]
    assert (await put(gateway, room, {"title": "Again"})).status_code == 201
    assert (await gateway.post(room, comment())).status_code == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"nope", None),
        (b"[]", None),
        (b'{"title":"a","title":"b"}', None),
        (b'{"title":' + b"[" * 10_000, "$.title"),
        ({"host": "ana"}, "$.title"),
        ({"title": 7}, "$.title"),
        ({"title": "x" * 201}, "$.title"),
        ({"title": "a\x00b"}, "$.title"),
        ({"title": "x", "host": "a b"}, "$.host"),
        ({"title": "x", "colour": "red"}, "$.colour"),
    ],
)
async def test_a_room_that_is_wrongly_described_is_not_opened(
    gateway: GatewayProcess, room: str, body: Any, field: str | None
) -> None:
    problem = is_problem(await put(gateway, room, body), 400, "bad_request")
    assert problem.get("field") == field
    is_problem(await gateway.http.get(f"/v1/rooms/{room}"), 404, "room_not_found")


@pytest.mark.parametrize("name", ["a b", "-x", "x" * 65, "%00", "ünï", "a%0Ab"])
async def test_a_room_cannot_be_called_anything(gateway: GatewayProcess, name: str) -> None:
    problem = is_problem(await put(gateway, name, {"title": "x"}), 400, "bad_request")
    assert problem["field"] == "room"


async def test_each_request_of_a_batch_has_its_result_in_order(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    first = comment()
    batch = [first, comment(""), first, {**first, "type": "like.tap", "data": {}}, 7]
    answer = await gateway.post(room, [*batch, request("gift.send", {"gift": "dragon"})])
    assert answer.status_code == 202
    results = answer.json()["results"]
    assert [each["status"] for each in results] == [
        "accepted", "rejected", "duplicate", "rejected", "rejected", "rejected",
    ]  # fmt: skip
    assert [each.get("code") for each in results] == [
        None, "bad_request", None, "id_reused", "bad_request", "unknown_gift",
    ]  # fmt: skip
    assert results[1]["field"] == "$.data.text"
    assert [each["id"] for each in results[:4]] == [each["id"] for each in batch[:4]]  # type: ignore[index]


async def test_a_single_bad_request_is_a_problem(gateway: GatewayProcess, room: str) -> None:
    await gateway.open_room(room)
    sent = comment()
    assert (await gateway.post(room, sent)).json()["results"][0]["status"] == "accepted"
    assert (await gateway.post(room, sent)).json()["results"][0]["status"] == "duplicate"
    is_problem(await gateway.post(room, {**sent, "data": {"text": "x"}}), 422, "id_reused")
    is_problem(await gateway.post(room, comment(actor="cy")), 403, "foreign_actor")
    is_problem(await gateway.post(room, request("viewer.ban", {"target": "x"})), 403, "forbidden")
    is_problem(await gateway.post(room, request("comment.sing")), 400, "unknown_type")
    is_problem(await gateway.post("no-such-room", sent), 404, "room_not_found")


async def test_the_whole_room_sees_what_was_accepted_and_nothing_else(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room)
    sent = [comment(str(number)) for number in range(40)]
    mixed = [each for good in sent for each in (good, comment(""), good)]
    assert (await gateway.post(room, mixed, "backend", "service")).status_code == 202
    assert [event["id"] for event in await viewer.events(40)] == [each["id"] for each in sent]
    await viewer.leave()


async def test_a_muted_viewer_is_refused_at_once(gateway: GatewayProcess, room: str) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room)
    mute = request("viewer.mute", {"target": "ben", "seconds": 60})
    assert (await gateway.post(room, mute, "ana")).status_code == 202
    await viewer.events(1, "viewer.muted")
    is_problem(await gateway.post(room, comment()), 403, "muted")
    assert (await gateway.post(room, request("viewer.unban", {"target": "ben"}), "ana")).is_success
    await viewer.events(1, "viewer.unbanned")
    assert (await gateway.post(room, comment())).status_code == 202
    await viewer.leave()


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"content-encoding": "gzip"}, gzip.compress(b"{}"), 415, "unsupported_media_type"),
        ({"content-type": "text/xml"}, b"{}", 415, "unsupported_media_type"),
        ({"content-type": "multipart/form-data"}, b"{}", 415, "unsupported_media_type"),
        ({}, b" " * (limits.BODY_BYTES_MAX + 1), 413, "body_too_large"),
        ({}, b"[" + b"1," * 500 + b"1]", 413, "batch_too_large"),
        ({}, b"", 400, "bad_request"),
        ({}, b"[" * 200_000, 400, "bad_request"),
        ({}, b"\x00", 400, "bad_request"),
        ({"X-User": "a b"}, b"{}", 401, "unauthorized"),
        ({"X-Role": "root"}, b"{}", 401, "unauthorized"),
        ({"Authorization": "Bearer nonsense"}, b"{}", 401, "unauthorized"),
        ({"origin": "https://evil.example"}, b"{}", 403, "origin_not_allowed"),
        ({"origin": "null"}, b"{}", 403, "origin_not_allowed"),
    ],
)
async def test_a_bad_body_or_header_is_told_for_what_it_is(
    gateway: GatewayProcess,
    room: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
    code: str,
) -> None:
    await gateway.open_room(room)
    answer = await gateway.http.post(
        f"/v1/rooms/{room}/events", content=body, headers={"X-User": "ben", **headers}
    )
    is_problem(answer, status, code)


async def test_a_body_without_a_declared_length_is_bounded_too(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 16_384

    with contextlib.suppress(httpx.WriteError, httpx.ReadError):
        answer = await gateway.http.post(
            f"/v1/rooms/{room}/events", content=endless(), headers={"X-User": "ben"}
        )
        is_problem(answer, 413, "body_too_large")


async def test_nobody_is_told_to_name_themselves(gateway: GatewayProcess, room: str) -> None:
    answer = await gateway.http.post(f"/v1/rooms/{room}/events", content=b"{}")
    is_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_who_asks_too_often_is_told_when_to_come_back(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    results = (await gateway.post(room, [comment() for _ in range(100)])).json()["results"]
    outcomes = [each.get("code", each["status"]) for each in results]
    assert outcomes == ["accepted"] * 60 + ["rate_limited"] * 40
    # A slow machine earns tokens meanwhile: more come at once than it can have.
    answers = await asyncio.gather(*[gateway.post(room, comment()) for _ in range(70)])
    answer = next(answer for answer in answers if answer.status_code != 202)
    is_problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no/such/page", 404),
        ("PATCH", "/v1/rooms/{room}", 405),
        ("GET", "/v1/rooms/{room}/events", 405),
        ("GET", "/v1/rooms/{room}/live", 426),
        ("GET", "/v1/rooms/no-such-room", 404),
        ("GET", "/v1/rooms/no-such-room/timeline", 404),
        ("GET", "/v1/rooms/{room}/timeline?limit=0", 422),
        ("GET", "/v1/rooms/{room}/timeline?limit=1001", 422),
        ("GET", "/v1/rooms/{room}/timeline?limit=many", 422),
        ("GET", "/v1/rooms/{room}/timeline?from_ms=1e99", 422),
        ("GET", "/v1/rooms/{room}/timeline?from_ms=99999999999999999999", 422),
        ("GET", "/v1/rooms/{room}/timeline?epoch=-1", 422),
        ("GET", "/v1/rooms/{room}/timeline?types=%27%3B--", 400),
        ("GET", "/v1/rooms/{room}/timeline?after=garbage", 400),
        ("GET", "/v1/rooms/{room}/timeline?after=%00", 400),
        ("GET", "/v1/rooms/{room}/comments?before=garbage", 400),
        ("GET", "/v1/rooms/{room}/state", 422),
        ("GET", "/v1/rooms/{room}/state?at_ms=x", 422),
        ("GET", "/v1/rooms/{room}/replay?speed=0", 422),
        ("GET", "/v1/rooms/{room}/replay?speed=nan", 422),
        ("GET", "/v1/rooms/{room}/replay?speed=inf", 422),
        ("GET", "/v1/rooms/{room}/replay?speed=101", 422),
        ("GET", "/v1/rooms/{room}/leaderboard?period=week", 422),
        ("GET", "/v1/rooms/{room}/leaderboard?limit=0", 422),
        ("GET", "/v1/rooms/{room}/battles?limit=0", 422),
        ("GET", "/v1/rooms/no-such-room/battles", 404),
        ("PUT", "/v1/battles/b", 400),
        ("GET", "/v1/battles/b", 404),
        ("POST", "/v1/battles/b/accept", 404),
        ("POST", "/v1/accounts/ana/deposits", 403),
        ("GET", "/v1/accounts/ana", 403),
        ("GET", "/v1/hosts/ana/earnings", 403),
        ("PUT", "/v1/gifts/rose", 403),
    ],
)
async def test_every_error_is_a_problem(
    gateway: GatewayProcess, room: str, method: str, path: str, status: int
) -> None:
    await gateway.open_room(room)
    answer = await gateway.http.request(method, path.format(room=room), headers={"X-User": "ben"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


async def test_lists_answer_items_and_where_to_go_on(gateway: GatewayProcess, room: str) -> None:
    await gateway.open_room(room)
    for path in (
        "comments",
        "leaderboard",
        "leaderboard?period=session&limit=3",
        "leaderboard?period=day",
        "battles",
        "timeline",
        "timeline?types=comment.posted,like.tapped&from_ms=0&to_ms=10&epoch=0",
    ):
        answer = await gateway.http.get(f"/v1/rooms/{room}/{path}")
        assert (answer.status_code, answer.json().keys()) == (200, {"items", "next"}), answer.text
    assert (await gateway.http.get("/v1/gifts")).json().keys() == {"items", "next"}


async def test_head_and_options_are_answered(gateway: GatewayProcess, room: str) -> None:
    await gateway.open_room(room)
    head = await gateway.http.head(f"/v1/rooms/{room}")
    assert (head.status_code, head.content) == (200, b"")
    options = await gateway.http.options(f"/v1/rooms/{room}")
    assert options.status_code == 204
    assert set(options.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"}


async def test_pages_of_allowed_origins_may_read_answers(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    allowed = {"Origin": "https://live.example", "X-User": "ben"}
    url = f"/v1/rooms/{room}/events"
    answer = await gateway.http.post(url, content=json.dumps(comment()), headers=allowed)
    assert answer.headers["access-control-allow-origin"] == "https://live.example"
    preflight = {**allowed, "Access-Control-Request-Method": "POST"}
    answer = await gateway.http.options(url, headers=preflight)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
        200,
        "https://live.example",
    )
    foreign = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await gateway.http.options(url, headers=foreign)
    assert "access-control-allow-origin" not in answer.headers


async def test_probes_and_metrics_answer_and_name_no_room(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    await gateway.comment(room)
    report = request("release.report", {"event": "e", "error_ms": -3.5, "basis": "hls"})
    assert (await gateway.post(room, report)).status_code == 202
    assert (await gateway.http.get("/livez")).status_code == 200
    ready = (await gateway.http.get("/readyz")).json()
    assert (ready["status"], ready["failed"]) == ("ok", [])
    text = (await gateway.http.get("/metrics")).text
    assert 'engagement_gateway_requests_total{outcome="accepted",type="comment.post"}' in text
    assert 'engagement_release_error_ms_count{basis="hls"} 1.0' in text
    assert room not in text


async def test_the_described_routes_are_the_served_ones(gateway: GatewayProcess) -> None:
    described = (await gateway.http.get("/openapi.json")).json()
    events = described["paths"]["/v1/rooms/{room}/events"]["post"]
    assert {"202", "400", "401", "404", "409", "413", "415", "422", "429", "503"} <= set(
        events["responses"]
    )
    assert "CommentPost" in described["components"]["schemas"]


# --- a gateway as it is run for real ------------------------------------------------------------


@pytest.fixture(scope="module")
async def production(engines: Settings, worker: Worker) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(engines, ENGAGEMENT_AUTH="jwt", ENGAGEMENT_JWT_SECRET=SECRET)
    process.start()
    yield await process.ready()
    process.stop()


def token(user: str, role: str = "viewer", ends_in_s: float = 60) -> str:
    now = time.time()
    claims = {"sub": user, "role": role, "aud": "engagement", "iat": now, "exp": now + ends_in_s}
    return jwt.encode(claims, SECRET, "HS256")


def bearer(user: str, role: str = "viewer") -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user, role)}"}


async def test_in_production_a_token_names_the_sender_and_nothing_else_does(
    production: GatewayProcess, room: str
) -> None:
    url = f"/v1/rooms/{room}"
    is_problem(await put(production, room, {"title": "x"}), 401, "unauthorized")
    answer = await production.http.put(url, json={"title": "x"}, headers=bearer("ana", "host"))
    assert answer.status_code == 201
    answer = await production.http.post(
        f"{url}/events", json=comment(), headers={**bearer("ben"), "X-User": "ana"}
    )
    assert answer.status_code == 202
    viewer = await production.watch(room, user=None, subprotocols=["engagement.v1"])
    await viewer.send(t="auth", token="dev:ana:admin")
    assert await viewer.close_code() == CLOSE_CODES["unauthorized"]


@pytest.mark.parametrize("way", ["subprotocol", "bare subprotocol", "header", "first frame"])
async def test_a_socket_takes_its_token_in_each_of_the_ways(
    production: GatewayProcess, room: str, way: str
) -> None:
    headers = bearer("ana", "host")
    await production.http.put(f"/v1/rooms/{room}", json={"title": "x"}, headers=headers)
    options: dict[str, Any] = {"subprotocols": ["engagement.v1"]}
    if way == "subprotocol":
        options["subprotocols"].append("bearer." + token("ben"))
    elif way == "bare subprotocol":
        options["subprotocols"].append(token("ben"))
    elif way == "header":
        options["headers"] = bearer("ben")
    viewer = await production.watch(room, user=None, **options)
    if way == "first frame":
        await viewer.send(t="auth", token=token("ben"))
    assert (await viewer.next())["t"] == "hello"
    await viewer.leave()


async def test_a_socket_ends_with_its_token_unless_it_gets_a_fresh_one(
    production: GatewayProcess, room: str
) -> None:
    headers = bearer("ana", "host")
    await production.http.put(f"/v1/rooms/{room}", json={"title": "x"}, headers=headers)
    short = {"Authorization": f"Bearer {token('ben', ends_in_s=3)}"}
    ends = await production.watch(room, user=None, headers=short)
    stays = await production.watch(room, user=None, headers=short)
    await stays.send(t="auth", token=token("ben"))
    assert await ends.close_code() == CLOSE_CODES["token_expired"]
    await stays.send(t="ping")
    await stays.next("pong")
    await stays.send(t="auth", token=token("cy"))
    assert await stays.close_code() == CLOSE_CODES["unauthorized"]


async def test_a_socket_that_does_not_name_itself_is_closed(
    production: GatewayProcess, room: str
) -> None:
    viewer = await production.watch(room, user=None)
    assert await viewer.close_code() == CLOSE_CODES["auth_timeout"]


@pytest.mark.parametrize(
    "settings",
    [
        {"ENGAGEMENT_AUTH": "jwt", "ENGAGEMENT_JWT_SECRET": "short"},
        {"ENGAGEMENT_AUTH": "jwt"},
        {"ENGAGEMENT_AUTH": "dev", "ENGAGEMENT_HOST": "0.0.0.0"},
    ],
)
async def test_a_gateway_that_would_let_anybody_in_does_not_start(
    engines: Settings, settings: dict[str, str]
) -> None:
    process = Process("engagement.gateway.main", engines, **settings)
    process.start()

    async def ended() -> bool:
        return not process.running

    await until(ended)
    code, log = process.stop()
    assert (code, "gateway.configuration" in log) == (78, True), log


async def test_a_gateway_without_a_broker_lives_is_not_ready_and_says_so(
    engines: Settings, room: str
) -> None:
    process = GatewayProcess(engines, ENGAGEMENT_KAFKA="127.0.0.1:9")
    process.start()

    async def alive() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await process.http.get("/livez")).is_success
        return False

    await until(alive)
    assert (await process.http.get("/readyz")).json()["failed"] == ["tail"]
    answer = await process.post(room, comment())
    is_problem(answer, 503, "starting")
    assert "retry-after" in answer.headers
    with pytest.raises(websockets.InvalidStatus):
        await process.watch(room)
    code, _ = await asyncio.to_thread(process.stop)
    assert code == 0


async def test_requests_that_were_made_at_once_with_one_id_are_one_request(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room)
    sent = {"id": str(uuid.uuid4()), "type": "comment.post", "data": {"text": "once"}}
    answers = await asyncio.gather(*[gateway.post(room, sent) for _ in range(20)])
    statuses = [answer.json()["results"][0]["status"] for answer in answers]
    assert sorted(statuses) == ["accepted"] + ["duplicate"] * 19
    last = await gateway.comment(room, "last", "cy")
    assert [event["id"] for event in await viewer.events(2)] == [sent["id"], last]
    await viewer.leave()
