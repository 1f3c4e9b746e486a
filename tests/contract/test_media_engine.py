"""What every media engine must do. An engine joins by adding its stage to `STAGES`.

A stage is an engine, started, together with a publisher that the test can command; real engines
bring a real publisher (a browser, ffmpeg), the synthetic one makes it up.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
from fastapi import FastAPI

from engagement.domain.media_time import RTP_MODULUS
from engagement.errors import (
    BadRequestError,
    ConflictError,
    EngagementError,
    NotFoundError,
    UnauthorizedError,
)
from media.embedded import EmbeddedEngine
from media.engine import (
    ClockMoved,
    MediaEngine,
    MediaEvent,
    Negotiation,
    PlayRequest,
    PublishRequest,
    SessionId,
    StreamEnded,
    StreamStarted,
    TimedMark,
    ViewerJoined,
    ViewerLeft,
)
from media.hls.packager import Packager
from media.ingest.engine import IngestEngine
from media.janus.engine import JanusEngine
from media.mediamtx.api import Addresses
from media.mediamtx.engine import MediaMtxEngine
from media.mediamtx_http import mediamtx_router
from media.rtmp.engine import RtmpEngine
from media.srt.engine import SrtEngine
from media.synthetic import SyntheticEngine
from tests.conftest import free_ports
from tests.janus_server import ADMIN_KEY, SECRET, janus
from tests.mediamtx_server import serving, stand_in
from tests.rtmp_client import RtmpPublisher
from tests.srt_client import SrtPublisher
from tests.webrtc_clients import Publisher

WAIT_S = 10.0
MEDIAMTX_HOOK_PORT = 18789


class Stage(Protocol):
    """An engine under test and somebody who publishes to it."""

    engine: MediaEngine

    async def publish(self, room: str) -> SessionId:
        """Have a publisher's frames flowing into a room."""

    async def republish(self, room: str) -> None:
        """Have the same publisher begin anew."""


class SyntheticStage:
    def __init__(self, engine: SyntheticEngine) -> None:
        self.engine = engine

    async def publish(self, room: str) -> SessionId:
        grant = await self.engine.publish(PublishRequest(room, "synthetic", "host"))
        return grant.session

    async def republish(self, room: str) -> None:
        self.engine.republish(room)


@asynccontextmanager
async def synthetic_stage(newest_epochs: dict[str, int]) -> AsyncIterator[Stage]:
    engine = SyntheticEngine()
    await engine.start(newest_epochs)
    try:
        yield SyntheticStage(engine)
    finally:
        await engine.close()


class WhipStage:
    """A publisher in Python, over real ICE and DTLS on loopback."""

    def __init__(self, engine: EmbeddedEngine | JanusEngine | MediaMtxEngine) -> None:
        self.engine = engine
        self.publishers: list[Publisher] = []

    async def publish(self, room: str) -> SessionId:
        return await self._publish(room, f"host-{len(self.publishers)}")

    async def republish(self, room: str) -> None:
        await self._publish(room, f"host-{len(self.publishers) - 1}")

    async def _publish(self, room: str, who: str) -> SessionId:
        publisher, listener = Publisher(), Listener(self.engine)
        granted = []

        async def exchange(offer: str) -> str:
            grant = await self.engine.publish(PublishRequest(room, "whip", who, offer))
            self.publishers.append(publisher)
            granted.append(grant.session)
            assert grant.answer_sdp is not None
            return grant.answer_sdp

        try:
            await publisher.publish(exchange)
        except BaseException:
            await publisher.close()
            raise
        await listener.until(lambda e: isinstance(e, StreamStarted) and e.session == granted[0])
        return granted[0]


@asynccontextmanager
async def embedded_stage(newest_epochs: dict[str, int]) -> AsyncIterator[Stage]:
    engine = EmbeddedEngine(addresses=("127.0.0.1",))
    async with _by_whip(engine, newest_epochs) as stage:
        yield stage


