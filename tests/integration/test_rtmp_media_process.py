"""The media process as a whole: FFmpeg publishes by RTMP, the clock topic and HLS tell of it."""

import asyncio
from pathlib import Path

import m3u8
import pytest

from engagement.settings import Settings
from tests.conftest import free_ports
from tests.integration.test_rtmp_publishers import ffmpeg
from tests.media_process import ClockReader, Media, media
from tests.waiting import until

pytestmark = pytest.mark.engines


async def playlist(process: Media, room: str) -> m3u8.M3U8:
    async def there() -> m3u8.M3U8 | None:
        answer = await process.http.get(f"/v1/rooms/{room}/hls/index.m3u8", timeout=20)
        return m3u8.loads(answer.text) if answer.status_code == 200 else None

    found = await until(there, f"a playlist of {room}")
    assert found is not None
    return found


async def test_a_stream_by_rtmp_has_a_clock_a_playlist_and_a_recording(
    engines: Settings, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    with media(
        engines, [], ENGAGEMENT_MEDIA_RTMP_PORT=str(port), ENGAGEMENT_AUTH="dev",
        ENGAGEMENT_DATA_DIR=str(tmp_path),
    ) as process:  # fmt: skip
        await process.ready()
        room = f"by-rtmp-{port}"
        url = f"rtmp://127.0.0.1:{port}/live/{room}?token=dev:anna"
        async with ClockReader(engines, room) as clock, ffmpeg(url) as publisher:
            opened = await clock.kind("clock.epoch.opened")
            assert opened["data"]["engine"] == "rtmp"
            live = await playlist(process, room)
            [first, *_] = live.segments
            now = (await process.http.get(f"/v1/rooms/{room}/clock")).json()
            assert now["running"] and now["now"]["epoch"] == 1
            date_ms = first.program_date_time.timestamp() * 1000
            anchor = now["anchors"][0]
            # The line may have moved since by less than what is announced (ADR 0005).
            anchored_ms = anchor["wall_ms"] + anchor["offset_ms"] - anchor["pts_ms"]
            assert abs(date_ms - anchored_ms) < 100
            other = f"rtmp://127.0.0.1:{port}/live/{room}?token=dev:ben"
            async with ffmpeg(other) as intruder:
                assert "has a publisher already" in await intruder.ended()
            await publisher.killed()
            closed = await clock.kind("clock.epoch.closed")
            assert closed["data"]["epoch"] == 1

        async def recorded() -> bool:
            items = (await process.http.get(f"/v1/rooms/{room}/vod")).json()["items"]
            return bool(items) and not items[0]["is_live"]

        await until(recorded, "a recording that is over")
        vod = await process.http.get(f"/v1/rooms/{room}/vod/1/index.m3u8")
        assert vod.status_code == 200 and m3u8.loads(vod.text).is_endlist


async def test_a_port_that_is_taken_costs_nothing_but_rtmp(
    engines: Settings, tmp_path: Path
) -> None:
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    with media(
        engines, [], ENGAGEMENT_MEDIA_RTMP_PORT=str(port), ENGAGEMENT_DATA_DIR=str(tmp_path)
    ) as process:
        await process.ready()
        assert (await process.http.get("/readyz")).status_code == 200
    taken.close()
