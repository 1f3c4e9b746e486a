"""Real FFmpeg publishes by RTMP, and WebRTC viewers watch it, with sound."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc.rtp import RtcpPacket, RtcpSrPacket

from engagement.errors import EngagementError
from media.clock_formulas import capture_ms_by_report, unix_ms_of_ntp
from media.engine import PlayRequest
from media.engines import Engines
from media.webrtc.frame_source import NotForWebRtcError
from tests.conftest import free_ports
from tests.engine_settings import settings_of
from tests.integration.test_rtmp_publishers import ffmpeg
from tests.waiting import until
from tests.webrtc_clients import Viewer

RATES = {"video": 90_000, "audio": 48_000}


class Listening(Viewer):
    """A viewer that keeps each track's newest timestamp and sender report."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[str, int] = {}
        self.packets = {"video": 0, "audio": 0}
        self.steps: dict[str, set[int]] = {"video": set(), "audio": set()}
        self.reports: dict[str, tuple[float, int]] = {}
        for receiver in self.connection.getReceivers():
            self._overhear(receiver)

    def _overhear(self, receiver: Any) -> None:
        kind, on_rtp, on_rtcp = receiver._RTCRtpReceiver__kind, *_handlers(receiver)

        async def rtp(packet: Any, arrival_time_ms: int) -> None:
            if kind in self.newest:
                self.steps[kind].add(packet.timestamp - self.newest[kind])
            self.newest[kind] = packet.timestamp
            self.packets[kind] += 1
            await on_rtp(packet, arrival_time_ms)

        async def rtcp(packet: RtcpPacket) -> None:
            if isinstance(packet, RtcpSrPacket):
                info = packet.sender_info
                self.reports[kind] = (unix_ms_of_ntp(info.ntp_timestamp), info.rtp_timestamp)
            await on_rtcp(packet)

        receiver._handle_rtp_packet, receiver._handle_rtcp_packet = rtp, rtcp

    def server_ms(self, kind: str) -> float:
        """When what came last was taken in by the server, by its own account."""
        return capture_ms_by_report(*self.reports[kind], self.newest[kind], RATES[kind])

    async def hears_and_sees(self) -> None:
        """Wait for both tracks and what they say of the clock."""

        async def both() -> bool:
            return min(self.packets.values()) > 50 and len(self.reports) == 2 and self.frames > 10

        await until(both, "picture and sound")


def _handlers(receiver: Any) -> tuple[Any, Any]:
    return receiver._handle_rtp_packet, receiver._handle_rtcp_packet


@asynccontextmanager
async def media(tmp_path: Any) -> AsyncIterator[Engines]:
    [port] = free_ports(1)
    engines = Engines(settings_of(tmp_path, media_rtmp_port=port))
    await engines.start({})
    try:
        yield engines
    finally:
        await engines.close()


def address(engines: Engines, room: str, who: str = "anna") -> str:
    return f"rtmp://127.0.0.1:{engines.rtmp.port}/live/{room}?token=dev:{who}"


async def watch(engines: Engines, room: str) -> Listening:
    async def playable() -> Listening | None:
        viewer = Listening()

        async def exchange(offer: str) -> str:
            grant = await engines.embedded.play(PlayRequest(room, ("whep",), "ben", offer))
            assert grant.answer_sdp is not None
            return grant.answer_sdp

        try:
            await viewer.play(exchange)
        except EngagementError:
            await viewer.close()
            return None
        return viewer

    found = await until(playable, f"a picture in {room}")
    assert found is not None
    return found


async def test_a_stream_by_rtmp_is_seen_and_heard_over_webrtc_on_the_rooms_clock(
    tmp_path: Any,
) -> None:
    async with media(tmp_path) as engines, ffmpeg(address(engines, "demo")):
        viewer = await watch(engines, "demo")
        try:
            await viewer.hears_and_sees()
            assert viewer.steps["audio"] == {960}, "20 ms of 48 kHz each"
            # Sound waits for a packet of the encoder's, and for the transcoder's.
            assert abs(viewer.server_ms("video") - viewer.server_ms("audio")) < 150
            placed = engines.clock.from_rtp("demo", "video", viewer.newest["video"])
            assert placed is not None
            assert placed.server_ms == pytest.approx(viewer.server_ms("video"), abs=40)
        finally:
            await viewer.close()


async def test_viewers_stay_over_a_kill_and_a_new_beginning(tmp_path: Any) -> None:
    async with media(tmp_path) as engines:
        async with ffmpeg(address(engines, "demo")) as first:
            viewer = await watch(engines, "demo")
            await viewer.hears_and_sees()
            await first.killed()
        try:
            async with ffmpeg(address(engines, "demo")):

                async def next_epoch() -> bool:
                    now = engines.clock.now("demo")
                    return now is not None and now.epoch == 2

                await until(next_epoch, "the next epoch")
                await viewer.more_frames(30)
                placed = engines.clock.from_rtp("demo", "video", viewer.newest["video"])
                assert placed is not None and placed.epoch == 2 and placed.pts_ms > 0
        finally:
            await viewer.close()


async def test_b_frames_are_refused_with_what_to_set_in_the_encoder(tmp_path: Any) -> None:
    options = ("-tune", "film", "-bf", "2", "-x264-params", "rc-lookahead=2:sync-lookahead=0")
    async with media(tmp_path) as engines, ffmpeg(address(engines, "demo"), *options):

        async def refused() -> NotForWebRtcError | None:
            try:
                await engines.embedded.play(PlayRequest("demo", ("whep",), "ben", "v=0"))
            except NotForWebRtcError as error:
                return error
            except EngagementError:
                return None
            return None

        refusal = await until(refused, "a refusal")
        assert refusal is not None
        assert refusal.code == "b_frames" and "-bf 0" in refusal.detail
        assert (await engines.packager.playlist("demo")).is_current


async def test_a_viewer_who_waits_sees_whoever_publishes_next(tmp_path: Any) -> None:
    async with media(tmp_path) as engines:
        async with ffmpeg(address(engines, "demo")) as first:
            viewer = await watch(engines, "demo")
            await viewer.more_frames(5)
            await first.killed()

        async def gone() -> bool:
            return engines.publishing() == []

        await until(gone, "the first one's end")
        try:
            async with ffmpeg(address(engines, "demo", "carla")):
                await viewer.more_frames(10)
        finally:
            await viewer.close()