@asynccontextmanager
async def janus_stage(newest_epochs: dict[str, int]) -> AsyncIterator[Stage]:
    if shutil.which("janus") is None:
        pytest.skip("janus is not installed and could not be: see scripts/test-packages")
    with TemporaryDirectory() as folder:
        async with janus(Path(folder)) as server:
            engine = JanusEngine(server.url, api_secret=SECRET, admin_key=ADMIN_KEY)
            async with _by_whip(engine, newest_epochs) as stage:
                yield stage


@asynccontextmanager
async def mediamtx_stage(newest_epochs: dict[str, int]) -> AsyncIterator[Stage]:
    """A stand-in; or the server whose API, WebRTC and HLS addresses are in the environment, and
    whose authHTTPAddress is http://127.0.0.1:18789/v1/mediamtx/auth."""
    given = os.environ.get("ENGAGEMENT_TEST_MEDIAMTX")
    async with AsyncExitStack() as stack:
        if given is None:
            server = await stack.enter_async_context(stand_in())
            addresses, [port] = server.addresses, free_ports(1)
            server.auth_url = f"http://127.0.0.1:{port}/v1/mediamtx/auth"
        else:
            addresses, port = Addresses(*given.split(",")), MEDIAMTX_HOOK_PORT
        engine = MediaMtxEngine(addresses, _nobody)
        app = FastAPI()
        app.include_router(mediamtx_router(engine))
        await stack.enter_async_context(serving(app, port))
        yield await stack.enter_async_context(_by_whip(engine, newest_epochs))


@asynccontextmanager
async def _by_whip(
    engine: EmbeddedEngine | JanusEngine | MediaMtxEngine, newest_epochs: dict[str, int]
) -> AsyncIterator[Stage]:
    await engine.start(newest_epochs)
    stage = WhipStage(engine)
    try:
        yield stage
    finally:
        await asyncio.gather(*(publisher.close() for publisher in stage.publishers))
        await engine.close()


class IngestStage:
    """A publisher in Python, over TCP or UDP on loopback."""

    def __init__(
        self, engine: IngestEngine, publisher: type[RtmpPublisher] | type[SrtPublisher]
    ) -> None:
        self.engine = engine
        self.publishers: list[RtmpPublisher | SrtPublisher] = []
        self._publisher = publisher

    async def publish(self, room: str) -> SessionId:
        return await self._publish(room, f"host-{len(self.publishers)}")

    async def republish(self, room: str) -> None:
        await self._publish(room, f"host-{len(self.publishers) - 1}")

    async def _publish(self, room: str, who: str) -> SessionId:
        listener = Listener(self.engine)
        [ingest] = self.engine.capabilities.ingest
        grant = await self.engine.publish(PublishRequest(room, ingest, who))
        assert grant.url is not None
        publisher = self._publisher(grant.url)
        self.publishers.append(publisher)
        await publisher.publish()
        await listener.until(lambda e: isinstance(e, StreamStarted) and e.session == grant.session)
        return grant.session


async def _nobody(room: str, token: str, address: str) -> str:
    raise UnauthorizedError("publish to an address that was granted")


@asynccontextmanager
async def rtmp_stage(newest_epochs: dict[str, int]) -> AsyncIterator[Stage]:
    packager = Packager()
    engine = RtmpEngine(packager, _nobody, host="127.0.0.1", port=0)
    async with _ingesting(IngestStage(engine, RtmpPublisher), packager, newest_epochs) as stage:
        yield stage


@asynccontextmanager
async def srt_stage(newest_epochs: dict[str, int]) -> AsyncIterator[Stage]:
    packager = Packager()
    engine = SrtEngine(packager, _nobody, host="127.0.0.1", port=0)
    async with _ingesting(IngestStage(engine, SrtPublisher), packager, newest_epochs) as stage:
        yield stage


