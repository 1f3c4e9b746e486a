"""Rooms of a MediaMTX (its stand-in) behind the media process: WHIP, WHEP, the hook, the clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from engagement.domain.limits import ANCHOR_STEP_MS
from media.engine import EngineLost, PlayRequest
from media.engines import Engines
from media.http import Serving, create_app
from tests.conftest import free_ports
from tests.engine_settings import settings_of
from tests.mediamtx_server import MediaMtxStandIn, serving, stand_in
from tests.waiting import until
from tests.webrtc_clients import Publisher

SDP = {"content-type": "application/sdp"}


class Studio:
    """A media process with a MediaMTX beside it."""

    def __init__(
        self, engines: Engines, server: MediaMtxStandIn, http: httpx.AsyncClient, url: str
    ) -> None:
        self.engines, self.server, self.http, self.url = engines, server, http, url
        self.publishers: list[Publisher] = []
        self.location = ""

    async def publish(self, room: str, url: str = "", token: str = "dev:anna") -> int:
        """By WHIP, to us or straight to the server; the status of its answer."""
        publisher = Publisher()
        self.publishers.append(publisher)
        offer = await publisher.connection.createOffer()
        await publisher.connection.setLocalDescription(offer)
        answer = await self.http.post(
            url or f"/v1/rooms/{room}/whip",
            content=publisher.connection.localDescription.sdp,
            headers={**SDP, "authorization": f"Bearer {token}"},
        )
        if answer.status_code == 201:
            self.location = answer.headers["location"]
            await publisher.answered(answer.text)
        return answer.status_code

    async def epoch(self, room: str, number: int) -> None:
        async def begun() -> bool:
            now = self.engines.clock.now(room)
            return now is not None and now.epoch == number and room in self.engines.publishing()

        await until(begun, f"epoch {number} of {room}")

    async def anchored(self, room: str, times: int) -> None:
        async def so() -> bool:
            return len(self.engines.clock.recent(room)) >= times

        await until(so, f"{times} anchors of {room}")

    async def silent(self) -> None:
        async def so() -> bool:
            return self.engines.publishing() == []

        await until(so, "no publisher")


@asynccontextmanager
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    async with stand_in() as server:
        server.auth_url = f"{url}/v1/mediamtx/auth"
        addresses = {"api": server.url, "webrtc": server.url, "hls": server.url}
        settings = settings_of(tmp_path, media_engines={"*": "mediamtx"}, media_mediamtx=addresses)
        engines = Engines(settings)
        await engines.start({})
        app = create_app(Serving(settings, engines, not_ready=""))
        async with (
            serving(app, port),
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http,
        ):
            made = Studio(engines, server, http, url)
            try:
                yield made
            finally:
                for publisher in made.publishers:
                    await publisher.close()
                await engines.close()


async def test_a_room_is_published_watched_and_left_through_us(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        assert await s.publish("demo") == 201
        await s.epoch("demo", 1)
        viewer = Publisher()
        s.publishers.append(viewer)
        await viewer.connection.setLocalDescription(await viewer.connection.createOffer())
        offer = viewer.connection.localDescription.sdp
        watched = await s.http.post("/v1/rooms/demo/whep", content=offer, headers=SDP)
        assert watched.status_code == 201 and watched.text.startswith("v=0")
        left = await s.http.delete(watched.headers["location"])
        assert left.status_code == 200
        grant = await s.engines.watching_engine("demo").play(PlayRequest("demo", ("hls",), "ben"))
        assert grant.url == f"{s.server.url}/demo/index.m3u8"
        authorization = {"authorization": "Bearer dev:anna"}
        ended = await s.http.delete(s.location, headers=authorization)
        assert ended.status_code == 200
        await s.silent()
        assert s.server.paths == {}


async def test_the_clock_is_that_of_the_playlists_dates(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        assert await s.publish("demo") == 201
        await s.epoch("demo", 1)
        path = s.server.paths["demo"]
        placed = s.engines.clock.at_wall("demo", path.began_s * 1000 + 2_000)
        first = s.engines.clock.recent("demo")[0]
        assert placed is not None
        dated_ms = first.wall_ms - first.pts_ms + placed.pts_ms
        await s.anchored("demo", 2)
        last = s.engines.clock.recent("demo")[-1]
        assert last.wall_ms - first.wall_ms == pytest.approx(last.pts_ms - first.pts_ms, abs=1)
        error_ms = abs(dated_ms - path.began_s * 1000 - 2_000)
        assert error_ms <= placed.uncertainty_ms + ANCHOR_STEP_MS


async def test_who_has_no_key_publishes_nowhere_and_anybody_reads(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        straight = f"{s.server.url}/demo/whip"
        assert await s.publish("demo", straight, "no-token") == 401
        assert await s.publish("demo", straight, "dev:anna") == 201
        await s.epoch("demo", 1)
        assert s.engines.mediamtx is not None
        assert s.engines.mediamtx.publisher_of("demo") == "anna"
        assert await s.publish("demo", straight, "dev:ben") == 401
        ask = {"action": "read", "path": "demo", "token": ""}
        assert (await s.http.post("/v1/mediamtx/auth", json=ask)).status_code == 204
        ask["action"] = "api"
        assert (await s.http.post("/v1/mediamtx/auth", json=ask)).status_code == 400


async def test_the_same_publisher_begins_anew_straight_at_the_server(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        straight = f"{s.server.url}/demo/whip"
        assert await s.publish("demo", straight) == 201
        await s.epoch("demo", 1)
        assert await s.publish("demo", straight) == 201
        await s.epoch("demo", 2)


async def test_a_server_that_is_gone_ends_its_streams(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        events = s.engines.events()
        assert await s.publish("demo") == 201
        await s.epoch("demo", 1)
        s.server.is_gone = True
        await s.silent()

        async with asyncio.timeout(10):
            while not isinstance(await anext(events), EngineLost):
                pass
        assert await s.publish("demo") == 503
