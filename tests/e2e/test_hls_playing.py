"""hls.js in real Chromium plays what is packaged: on the right frame, near the live edge."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from media.hls import bounds
from tests.e2e.hls_stage import FPS, Host, Stage, on_air, stage
from tests.waiting import until

pytestmark = pytest.mark.browser

FRAME_MS = 1000 / FPS
SEEN_MIN = 200
"""Frames that a test looks at: seven seconds."""


async def player(browser: Browser, staged: Stage, url: str, **options: Any) -> Page:
    """A page that plays a playlist."""
    page = await browser.new_page()
    await page.goto(staged.url)
    await page.evaluate("([url, options]) => play(url, options)", [url, options])
    return page


async def frames(page: Page, count: int = SEEN_MIN) -> list[dict[str, Any]]:
    """What the page has shown, once it is so much since the last call."""
    await page.evaluate("seen.length = 0")

    async def enough() -> bool:
        return int(await page.evaluate("seen.length")) >= count

    await until(enough, f"{count} frames", 60)
    shown: list[dict[str, Any]] = await page.evaluate("seen")
    return shown


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def settled(page: Page) -> None:
    """The player has shown its first seconds, in which it catches up with the live edge."""
    await frames(page, 3 * FPS)


async def test_the_date_and_the_media_time_are_those_of_the_frame_on_screen(
    browser: Browser,
) -> None:
    async with stage() as staged, on_air(Host(staged.packager)) as host:
        page = await player(browser, staged, staged.live())
        await settled(page)
        shown = await frames(page)
        dates = [f["date"] - host.began_ms - f["burned"] for f in shown if f["date"]]
        assert len(dates) >= SEEN_MIN * 0.9
        assert abs(percentile(dates, 0.5)) <= 2 and max(map(abs, dates)) <= FRAME_MS / 2
        exact = [f["pts"] - f["burned"] for f in shown if f["pts"] is not None]
        assert len(exact) >= SEEN_MIN * 0.9 and max(map(abs, exact)) <= 2
        behind = [f["wall"] - host.began_ms - f["burned"] for f in shown]
        print(
            f"date - burned {percentile(dates, 0.05):.1f}/{percentile(dates, 0.5):.1f}/"
            f"{percentile(dates, 0.95):.1f} ms; glass to glass "
            f"{percentile(behind, 0.5):.0f}/{percentile(behind, 0.95):.0f} ms"
        )
        assert percentile(behind, 0.5) < 1000 * (bounds.PART_HOLD_BACK_S + bounds.SEGMENT_S)
        assert await page.evaluate("errors.filter(([, , fatal]) => fatal)") == []
        await page.close()


@pytest.mark.parametrize("late_ms", [15, 180])
async def test_sound_that_arrives_late_moves_no_date(browser: Browser, late_ms: float) -> None:
    async with stage() as staged, on_air(Host(staged.packager, sound_late_ms=late_ms)) as host:
        page = await player(browser, staged, staged.live())
        await settled(page)
        shown = await frames(page, 60)
        dates = [f["date"] - host.began_ms - f["burned"] for f in shown if f["date"]]
        assert abs(percentile(dates, 0.5)) <= 2
        await page.close()


async def test_a_viewer_stays_when_the_host_republishes(browser: Browser) -> None:
    async with stage() as staged:
        async with on_air(Host(staged.packager, epoch=1)):
            page = await player(browser, staged, staged.live())
            await settled(page)
        async with on_air(Host(staged.packager, epoch=2)) as again:

            async def second_epoch() -> bool:
                return bool(await page.evaluate("seen.some((frame) => frame.epoch === 2)"))

            await until(second_epoch, "a frame of the second epoch", 30)
            shown = [f for f in await frames(page, 60) if f["epoch"] == 2 and f["date"]]
            dates = [f["date"] - again.began_ms - f["burned"] for f in shown]
            assert abs(percentile(dates, 0.5)) <= 2
        assert await page.evaluate("errors.filter(([, , fatal]) => fatal)") == []
        await page.close()


async def test_a_recording_is_on_the_right_frame_after_every_seek(
    browser: Browser, tmp_path: Path
) -> None:
    async with stage(tmp_path) as staged:
        host = Host(staged.packager)
        host.encode_ahead(12)
        recorder = staged.packager.recorder
        assert recorder is not None
        await recorder.written()
        url = f"{staged.url}/v1/rooms/demo/vod/1/index.m3u8"
        page = await player(browser, staged, url, lowLatencyMode=False)
        await frames(page, 5)
        for second in (7.3, 1.1, 10.2, 4.0):
            await page.evaluate("(at) => { video.currentTime = at; }", second)

            async def arrived(at: float = second) -> bool:
                last = await page.evaluate("seen.at(-1)")
                return bool(abs(last["media"] - at) < 1)

            await until(arrived, f"a frame at {second} s")
            for shown in await frames(page, 10):
                assert abs(shown["pts"] - shown["burned"]) <= 2
                assert abs(shown["date"] - host.began_ms - shown["burned"]) <= FRAME_MS / 2
        await page.close()
