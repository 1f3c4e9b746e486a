"""WHIP and WHEP over HTTP, with real sessions behind: rights, bodies, pages, bounds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from engagement import tokens
from engagement.settings import Settings
from media.engine import ClockMoved
from media.engines import Engines
from media.http import Serving, create_app
from media.webrtc import bounds
from tests.webrtc_clients import Publisher, Viewer

WAIT_S = 10.0
SDP = {"content-type": "application/sdp"}
SECRET = "0123456789abcdef0123456789abcdef"


class Site:
    """The media process' API, spoken to as a program or a page would."""

    def __init__(self, settings: Settings, engines: Engines, http: httpx.AsyncClient) -> None:
        self.settings, self.engines, self.http = settings, engines, http
        self.answers: list[httpx.Response] = []

    def exchange(self, path: str, **headers: str) -> Any:
        async def post(offer: str) -> str:
            answer = await self.http.post(path, content=offer, headers={**SDP, **headers})
            self.answers.append(answer)
            assert answer.status_code == 201, answer.text
            return answer.text

        return post

    async def published(self, room: str, **headers: str) -> Publisher:
        publisher, events = Publisher(), self.engines.events()
        await publisher.publish(self.exchange(f"/v1/rooms/{room}/whip", **headers))
        async with asyncio.timeout(WAIT_S):
            async for event in events:
                if type(event).__name__ == "StreamStarted" and event.room == room:
                    return publisher
        raise AssertionError("no stream")

    async def offer(self) -> str:
        viewer = Viewer()
        await viewer.connection.setLocalDescription(await viewer.connection.createOffer())
        sdp = str(viewer.connection.localDescription.sdp)
        await viewer.close()
        return sdp


@asynccontextmanager
async def site(**more: Any) -> AsyncIterator[Site]:
    settings = Settings(
        **{
            "auth": "dev",
            "media_addresses": ["127.0.0.1"],
            "media_rtmp_port": 0,
            "media_srt_port": 0,
            "media_recordings": False,
            **more,
        }
    )
    engines = Engines(settings)
    await engines.start({})
    app = create_app(Serving(settings, engines, not_ready=""))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as http:
            yield Site(settings, engines, http)
    finally:
        await engines.close()


@pytest.fixture
async def dev() -> AsyncIterator[Site]:
    async with site() as made:
        yield made


async def test_a_viewer_sees_what_a_publisher_publishes(dev: Site, room: str) -> None:
    publisher, viewer = await dev.published(room), Viewer()
    await viewer.play(dev.exchange(f"/v1/rooms/{room}/whep"))
    await viewer.more_frames()
    for way, answer in zip(("whip", "whep"), dev.answers, strict=True):
        assert answer.headers["content-type"].startswith("application/sdp")
        assert answer.headers["location"].startswith(f"/v1/rooms/{room}/{way}/{way}-")
        assert answer.headers["etag"]
    clock = (await dev.http.get(f"/v1/rooms/{room}/clock")).json()
    assert clock["running"] and clock["now"]["epoch"] == 1
    for answer in dev.answers:
        assert (await dev.http.delete(answer.headers["location"])).status_code == 200
        assert (await dev.http.delete(answer.headers["location"])).status_code == 404
    assert not (await dev.http.get(f"/v1/rooms/{room}/clock")).json()["running"]
    await asyncio.gather(publisher.close(), viewer.close())


async def test_a_viewer_stays_when_the_publisher_begins_anew(dev: Site, room: str) -> None:
    first, viewer = await dev.published(room), Viewer()
    await viewer.play(dev.exchange(f"/v1/rooms/{room}/whep"))
    await viewer.more_frames()
    second = await dev.published(room)
    await viewer.more_frames()
    assert dev.engines.clock.newest_epoch(room) == 2
    await asyncio.gather(first.close(), second.close(), viewer.close())


async def test_a_room_changes_engine_with_a_new_epoch(dev: Site, room: str) -> None:
    events = dev.engines.events()
    start = {"do": "start"}
    assert (await dev.http.post(f"/v1/rooms/{room}/synthetic", json=start)).status_code == 200
    publisher = await dev.published(room)
    assert (await dev.http.post(f"/v1/rooms/{room}/synthetic", json=start)).status_code == 409
    assert dev.engines.clock.newest_epoch(room) == 2
    await dev.http.delete(dev.answers[0].headers["location"])
    assert (await dev.http.post(f"/v1/rooms/{room}/synthetic", json=start)).status_code == 200
    moved = []
    async with asyncio.timeout(WAIT_S):
        async for event in events:
            if not isinstance(event, ClockMoved) or not event.event.kind.startswith("clock.epoch"):
                continue  # A busy machine stalls a stream now and then, which is told, too.
            anchor = event.event.anchor
            moved.append((event.engine, anchor.epoch, anchor.ended))
            if len(moved) == 5:
                break
    assert moved == [
        ("synthetic", 1, False),
        ("synthetic", 1, True),
        ("embedded", 2, False),
        ("embedded", 2, True),
        ("synthetic", 3, False),
    ]
    await publisher.close()


async def test_a_room_has_one_publisher_who_may_be_told_apart(dev: Site, room: str) -> None:
    publisher = await dev.published(room, **{"x-user": "ana"})
    offer = publisher.connection.localDescription.sdp
    path = f"/v1/rooms/{room}/whip"
    other = await dev.http.post(path, content=offer, headers={**SDP, "x-user": "ben"})
    assert (other.status_code, other.json()["code"]) == (409, "already_publishing")
    location = dev.answers[0].headers["location"]
    assert (await dev.http.delete(location, headers={"x-user": "ben"})).status_code == 403
    assert (await dev.http.delete(location, headers={"x-user": "ana"})).status_code == 200
    await publisher.close()