@asynccontextmanager
async def _ingesting(
    stage: IngestStage, packager: Packager, newest_epochs: dict[str, int]
) -> AsyncIterator[IngestStage]:
    await stage.engine.start(newest_epochs)
    try:
        yield stage
    finally:
        await asyncio.gather(*(publisher.close() for publisher in stage.publishers))
        await stage.engine.close()
        await packager.close()


STAGES: dict[str, Any] = {
    "synthetic": synthetic_stage,
    "embedded": embedded_stage,
    "rtmp": rtmp_stage,
    "srt": srt_stage,
    "janus": janus_stage,
    "mediamtx": mediamtx_stage,
}


@pytest.fixture(params=STAGES)
def on_stage(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return STAGES[request.param]


@pytest.fixture
async def stage(on_stage: Callable[..., Any]) -> AsyncIterator[Stage]:
    async with on_stage({}) as stage:
        yield stage


class Listener:
    """Collects an engine's events, and waits for the one that a test is about."""

    def __init__(self, engine: MediaEngine) -> None:
        self.heard: list[MediaEvent] = []
        self._events = engine.events()

    async def until(self, wanted: Callable[[MediaEvent], bool]) -> MediaEvent:
        async with asyncio.timeout(WAIT_S):
            async for event in self._events:
                self.heard.append(event)
                if wanted(event):
                    return event
        raise AssertionError("the engine ended its events")

    async def clock(self, kind: str) -> Any:
        moved = await self.until(lambda e: isinstance(e, ClockMoved) and e.event.kind == kind)
        return moved.event.anchor  # type: ignore[union-attr]


async def test_the_clock_starts_with_the_stream(stage: Stage, room: str) -> None:
    listener = Listener(stage.engine)
    await stage.publish(room)
    anchor = await listener.clock("clock.epoch.opened")
    assert isinstance(listener.heard[0], StreamStarted)
    assert (anchor.epoch, anchor.pts_ms) == (1, 0)
    now = stage.engine.clock.now(room)
    assert now is not None and now.epoch == 1


async def test_epochs_continue_after_the_newest_that_is_on_the_log(
    on_stage: Callable[..., Any], room: str
) -> None:
    async with on_stage({room: 41}) as stage:
        listener = Listener(stage.engine)
        await stage.publish(room)
        assert (await listener.clock("clock.epoch.opened")).epoch == 42


async def test_a_republish_ends_the_epoch_and_opens_the_next(stage: Stage, room: str) -> None:
    listener = Listener(stage.engine)
    await stage.publish(room)
    await listener.clock("clock.epoch.opened")
    await stage.republish(room)
    closed = await listener.clock("clock.epoch.closed")
    opened = await listener.clock("clock.epoch.opened")
    assert (closed.epoch, closed.ended, opened.epoch, opened.ended) == (1, True, 2, False)


async def test_stopping_ends_the_epoch_and_media_time_stands_still(stage: Stage, room: str) -> None:
    listener = Listener(stage.engine)
    session = await stage.publish(room)
    await listener.clock("clock.epoch.opened")
    await stage.engine.stop(session)
    closed = await listener.clock("clock.epoch.closed")
    assert isinstance(await listener.until(lambda e: isinstance(e, StreamEnded)), StreamEnded)
    later = stage.engine.clock.at_wall(room, closed.server_ms + 60_000)
    assert later is not None and later.pts_ms == closed.pts_ms
    await stage.engine.stop(session)  # A session that has ended already is no error.


async def test_closing_the_engine_ends_every_epoch_and_its_events(stage: Stage, room: str) -> None:
    listener = Listener(stage.engine)
    await stage.publish(room)
    await stage.engine.close()
    await listener.clock("clock.epoch.closed")
    with pytest.raises(AssertionError, match="ended its events"):
        await listener.until(lambda event: False)


async def test_a_room_has_one_publisher(stage: Stage, room: str) -> None:
    await stage.publish(room)
    with pytest.raises(ConflictError):
        await stage.publish(room)


async def test_what_an_engine_lacks_it_refuses(stage: Stage, room: str) -> None:
    engine = stage.engine
    await stage.publish(room)
    for ingest in {"whip", "rtmp", "srt", "synthetic"} - engine.capabilities.ingest:
        with pytest.raises(BadRequestError):
            await engine.publish(PublishRequest(f"{room}-b", ingest, "host"))  # type: ignore[arg-type]
    for egress in {"whep", "llhls", "hls", "native", "clock"} - engine.capabilities.egress:
        with pytest.raises(BadRequestError):
            await engine.play(PlayRequest(room, (egress,), "viewer"))  # type: ignore[arg-type]
    if not engine.capabilities.marks:
        with pytest.raises(BadRequestError):
            await engine.mark(TimedMark("1", room, 1, 0.0, "gift"))
    if not engine.capabilities.offers:
        with pytest.raises(BadRequestError):
            await engine.negotiate(SessionId("x"), Negotiation("v=0", "answer"))


async def test_nobody_plays_a_room_without_a_stream(stage: Stage, room: str) -> None:
    every = tuple(stage.engine.capabilities.egress)
    with pytest.raises(NotFoundError):
        await stage.engine.play(PlayRequest(room, every, "viewer"))
    assert stage.engine.clock.now(room) is None
    assert stage.engine.clock.recent(room) == []


async def test_viewers_come_and_go(stage: Stage, room: str) -> None:
    if "clock" not in stage.engine.capabilities.egress:
        pytest.skip("this engine's viewers need a player")
    listener = Listener(stage.engine)
    await stage.publish(room)
    grant = await stage.engine.play(PlayRequest(room, ("clock",), "viewer"))
    await stage.engine.stop(grant.session)
    await listener.until(lambda e: isinstance(e, ViewerLeft) and e.session == grant.session)
    assert any(isinstance(e, ViewerJoined) for e in listener.heard)


async def test_the_clock_agrees_with_itself(stage: Stage, room: str) -> None:
    listener = Listener(stage.engine)
    await stage.publish(room)
    anchor = await listener.clock("clock.anchored")
    clock = stage.engine.clock
    at_anchor = clock.from_rtp(room, "video", anchor.rtp)
    assert at_anchor is not None
    assert at_anchor.pts_ms == anchor.pts_ms
    assert at_anchor.server_ms == pytest.approx(anchor.server_ms, abs=0.01)
    on_wall = clock.at_wall(room, anchor.at_us / 1000 + 100)
    assert on_wall is not None and on_wall.epoch == anchor.epoch
    by_rtp = clock.from_rtp(room, "video", on_wall.rtp % RTP_MODULUS)
    assert by_rtp is not None and by_rtp.pts_ms == pytest.approx(on_wall.pts_ms, abs=0.02)


async def test_anchors_begin_with_the_current_one_and_go_on(stage: Stage, room: str) -> None:
    await stage.publish(room)
    anchors = stage.engine.clock.anchors(room)
    async with asyncio.timeout(WAIT_S):
        first, second = await anext(anchors), await anext(anchors)
    assert first == stage.engine.clock.recent(room)[-2]
    assert (second.epoch, second.at_us) > (first.epoch, first.at_us)
    assert second.id != first.id


async def test_every_reader_hears_everything(stage: Stage, room: str) -> None:
    one, two = Listener(stage.engine), Listener(stage.engine)
    await stage.publish(room)
    await one.clock("clock.anchored")
    await two.clock("clock.anchored")
    assert one.heard == two.heard


async def test_refusals_are_typed(stage: Stage, room: str) -> None:
    with pytest.raises(EngagementError) as refusal:
        await stage.engine.play(PlayRequest(room, (), "viewer"))
    assert 400 <= refusal.value.status < 500
