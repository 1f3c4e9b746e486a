"""Thirty packets of a hundred are lost for five seconds, on the publisher's way and on the
viewer's: the picture comes back, and the clock is never further off than it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engagement.domain.limits import ANCHOR_STEP_MS
from media.embedded import EmbeddedEngine
from media.engine import PlayRequest, PublishRequest
from media.frames import EncodedFrame
from tests.udp_relay import UdpRelay, relay
from tests.waiting import until
from tests.webrtc_clients import Publisher, Viewer

FRAME_TICKS = 3_000
LOSS, LOSSY_FRAMES = 0.3, 150


class Judge:
    """Keeps every frame with what the room's clock said when it came."""

    def __init__(self) -> None:
        self.engine: EmbeddedEngine
        self.frames: list[EncodedFrame] = []
        self.uncertainties_ms: list[float] = []

    def feed(self, frame: EncodedFrame) -> None:
        self.frames.append(frame)
        placed = self.engine.clock.from_rtp(frame.room, "video", frame.rtp)
        assert placed is not None
        self.uncertainties_ms.append(placed.uncertainty_ms)

    def end_epoch(self, room: str, epoch: int) -> None:
        pass

    def errors_ms(self) -> list[float]:
        """How far each frame is placed from where an even stream has it. Pictures are taken
        every 30th of a second, and the RTP timestamps say which one a frame is."""
        first = self.frames[0]
        numbers = [round(((frame.rtp - first.rtp) % 2**32) / FRAME_TICKS) for frame in self.frames]
        began_ms = [
            frame.server_ms - number * 1000 / 30
            for frame, number in zip(self.frames, numbers, strict=True)
        ]
        fastest_ms = min(began_ms)
        return [each - fastest_ms for each in began_ms]


@asynccontextmanager
async def show(room: str) -> AsyncIterator[tuple[Judge, Viewer, UdpRelay, UdpRelay]]:
    judge, publisher, viewer = Judge(), Publisher(), Viewer()
    engine = judge.engine = EmbeddedEngine(addresses=("127.0.0.1",), sink=judge)
    await engine.start({})
    async with relay() as inbound, relay() as outbound:

        async def publish(offer: str) -> str:
            request = PublishRequest(room, "whip", "ana", inbound.offer(offer))
            return inbound.answer(str((await engine.publish(request)).answer_sdp))

        async def play(offer: str) -> str:
            request = PlayRequest(room, ("whep",), "ben", outbound.offer(offer))
            return outbound.answer(str((await engine.play(request)).answer_sdp))

        try:
            await publisher.publish(publish)

            async def has_stream() -> bool:
                return bool(judge.frames)

            await until(has_stream, "the first frame")
            await viewer.play(play)
            await viewer.more_frames(30)
            yield judge, viewer, inbound, outbound
        finally:
            await asyncio.gather(publisher.close(), viewer.close())
            await engine.close()


async def test_a_stream_recovers_from_five_bad_seconds_and_its_clock_is_within_what_it_states(
    room: str,
) -> None:
    async with show(room) as (judge, viewer, inbound, outbound):
        before = judge.frames[-1].rtp
        inbound.loss = outbound.loss = LOSS

        async def five_seconds_of_media() -> bool:
            return ((judge.frames[-1].rtp - before) % 2**32) / FRAME_TICKS >= LOSSY_FRAMES

        await until(five_seconds_of_media, "frames in spite of the loss", within_s=60)
        inbound.loss = outbound.loss = 0.0
        assert inbound.lost > 50 and outbound.lost > 50
        seen = viewer.frames

        async def picture_is_back() -> bool:
            # As a browser does whose decoder misses something; aiortc's says nothing then.
            await viewer.ask_key_frame()
            return viewer.frames >= seen + 60

        await until(picture_is_back, "the viewer's picture")
        for error_ms, uncertainty_ms in zip(judge.errors_ms(), judge.uncertainties_ms, strict=True):
            assert error_ms <= uncertainty_ms + ANCHOR_STEP_MS
        assert {anchor.epoch for anchor in judge.engine.clock.recent(room)} == {1}