async def test_candidates_are_trickled(dev: Site, room: str) -> None:
    publisher = await dev.published(room)
    location, tag = dev.answers[0].headers["location"], dev.answers[0].headers["etag"]
    fragment = {"content-type": "application/trickle-ice-sdpfrag"}
    candidate = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"

    async def patch(body: str, **headers: str) -> int:
        answer = await dev.http.patch(location, content=body, headers={**fragment, **headers})
        return answer.status_code

    assert await patch(candidate) == 204
    assert await patch(candidate, **{"if-match": tag}) == 204
    assert await patch(candidate, **{"if-match": '"other"'}) == 412
    assert await patch("a=ice-ufrag:else\r\n" + candidate) == 409
    assert await patch(candidate, **{"content-type": "text/plain"}) == 415
    await publisher.close()


async def test_what_cannot_be_taken_is_refused_as_a_problem(dev: Site, room: str) -> None:
    post = dev.http.post
    for path in (f"/v1/rooms/{room}/whip", f"/v1/rooms/{room}/whep"):
        wrong_type = await post(path, content="v=0", headers={"content-type": "text/plain"})
        assert wrong_type.status_code == 415
        too_long = await post(path, content="v" * (bounds.SDP_BYTES_MAX + 1), headers=SDP)
        assert too_long.status_code == 413
        for answer in (wrong_type, too_long):
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await dev.http.get(path)).status_code == 405
    nonsense = await post(f"/v1/rooms/{room}/whip", content="v=0\r\n", headers=SDP)
    assert (nonsense.status_code, nonsense.json()["code"]) == (400, "bad_sdp")
    nobody = await post(f"/v1/rooms/{room}/whep", content=await dev.offer(), headers=SDP)
    assert (nobody.status_code, nobody.json()["code"]) == (404, "stream_not_found")


async def test_who_finds_no_room_is_sent_to_hls(room: str) -> None:
    async with site(media_viewers_max=1) as full:
        publisher, viewer = await full.published(room), Viewer()
        await viewer.play(full.exchange(f"/v1/rooms/{room}/whep"))
        await viewer.more_frames(1)
        offer = await full.offer()
        refused = await full.http.post(f"/v1/rooms/{room}/whep", content=offer, headers=SDP)
        assert (refused.status_code, refused.json()["code"]) == (503, "full")
        assert int(refused.headers["retry-after"]) >= 1
        hls = f"<http://127.0.0.1:8081/v1/rooms/{room}/hls/index.m3u8>"
        assert refused.headers["link"] == f'{hls}; rel="alternate"'
        await full.http.delete(full.answers[1].headers["location"])
        again = Viewer()
        await again.play(full.exchange(f"/v1/rooms/{room}/whep"))
        await again.more_frames(1)
        await asyncio.gather(publisher.close(), viewer.close(), again.close())


async def test_joins_are_admitted_at_a_rate(room: str) -> None:
    async with site(media_joins_per_s=2) as slow:
        publisher = await slow.published(room)
        offer = await slow.offer()
        path = f"/v1/rooms/{room}/whep"
        answers = [await slow.http.post(path, content=offer, headers=SDP) for _ in range(4)]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused and refused[0].json()["code"] == "joining_too_fast"
        await publisher.close()


async def test_publishing_needs_a_token_of_a_host(room: str) -> None:
    async with site(auth="jwt", jwt_secret=SECRET) as site_:
        path, offer = f"/v1/rooms/{room}/whip", await site_.offer()

        async def status(**headers: str) -> int:
            answer = await site_.http.post(path, content=offer, headers={**SDP, **headers})
            return answer.status_code

        def bearer(role: str) -> str:
            token = tokens.signed(site_.settings, user="ana", role=role, lifetime_s=60)
            return f"Bearer {token}"

        assert await status() == 401
        assert await status(**{"x-user": "ana"}) == 401
        assert await status(authorization="Bearer nonsense") == 401
        assert await status(authorization=bearer("viewer")) == 403
        publisher = await site_.published(room, authorization=bearer("host"))
        viewer = Viewer()
        await viewer.play(site_.exchange(f"/v1/rooms/{room}/whep"))
        await viewer.more_frames(1)
        await asyncio.gather(publisher.close(), viewer.close())


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.0.0.1:8081", True),
        ("https://studio.example", True),
        ("http://127.0.0.1:9999", False),
        ("https://evil.example", False),
        ("null", False),
    ],
)
async def test_only_our_own_pages_publish(room: str, origin: str, is_ours: bool) -> None:
    async with site(allowed_origins=["https://studio.example"]) as site_:
        path, headers = f"/v1/rooms/{room}/whip", {**SDP, "origin": origin}
        answer = await site_.http.post(path, content="v=0\r\n", headers=headers)
        asked = await site_.http.options(path, headers=headers)
        assert answer.status_code == (400 if is_ours else 403)
        for each in (answer, asked):
            allowed = each.headers.get("access-control-allow-origin")
            assert allowed == (origin if is_ours else None)
        watching = await site_.http.options(f"/v1/rooms/{room}/whep", headers=headers)
        assert watching.headers["access-control-allow-origin"] == "*"
        assert "Location" in watching.headers["access-control-expose-headers"]
