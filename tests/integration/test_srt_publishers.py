"""Real FFmpeg publishes by SRT: beside RTMP, with wrong keys, killed and begun anew."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from engagement.errors import EngagementError, UnavailableError
from media.engine import ClockMoved, MediaEvent
from media.engines import Engines
from media.srt import library
from media.srt.library import Library
from tests.conftest import free_ports
from tests.engine_settings import settings_of
from tests.integration.test_rtmp_publishers import ffmpeg
from tests.integration.test_rtmp_to_whep import Listening, watch
from tests.srt_client import SrtPublisher
from tests.waiting import until


class Studio:
    """A media process' engines, and everything that happened."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.happened: list[MediaEvent] = []

    def srt(self, room: str, who: str = "anna") -> str:
        stream_id = quote(f"#!::r={room},m=publish,s=dev:{who}", safe="")
        return f"srt://127.0.0.1:{self.engines.srt.port}?streamid={stream_id}&pkt_size=1316"

    def rtmp(self, room: str, who: str = "anna") -> str:
        return f"rtmp://127.0.0.1:{self.engines.rtmp.port}/live/{room}?token=dev:{who}"

    def kinds(self, room: str) -> list[str]:
        return [
            event.event.kind
            for event in self.happened
            if isinstance(event, ClockMoved) and event.room == room
        ]

    async def publishing(self, *rooms: str) -> None:
        async def so() -> bool:
            return sorted(self.engines.publishing()) == sorted(rooms)

        await until(so, f"publishers in {rooms}")

    async def packaged(self, room: str) -> None:
        async def there() -> bool:
            try:
                playlist = await self.engines.packager.playlist(room)
            except EngagementError:
                return False
            return b"#EXTINF" in playlist.text

        await until(there, f"a playlist of {room}")

    async def epoch(self, room: str, number: int) -> None:
        async def begun() -> bool:
            now = self.engines.clock.now(room)
            return now is not None and now.epoch == number

        await until(begun, f"epoch {number} of {room}")


@asynccontextmanager
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    rtmp, srt = free_ports(2)
    engines = Engines(settings_of(tmp_path, media_rtmp_port=rtmp, media_srt_port=srt))
    await engines.start({})
    made = Studio(engines)
    events = engines.events()

    async def listen() -> None:
        async for event in events:
            made.happened.append(event)

    listening = asyncio.create_task(listen())
    try:
        yield made
    finally:
        await engines.close()
        await listening


def by_srt(url: str, *options: str) -> Any:
    """FFmpeg that publishes by SRT."""
    return ffmpeg(url, *options, container="mpegts")


async def test_rtmp_and_srt_publish_to_two_rooms_at_once(tmp_path: Path) -> None:
    async with studio(tmp_path) as s, by_srt(s.srt("one")), ffmpeg(s.rtmp("two", "ben")):
        await s.publishing("one", "two")
        await asyncio.gather(s.packaged("one"), s.packaged("two"))
        for room in ("one", "two"):
            assert s.kinds(room)[0] == "clock.epoch.opened"
            assert s.kinds(room).count("clock.epoch.opened") == 1


async def test_two_rooms_share_the_port_and_a_room_has_one_publisher(tmp_path: Path) -> None:
    async with studio(tmp_path) as s, by_srt(s.srt("one")), by_srt(s.srt("two", "ben")):
        await s.publishing("one", "two")
        async with by_srt(s.srt("one", "ben")) as intruder:
            assert await intruder.ended() != ""
        async with ffmpeg(s.rtmp("one", "ben")) as intruder:
            assert "has a publisher already" in await intruder.ended()
        await s.packaged("one")
        assert sorted(s.engines.publishing()) == ["one", "two"]


@pytest.mark.parametrize("who", ["", "ben:viewer", "?"])
async def test_a_wrong_key_is_refused_in_the_handshake(tmp_path: Path, who: str) -> None:
    async with studio(tmp_path) as s, by_srt(s.srt("demo", who)) as publisher:
        assert await publisher.ended() != ""
        assert publisher.process.returncode != 0
        assert s.happened == [] and s.engines.publishing() == []


async def test_viewers_stay_over_a_kill_and_a_new_beginning(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        async with by_srt(s.srt("demo")) as first:
            viewer: Listening = await watch(s.engines, "demo")
            await viewer.hears_and_sees()
            await first.killed()
        try:
            # At once: the server has not noticed that the first is gone.
            async with by_srt(s.srt("demo")):
                await s.epoch("demo", 2)
                await viewer.more_frames(30)
                placed = s.engines.clock.from_rtp("demo", "video", viewer.newest["video"])
                assert placed is not None and placed.epoch == 2
        finally:
            await viewer.close()


async def test_a_publisher_goes_over_from_rtmp_to_srt(tmp_path: Path) -> None:
    async with studio(tmp_path) as s, ffmpeg(s.rtmp("demo")) as first:
        await s.packaged("demo")
        async with by_srt(s.srt("demo")):
            assert "in another way" in await first.ended() or first.process.returncode != 0
            await s.epoch("demo", 2)
            reasons = [
                e.event.reason
                for e in s.happened
                if isinstance(e, ClockMoved) and e.event.kind == "clock.epoch.closed"
            ]
            assert reasons == ["engine_switch"]


async def test_junk_and_a_crowd_at_the_door_cost_a_running_stream_nothing(tmp_path: Path) -> None:
    async with studio(tmp_path) as s, by_srt(s.srt("demo")):
        await s.packaged("demo")
        port, noise = s.engines.srt.port, random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
            for _ in range(2_000):
                # With the first bit set it is a control packet, a handshake by its type.
                head = noise.choice((b"", b"\x80\x00\x00\x00", b"\x00\x00\x00\x01"))
                junk.sendto(head + noise.randbytes(noise.randrange(64)), ("127.0.0.1", port))
        address = f"srt://127.0.0.1:{port}?streamid=publish%3Ademo%3Awrong"
        crowd = [SrtPublisher(address) for _ in range(60)]
        refused = await asyncio.gather(
            *(caller.publish() for caller in crowd), return_exceptions=True
        )
        assert all(isinstance(outcome, ConnectionError) for outcome in refused)
        await asyncio.gather(*(caller.close() for caller in crowd))
        assert s.engines.publishing() == ["demo"]
        assert s.kinds("demo").count("clock.epoch.opened") == 1


async def test_another_codec_is_let_go(tmp_path: Path) -> None:
    async with studio(tmp_path) as s, by_srt(s.srt("demo"), "-c:v", "mpeg2video") as publisher:
        await publisher.ended()
        await s.publishing()
        assert s.happened == []


async def test_without_libsrt_everything_else_runs_and_the_log_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library.Library.__init__, "__defaults__", (("libsrt-none.so",),))
    with pytest.raises(UnavailableError, match="apt-get install libsrt"):
        Library()
    async with studio(tmp_path) as s, ffmpeg(s.rtmp("demo")):
        await s.publishing("demo")


async def test_a_port_that_is_taken_costs_nothing_but_srt(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        [rtmp] = free_ports(1)
        second = Engines(
            settings_of(tmp_path, media_rtmp_port=rtmp, media_srt_port=s.engines.srt.port)
        )
        await second.start({})
        try:
            async with ffmpeg(f"rtmp://127.0.0.1:{rtmp}/live/demo?token=dev:anna"):

                async def there() -> bool:
                    return second.publishing() == ["demo"]

                await until(there, "a publisher by RTMP")
        finally:
            await second.close()
