"""A canvas published by WHIP and played by WHEP, in real Chromium, through the embedded engine."""

import asyncio
import io
import re
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import httpx
import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page

from engagement.domain.media_time import pts_of_rtp
from engagement.settings import Settings
from media.engines import Engines
from media.http import Serving, create_app
from tests.conftest import free_ports
from tests.waiting import until

pytestmark = pytest.mark.browser

CLOCK_MODULUS = 2**32
FRAME_MS = 1000 / 30


class Studio:
    """A media process' API with its engines, in this process, and pages that publish and watch."""

    def __init__(self, engines: Engines, port: int, browser: Browser) -> None:
        self.engines = engines
        self.url = f"http://127.0.0.1:{port}"
        self._browser = browser
        self._pages: list[Page] = []

    async def page(self) -> Page:
        context = await self._browser.new_context()
        page = await context.new_page()
        await page.goto(f"{self.url}/livez")
        await page.add_script_tag(path=Path(__file__).parent / "webrtc_pages.js")
        self._pages.append(page)
        return page

    async def publish(self, room: str, codec: str) -> Page:
        page = await self.page()
        before = self.engines.clock.newest_epoch(room)
        await page.evaluate(f"publish('{self.url}/v1/rooms/{room}/whip', '{codec}')")

        async def has_clock() -> bool:
            return self.engines.clock.newest_epoch(room) > before

        await until(has_clock, "the publisher's first frame")
        return page

    async def watch(self, room: str) -> Page:
        page = await self.page()
        await page.evaluate(f"play('{self.url}/v1/rooms/{room}/whep')")
        return page

    async def close(self) -> None:
        for page in self._pages:
            await page.context.close()


@pytest_asyncio.fixture
async def studio(browser: Browser) -> AsyncIterator[Studio]:
    [port] = free_ports(1)
    settings = Settings(
        auth="dev",
        media_port=port,
        media_addresses=["127.0.0.1"],
        media_rtmp_port=0,
        media_srt_port=0,
        media_recordings=False,
    )
    engines = Engines(settings)
    await engines.start({})
    app = create_app(Serving(settings, engines, not_ready=""))
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    made = Studio(engines, port, browser)
    try:
        yield made
    finally:
        await made.close()
        server.should_exit = True
        await engines.close()
        await serving


async def frames(page: Page, count: int, what: str = "frames on screen") -> list[dict[str, Any]]:
    """So many new frames on a viewer's screen."""
    before = await page.evaluate("frames_.length")

    async def enough() -> bool:
        return bool(await page.evaluate("frames_.length") >= before + count)

    await until(enough, what)
    shown: list[dict[str, Any]] = await page.evaluate(f"frames_.slice({before})")
    return shown


def behind_ms(frame: dict[str, Any], at: str) -> float:
    """How long before `at` the frame was drawn, by the clock that is burned into it."""
    return (frame[at] - frame["clock"] + CLOCK_MODULUS / 2) % CLOCK_MODULUS - CLOCK_MODULUS / 2


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_a_viewer_sees_the_publishers_frames_under_its_own_timestamps(
    studio: Studio, room: str, codec: str
) -> None:
    await studio.publish(room, codec)
    viewer = await studio.watch(room)

    async def has_capture_time() -> bool:
        newest = await viewer.evaluate("frames_.at(-1)")
        return newest is not None and newest["captureMs"] is not None

    await until(has_capture_time, "a frame with captureTime: the browser knows its round trip")
    shown = await frames(viewer, 150)
    anchor = studio.engines.clock.recent(room)[-1]
    # When the publisher captured a frame, by its RTP timestamp and the room's clock, against the
    # clock that is burned into it: later by what a canvas takes to become a captured picture.
    captured = [
        {**each, "rtpMs": anchor.wall_ms + pts_of_rtp(anchor, each["rtp"]) - anchor.pts_ms}
        for each in shown
    ]
    late_ms = sorted(behind_ms(each, "rtpMs") for each in captured)
    assert abs(statistics.median(late_ms)) < FRAME_MS
    assert late_ms[len(late_ms) * 95 // 100] - late_ms[len(late_ms) * 5 // 100] < 2 * FRAME_MS
    glass_ms = sorted(behind_ms(each, "shownMs") for each in shown)
    with_capture = [each for each in shown if each["captureMs"] is not None]
    errors_ms = sorted(behind_ms(each, "captureMs") for each in with_capture)
    count = len(shown)
    print(
        f"\n{codec}: glass to glass p50 {glass_ms[count // 2]:.1f} p95"
        f" {glass_ms[count * 95 // 100]:.1f} ms; captureTime on {len(with_capture)} of {count},"
        f" off by {statistics.median(errors_ms):.1f} ms"
    )
    assert len(with_capture) > 0.9 * len(shown)
    assert abs(statistics.median(errors_ms)) < FRAME_MS
    estimator = studio.engines.estimator(room)
    assert estimator.publisher_offset_ms is not None, "the publisher's clock is known"
    got = await viewer.evaluate("inbound()")
    assert got["packetsLost"] == 0


async def test_when_the_publisher_is_killed_and_comes_back_its_viewers_recover(
    studio: Studio, room: str
) -> None:
    first = await studio.publish(room, "h264")
    viewer = await studio.watch(room)
    await frames(viewer, 30)
    await first.context.close()
    await studio.publish(room, "h264")
    back_s = time.monotonic()
    later = await frames(viewer, 60, "frames of the new epoch")
    print(f"\n60 frames {time.monotonic() - back_s:.2f} s after the publisher's first")
    clock = studio.engines.clock
    assert clock.newest_epoch(room) == 2
    newest = clock.from_rtp(room, "video", later[-1]["rtp"])
    assert newest is not None and 0 < newest.pts_ms < 60_000
    epochs = [(each.epoch, each.ended) for each in clock.recent(room)]
    assert (1, True) in epochs and epochs.index((1, True)) < epochs.index((2, False))


async def test_what_is_published_is_packaged_as_hls(studio: Studio, room: str) -> None:
    await studio.publish(room, "h264")
    playlist_url = f"{studio.url}/v1/rooms/{room}/hls/index.m3u8"
    async with httpx.AsyncClient(timeout=20) as http:
        playlist = (await http.get(playlist_url)).raise_for_status().text
        [header] = re.findall(r'EXT-X-MAP:URI="([^"]+)"', playlist)
        segments = [line for line in playlist.splitlines() if line and line[0] != "#"]
        names = [header, *segments]
        parts = [(await http.get(urljoin(playlist_url, name))).content for name in names]
    assert "#EXT-X-PART:" in playlist and "#EXT-X-PROGRAM-DATE-TIME:" in playlist
    with av.open(io.BytesIO(b"".join(parts))) as media:
        assert {stream.codec_context.name for stream in media.streams} == {"h264", "opus"}
        pictures = sum(1 for _ in media.decode(video=0))
    assert pictures > 20, "a segment that a decoder takes"
