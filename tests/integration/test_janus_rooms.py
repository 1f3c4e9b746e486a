"""Rooms of a real Janus: watched by its own offers, over a publisher's and its own restarts."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from engagement.errors import UnavailableError
from media.engine import ClockMoved, EngineLost, MediaEvent, PublishRequest, StreamEnded
from media.engines import Engines
from media.http import Serving, create_app
from media.janus.engine import JanusEngine
from tests.conftest import free_ports
from tests.engine_settings import settings_of
from tests.janus_server import ADMIN_KEY, SECRET, Janus, janus
from tests.waiting import until
from tests.webrtc_clients import Publisher, Viewer

pytestmark = pytest.mark.skipif(
    shutil.which("janus") is None,
    reason="janus is not installed and could not be: see scripts/test-packages",
)


class Studio:
    """A media process with a Janus behind it, over HTTP."""

    def __init__(self, engines: Engines, server: Janus, http: httpx.AsyncClient) -> None:
        self.engines, self.server, self.http = engines, server, http
        self.happened: list[MediaEvent] = []
        self.publishers: list[Publisher] = []
        self.viewers: list[Viewer] = []

    async def publish(self, room: str, codec: str = "video/VP8") -> Publisher:
        publisher = Publisher(codec)
        self.publishers.append(publisher)

        async def exchange(offer: str) -> str:
            answer = await self.http.post(
                f"/v1/rooms/{room}/whip",
                content=offer,
                headers={"content-type": "application/sdp", "authorization": "Bearer dev:anna"},
            )
            assert answer.status_code == 201, answer.text
            return answer.text

        await publisher.publish(exchange)
        return publisher

    async def watch(self, room: str) -> Viewer:
        """By the server's offer; waits until there is something to watch."""

        async def offered() -> httpx.Response | None:
            answer = await self.http.post(f"/v1/rooms/{room}/whep")
            return answer if answer.status_code == 201 else None

        offer = await until(offered, f"an offer in {room}")
        assert offer is not None
        viewer = Viewer(offers=False)
        self.viewers.append(viewer)
        await viewer.connection.setRemoteDescription(RTCSessionDescription(offer.text, "offer"))
        await viewer.connection.setLocalDescription(await viewer.connection.createAnswer())
        answered = await self.patch(
            offer.headers["location"], viewer.connection.localDescription.sdp
        )
        assert answered.status_code == 204, answered.text
        return viewer

    async def patch(self, session: str, sdp: str) -> httpx.Response:
        return await self.http.patch(
            session, content=sdp, headers={"content-type": "application/sdp"}
        )

    async def epoch(self, room: str, number: int) -> None:
        async def begun() -> bool:
            now = self.engines.clock.now(room)
            return now is not None and now.epoch >= number and room in self.engines.publishing()

        await until(begun, f"epoch {number} of {room}")


@asynccontextmanager
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    [port] = free_ports(1)
    async with janus(tmp_path) as server:
        settings = settings_of(
            tmp_path,
            media_engines={"*": "janus", "ours": "embedded"},
            media_addresses=["127.0.0.1"],
            media_janus_url=server.url,
            media_janus_secret=SECRET,
            media_janus_admin_key=ADMIN_KEY,
        )
        engines = Engines(settings)
        await engines.start({})
        app = create_app(Serving(settings, engines, not_ready=""))
        http_server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off")
        )
        serving = asyncio.create_task(http_server.serve())
        events = engines.events()
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=20) as http:
            made = Studio(engines, server, http)

            async def listen() -> None:
                async for event in events:
                    made.happened.append(event)

            async def up() -> bool:
                return http_server.started

            listening = asyncio.create_task(listen())
            await until(up, "the HTTP side")
            try:
                yield made
            finally:
                for each in [*made.viewers, *made.publishers]:
                    await each.close()
                http_server.should_exit = True
                await serving
                await engines.close()
                await listening


