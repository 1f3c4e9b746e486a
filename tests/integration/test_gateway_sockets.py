"""Viewers' sockets over real gateways, a real worker and the real broker."""

import asyncio
import contextlib
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import websockets

from engagement.domain import limits
from engagement.errors import CLOSE_CODES
from engagement.settings import Settings
from tests.gateway_process import GatewayProcess, Viewer, Worker, comment, request
from tests.waiting import until


@pytest.fixture(scope="module")
def worker(engines: Settings) -> Iterator[Worker]:
    process = Worker(engines)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
async def gateways(engines: Settings, worker: Worker) -> AsyncIterator[list[GatewayProcess]]:
    pair = [GatewayProcess(engines), GatewayProcess(engines)]
    for gateway in pair:
        gateway.start()
    for gateway in pair:
        await gateway.ready()
    yield pair
    for gateway in pair:
        _, log = gateway.stop()
        assert "Traceback" not in log, log


@pytest.fixture
def gateway(gateways: list[GatewayProcess]) -> GatewayProcess:
    return gateways[0]


@pytest.fixture
def other(gateways: list[GatewayProcess]) -> GatewayProcess:
    return gateways[1]


@pytest.fixture
async def extra(engines: Settings, gateways: list[GatewayProcess]) -> AsyncIterator[GatewayProcess]:
    """A gateway that a test may end."""
    process = GatewayProcess(engines)
    process.start()
    yield await process.ready()
    process.stop(signal.SIGKILL)


async def test_a_comment_reaches_viewers_of_every_gateway_with_the_id_its_sender_made(
    gateway: GatewayProcess, other: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewers = [await gateway.watch(room), await other.watch(room)]
    for viewer in viewers:
        hello = await viewer.next("hello")
        assert hello["recovered"] is False
        assert hello["snapshot"]["status"] == "open"
    comment_id = await gateway.comment(room, "grüße 🎉")
    for viewer in viewers:
        [event] = await viewer.events(1)
        assert (event["id"], event["data"]["text"]) == (comment_id, "grüße 🎉")
        assert event["source"] == f"/rooms/{room}"
        await viewer.leave()


async def test_who_connects_is_counted_and_who_goes_is_not(
    gateway: GatewayProcess, other: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)

    async def online(count: int) -> bool:
        return bool((await other.http.get(f"/v1/rooms/{room}")).json()["online"] == count)

    viewers = [await each.watch(room) for each in (gateway, other, gateway)]
    await until(lambda: online(3), "three viewers")
    await viewers[0].leave()
    await until(lambda: online(2), "two viewers")
    for viewer in viewers[1:]:
        viewer.socket.transport.abort()
    await until(lambda: online(0), "nobody left")


async def test_who_waits_in_a_closed_room_is_counted_when_it_opens_again(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room)
    assert (await viewer.events(1, "viewers.counted"))[-1]["data"]["online"] == 1
    await gateway.http.delete(f"/v1/rooms/{room}", headers={"X-User": "ana"})
    await viewer.events(1, "room.closed")
    late = await gateway.watch(room)
    assert (await late.next("hello"))["snapshot"]["status"] == "closed"
    await gateway.open_room(room)
    await viewer.events(1, "room.opened")
    while viewer.seen("viewers.counted")[-1]["data"]["online"] != 2:
        await viewer.next("events")
    for each in (viewer, late):
        await each.leave()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same gateway", "another gateway"])
async def test_a_viewer_resumes_with_every_missed_event_in_order(
    gateway: GatewayProcess, other: GatewayProcess, room: str, elsewhere: bool
) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room)
    await gateway.comment(room, "seen")
    await viewer.events(1)
    cursor = viewer.frames[-1]["cursor"]
    await viewer.leave()
    missed = [await gateway.comment(room, f"missed {number}") for number in range(30)]
    viewer = await (other if elsewhere else gateway).watch(room, cursor)
    hello = await viewer.next("hello")
    assert hello["recovered"] is True
    assert "snapshot" not in hello
    after = await gateway.comment(room, "live again")
    assert [event["id"] for event in await viewer.events(31)] == [*missed, after]
    await viewer.leave()


