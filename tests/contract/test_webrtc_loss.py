"""Packets are lost between real sessions, in either direction, and repaired by retransmission.

Losses are made where a session hands packets over: every third one, so that each run is the same.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from prometheus_client import REGISTRY

from media.embedded import EmbeddedEngine
from media.engine import PlayRequest, PublishRequest, SessionId
from media.frames import EncodedFrame
from media.webrtc.publisher import PublisherSession
from media.webrtc.viewer import ViewerSession
from tests.waiting import until
from tests.webrtc_clients import Publisher, Viewer


class Kept:
    """Keeps what it is fed."""

    def __init__(self) -> None:
        self.frames: list[EncodedFrame] = []

    def feed(self, frame: EncodedFrame) -> None:
        self.frames.append(frame)

    def end_epoch(self, room: str, epoch: int) -> None:
        pass


class Show:
    """A room with a publisher and a viewer, and the engine's own sides of both."""

    def __init__(self, engine: EmbeddedEngine, kept: Kept, viewer: Viewer) -> None:
        self.engine, self.kept, self.viewer = engine, kept, viewer
        self.inbound: PublisherSession
        self.outbound: ViewerSession

    def remember(self, session: SessionId) -> None:
        _, held = self.engine._held(session)
        if isinstance(held, PublisherSession):
            self.inbound = held
        else:
            self.outbound = held


@asynccontextmanager
async def show(room: str) -> AsyncIterator[Show]:
    kept, publisher, viewer = Kept(), Publisher(), Viewer()
    engine = EmbeddedEngine(addresses=("127.0.0.1",), sink=kept)
    made = Show(engine, kept, viewer)
    await engine.start({})

    async def publish(offer: str) -> str:
        grant = await engine.publish(PublishRequest(room, "whip", "ana", offer))
        made.remember(grant.session)
        return str(grant.answer_sdp)

    async def play(offer: str) -> str:
        grant = await engine.play(PlayRequest(room, ("whep",), "ben", offer))
        made.remember(grant.session)
        return str(grant.answer_sdp)

    await publisher.publish(publish)

    async def has_stream() -> bool:
        return bool(kept.frames)

    await until(has_stream, "the first frame")
    await viewer.play(play)
    await viewer.more_frames()
    try:
        yield made
    finally:
        await asyncio.gather(publisher.close(), viewer.close())
        await engine.close()


def lossy(pass_on: Callable[..., Any], lost: Any) -> Callable[..., Any]:
    """`pass_on` for two packets of three; `lost` is what comes of the third."""
    count = 0

    def pass_some(*packet: Any) -> Any:
        nonlocal count
        count += 1
        return lost if count % 3 == 0 else pass_on(*packet)

    return pass_some


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"engagement_media_rtp_{name}_total") or 0.0


async def test_what_a_viewer_loses_is_sent_again(room: str) -> None:
    async with show(room) as playing:
        peer, before = playing.outbound.peer, metric("resent")
        peer._send = lossy(peer._send, True)
        await playing.viewer.more_frames(60)
        assert metric("resent") > before + 10


async def test_what_a_publisher_loses_is_asked_for_and_no_frame_is_left_out(room: str) -> None:
    async with show(room) as playing:
        before, seen = metric("asked_again"), len(playing.kept.frames)
        playing.inbound.on_rtp = lossy(playing.inbound.on_rtp, None)  # type: ignore[method-assign]

        async def enough() -> bool:
            return len(playing.kept.frames) > seen + 60

        await until(enough, "frames in spite of the loss")
        assert metric("asked_again") > before + 10
        stamps = [frame.rtp for frame in playing.kept.frames]
        steps = {(later - earlier) % 2**32 for earlier, later in pairwise(stamps)}
        assert steps <= {2_999, 3_000, 3_001}, "every frame is there, in order"
        epochs = {anchor.epoch for anchor in playing.engine.clock.recent(room)}
        assert epochs == {1}, "a loss is no new epoch"