async def test_a_viewer_watches_by_the_servers_offer_and_stays_over_a_new_beginning(
    tmp_path: Path,
) -> None:
    async with studio(tmp_path) as s:
        await s.publish("demo")
        await s.epoch("demo", 1)
        viewer = await s.watch("demo")
        await viewer.more_frames(10)
        await s.publish("demo")
        await s.epoch("demo", 2)
        await viewer.more_frames(30)


async def test_what_comes_through_janus_is_packaged_on_the_rooms_clock(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        await s.publish("demo", "video/H264")

        async def playlist() -> str | None:
            answer = await s.http.get("/v1/rooms/demo/hls/index.m3u8")
            return answer.text if answer.status_code == 200 else None

        text = await until(playlist, "a playlist")
        assert text is not None and "#EXT-X-LIVE-MEDIA-TIME:EPOCH=1,PTS=" in text
        moved = [e for e in s.happened if isinstance(e, ClockMoved)]
        assert {event.engine for event in moved} == {"janus"}


async def test_the_engine_of_a_room_is_chosen_by_setting(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        await s.publish("ours")
        await s.publish("demo")
        await s.epoch("ours", 1)
        await s.epoch("demo", 1)
        assert s.engines.by_name()["embedded"] == ["ours"]
        assert s.engines.by_name()["janus"] == ["demo"]


async def test_a_killed_janus_ends_its_streams_and_serves_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with studio(tmp_path) as s:
        await s.publish("demo")
        await s.epoch("demo", 1)
        s.server.kill()

        async def lost() -> bool:
            return any(isinstance(event, EngineLost) for event in s.happened)

        await until(lost, "the loss of Janus")
        assert s.engines.publishing() == []
        assert any(isinstance(event, StreamEnded) for event in s.happened)
        refused = await s.http.post("/v1/rooms/demo/whep")
        assert refused.status_code == 404
        await s.server.restarted()

        async def back() -> bool:
            try:
                await s.publish("demo")
            except AssertionError:
                return False
            return True

        await until(back, "Janus")
        await s.epoch("demo", 2)


@pytest.mark.parametrize("number", ["108", "97"])
async def test_no_answer_of_a_viewers_brings_janus_down(tmp_path: Path, number: str) -> None:
    """Janus 1.1.2 crashes, with all its rooms, over 108 alone, which it takes for repeats."""
    async with studio(tmp_path) as s:
        await s.publish("demo", "video/H264")
        await s.epoch("demo", 1)
        offer = await s.http.post("/v1/rooms/demo/whep")
        viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        await viewer.setRemoteDescription(RTCSessionDescription(offer.text, "offer"))
        await viewer.setLocalDescription(await viewer.createAnswer())
        sdp = viewer.localDescription.sdp
        hostile = re.sub(r"(m=video [0-9]+ \S+).*", rf"\1 {number}", sdp)
        hostile = re.sub(r"a=(rtpmap|fmtp|rtcp-fb):[0-9]+", rf"a=\1:{number}", hostile)
        assert (await s.patch(offer.headers["location"], hostile)).status_code == 204
        second = await s.patch(offer.headers["location"], sdp)
        assert second.status_code == 409
        await viewer.close()
        good = await s.watch("demo")
        await good.more_frames(5)
        assert s.server.process.poll() is None


async def test_a_client_that_offers_is_told_that_the_server_does(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        await s.publish("demo")
        await s.epoch("demo", 1)
        refused = await s.http.post(
            "/v1/rooms/demo/whep", content="v=0", headers={"content-type": "application/sdp"}
        )
        assert refused.status_code == 406
        assert refused.json()["code"] == "server_offers"


async def test_janus_with_another_key_is_as_good_as_none(tmp_path: Path) -> None:
    async with janus(tmp_path) as server:
        engine = JanusEngine(server.url, api_secret="another", admin_key=ADMIN_KEY)
        await engine.start({})
        publisher = Publisher()

        async def exchange(offer: str) -> str:
            grant = await engine.publish(PublishRequest("demo", "whip", "anna", offer))
            return grant.answer_sdp or ""

        try:
            with pytest.raises(UnavailableError):
                await publisher.publish(exchange)
        finally:
            await publisher.close()
            await engine.close()