async def test_a_long_absence_comes_in_bounded_frames(gateway: GatewayProcess, room: str) -> None:
    cursor = (await gateway.open_room(room))["cursor"]
    missed: list[str] = []
    for _ in range(3):
        batch = [comment("x" * 400) for _ in range(400)]
        assert (await gateway.post(room, batch, "backend", "service")).status_code == 202
        missed += [each["id"] for each in batch]
    await settled(gateway, room, missed[-1])
    viewer = await gateway.watch(room, cursor)
    assert (await viewer.next("hello"))["recovered"] is True
    assert [event["id"] for event in await viewer.events(1200)] == missed
    frames = [frame for frame in viewer.frames if frame["t"] == "events"]
    assert len(frames) > 10
    await viewer.leave()


@pytest.mark.parametrize("cursor", ["garbage", "999-1", "0-99999999999", "-1", "%00", "1" * 500])
async def test_a_cursor_that_is_none_of_ours_gets_a_snapshot(
    gateway: GatewayProcess, room: str, cursor: str
) -> None:
    await gateway.open_room(room)
    comment_id = await gateway.comment(room)
    await settled(gateway, room, comment_id)
    viewer = await gateway.watch(room, cursor)
    hello = await viewer.next("hello")
    assert hello["recovered"] is False
    assert [each["id"] for each in hello["snapshot"]["comments"]] == [comment_id]
    await viewer.leave()


async def test_joining_in_the_middle_of_a_storm_has_no_gap_and_no_repeat(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    posted: list[str] = []
    all_here = asyncio.Event()

    async def storm() -> None:
        while not all_here.is_set():
            batch = [comment() for _ in range(5)]
            await gateway.post(room, batch, "backend", "service")
            posted.extend(each["id"] for each in batch)

    storming = asyncio.create_task(storm())
    viewers: list[Viewer] = []
    for _ in range(30):
        viewers.append(await gateway.watch(room))
        await viewers[-1].next("hello")
    all_here.set()
    await storming
    last = posted[-1]
    for viewer in viewers:
        while not any(event["id"] == last for event in viewer.seen()):
            await viewer.next("events")
        shown = [each["id"] for each in viewer.frames[0]["snapshot"]["comments"]]
        received = [event["id"] for event in viewer.seen()]
        both = shown + received
        assert both == posted[-len(both) :]
        await viewer.leave()


async def test_a_viewer_of_a_gateway_that_was_killed_misses_nothing(
    gateway: GatewayProcess, extra: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewer = await extra.watch(room)
    first = await extra.comment(room, "before")
    await viewer.events(1)
    extra.stop(signal.SIGKILL)
    assert await viewer.close_code() is None
    missed = await gateway.comment(room, "while nobody served you")
    cursor = [frame["cursor"] for frame in viewer.frames if frame["t"] == "events"][-1]
    again = await gateway.watch(room, cursor)
    assert (await again.next("hello"))["recovered"] is True
    events = await again.events(1)
    assert [event["id"] for event in events] == [missed]
    assert first not in {event["id"] for event in events}
    await again.leave()


async def test_a_gateway_that_is_stopped_tells_its_viewers_to_come_back(
    gateway: GatewayProcess, extra: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewer = await extra.watch(room)
    await viewer.next("hello")

    async def online(count: int) -> bool:
        return bool((await gateway.http.get(f"/v1/rooms/{room}")).json()["online"] == count)

    await until(lambda: online(1), "the viewer's arrival")
    extra.send(signal.SIGTERM)
    assert await viewer.close_code() == CLOSE_CODES["restarting"]
    code, log = await asyncio.to_thread(extra.stop)
    assert (code, "Traceback" in log) == (0, False), log
    await until(lambda: online(0), "the viewer's leaving", within_s=5)


async def test_requests_over_a_socket_are_acknowledged_in_order(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room, user="ben")
    await viewer.next("hello")
    good, bad = comment("over the socket"), comment("")
    await viewer.send(t="send", events=[good, bad, good])
    ack = await viewer.next("ack")
    assert [(each["id"], each["status"]) for each in ack["results"]] == [
        (good["id"], "accepted"),
        (bad["id"], "rejected"),
        (good["id"], "duplicate"),
    ]
    assert (await viewer.events(1))[0]["actorid"] == "ben"
    await viewer.send(t="ping", id=7)
    pong = await viewer.next("pong")
    assert (pong["id"], abs(pong["server_ms"] / 1000 - time.time()) < 60) == (7, True)
    await viewer.leave()


async def test_what_the_room_refuses_is_told_to_the_socket_that_asked(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room, user="ben")
    await viewer.next("hello")
    foreign = request("comment.remove", {"target": str(uuid.uuid4())})
    await viewer.send(t="send", events=[foreign])
    assert (await viewer.next("ack"))["results"][0]["status"] == "accepted"
    error = await viewer.next("error")
    assert (error["code"], error["id"]) == ("forbidden", foreign["id"])
    await viewer.leave()


async def test_the_first_frame_may_name_the_viewer(gateway: GatewayProcess, room: str) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room, user=None, subprotocols=["engagement.v1"])
    assert viewer.socket.subprotocol == "engagement.v1"
    await viewer.send(t="auth", token="dev:cy")
    assert (await viewer.next())["t"] == "hello"
    await viewer.leave()


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ('{"t":"auth","token":"nonsense"}', "unauthorized"),
        ('{"t":"auth","token":"dev:not a user"}', "unauthorized"),
        ("garbage", "bad_frame"),
        (b"\x00\x01", "bad_frame"),
        ("x" * (limits.FRAME_BYTES_MAX + 1), "frame_too_large"),
        ("x" * (1024 * 1024), "frame_too_large"),
    ],
)
async def test_a_bad_first_frame_is_told_and_closed(
    gateway: GatewayProcess, room: str, first: Any, reason: str
) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room, user=None)
    with contextlib.suppress(websockets.ConnectionClosed):
        await viewer.socket.send(first)
    assert await viewer.close_code() == CLOSE_CODES[reason]
    assert viewer.frames[0]["code"] == reason


async def test_garbage_is_answered_until_it_is_too_much(gateway: GatewayProcess, room: str) -> None:
    await gateway.open_room(room)
    viewer = await gateway.watch(room)
    await viewer.next("hello")
    with contextlib.suppress(websockets.ConnectionClosed):
        for number in range(limits.CLIENT_ERRORS_MAX + 5):
            await viewer.socket.send(b"\x00" if number % 2 else '{"t":"dance"}')
    assert await viewer.close_code() == CLOSE_CODES["too_many_errors"]
    errors = [frame["code"] for frame in viewer.frames if frame["t"] == "error"]
    assert errors == ["bad_frame"] * limits.CLIENT_ERRORS_MAX


async def test_a_socket_to_no_room_is_told_so(gateway: GatewayProcess) -> None:
    viewer = await gateway.watch("no-such-room")
    assert await viewer.close_code() == CLOSE_CODES["room_not_found"]
    assert viewer.frames == [
        {"t": "error", "code": "room_not_found", "detail": "there is no such room"}
    ]


async def test_a_banned_viewer_is_put_out_and_kept_out(
    gateway: GatewayProcess, other: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    troll, friend = await other.watch(room, user="troll"), await other.watch(room, user="friend")
    await troll.next("hello")
    answer = await gateway.post(room, request("viewer.ban", {"target": "troll"}), "ana")
    assert answer.status_code == 202
    assert await troll.close_code() == CLOSE_CODES["banned"]
    assert await (await other.watch(room, user="troll")).close_code() == CLOSE_CODES["banned"]
    assert (await other.post(room, comment(), "troll")).json()["code"] == "banned"
    await friend.events(1, "viewer.banned")
    await friend.leave()


async def test_a_foreign_page_is_refused_before_anything_is_believed(
    gateway: GatewayProcess, room: str
) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await gateway.watch(room, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    own = await gateway.watch("no-such-room", origin=f"http://{gateway.address}")
    assert await own.close_code() == CLOSE_CODES["room_not_found"]


async def test_a_flood_of_joins_is_sent_away_with_a_time_to_come_back(
    engines: Settings, gateways: list[GatewayProcess], room: str
) -> None:
    busy = GatewayProcess(engines, ENGAGEMENT_SOCKETS_MAX="2")
    busy.start()
    await busy.ready()
    await busy.open_room(room)
    viewers = [await busy.watch(room) for _ in range(2)]
    with pytest.raises(websockets.InvalidStatus) as refused:
        await busy.watch(room)
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) >= 1
    await viewers[0].leave()

    async def let_in() -> Viewer | None:
        with contextlib.suppress(websockets.InvalidStatus):
            return await busy.watch(room)
        return None

    await until(let_in, "a free place")
    busy.stop()


async def settled(gateway: GatewayProcess, room: str, comment_id: str) -> None:
    """Wait until the gateway has read this comment back from the log."""

    async def there() -> bool:
        viewer = await gateway.watch(room)
        hello = await viewer.next("hello")
        await viewer.leave()
        return comment_id in {each["id"] for each in hello["snapshot"]["comments"]}

    await until(there, "the comment")
