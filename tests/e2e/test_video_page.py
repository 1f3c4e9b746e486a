"""The viewer page with real video, published by WHIP: WebRTC and LL-HLS side by side."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from engagement.host_video.encoder import sound_loop
from engagement.host_video.picture import MIKA, HostPicture
from engagement.host_video.take import Take
from tests.e2e.test_real_stack import Stack
from tests.e2e.watching import Screens
from tests.faults.instance import Instance
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.engines]

PANES = ("webrtc", "hls")
WAIT_MS = 30_000


class Studio(Stack):
    """A live room whose host publishes."""

    def __init__(self, instance: Instance, http: aiohttp.ClientSession) -> None:
        super().__init__(instance, http, host="mika")
        self._whip = f"http://127.0.0.1:{instance.ports.media}/v1/rooms/{self.room}/whip"
        self._picture, self._sound = HostPicture(MIKA), sound_loop()
        self._take: Take | None = None
        self._takes = 0

    async def open(self) -> None:
        body = {"title": "On video", "host": self.host}
        headers = {"X-User": self.host}
        url = f"{self.url}/v1/rooms/{self.room}"
        async with self._http.put(url, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()

    async def publish(self) -> None:
        """Begin a take, instead of the one that runs."""
        await self.stop()
        self._takes += 1
        self._take = Take(self._picture, self._sound, self._takes)
        await self._take.publish(self._whip, {"X-User": self.host})

    async def stop(self) -> None:
        """Off the air."""
        if self._take is not None:
            await self._take.close()
            self._take = None


@pytest_asyncio.fixture
async def studio(instance: Instance, static: Path) -> AsyncIterator[Studio]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        assert static.is_dir(), "the pages are built"
        studio = Studio(instance, http)
        await studio.open()
        yield studio
        await studio.stop()


async def on_video(page: Page, studio: Studio) -> Screens:
    """The page, when both panes play."""
    await page.add_init_script(f"localStorage.setItem('engagement.user', '{uuid.uuid4().hex[:8]}')")
    await page.goto(f"{studio.url}/rooms/{studio.room}")
    for transport in PANES:
        pane = page.locator(f'.pane[data-pane="{transport}"]')
        await expect(pane).to_have_attribute("data-playing", "playing", timeout=WAIT_MS)
        video = pane.locator(f'video[data-transport="{transport}"]')
        await expect(video).to_have_js_property("videoWidth", 640, timeout=WAIT_MS)
        await expect(video).to_have_attribute("data-epoch", "1", timeout=WAIT_MS)
    return Screens(page)


async def test_a_comment_appears_with_its_frame_over_webrtc_and_hls(
    page: Page, studio: Studio
) -> None:
    await studio.publish()
    screens = await on_video(page, studio)
    ids = [await studio.post(f"hello {n}") for n in range(4)]
    shown = {(one.pane, one.id): one for one in await screens.until_shown(ids)}
    for event_id in ids:
        for pane in range(2):
            element = screens.comment(pane, event_id)
            stamp = float(await element.get_attribute("data-media-pts") or "nan")
            playhead = float(await element.get_attribute("data-playhead") or "nan")
            assert playhead >= stamp, "released before its frame"
        assert shown[1, event_id].at_ms > shown[0, event_id].at_ms, "HLS is further behind"


async def test_a_host_who_begins_anew_is_followed_on_both(page: Page, studio: Studio) -> None:
    await studio.publish()
    screens = await on_video(page, studio)
    before = await studio.post("first take")
    await screens.until_shown([before])
    await studio.publish()
    for transport in PANES:
        video = page.locator(f'video[data-transport="{transport}"]')
        await expect(video).to_have_attribute("data-epoch", "2", timeout=WAIT_MS)
    after = await studio.post("second take")
    await screens.until_shown([after])
    for pane in range(2):
        assert [one for one in await screens.ids(pane) if one in (before, after)] == [before, after]


async def test_a_room_gets_its_video_when_the_host_comes(page: Page, studio: Studio) -> None:
    await page.goto(f"{studio.url}/rooms/{studio.room}")
    await expect(page.locator('.pane[data-pane="synthetic"]')).to_have_count(2)
    await studio.publish()
    await expect(page.locator('.pane[data-pane="hls"]')).to_have_count(1, timeout=WAIT_MS)
    await expect(page.locator('.pane[data-pane="webrtc"]')).to_have_attribute(
        "data-playing", "playing", timeout=WAIT_MS
    )


async def test_the_replay_plays_the_recording_and_shows_each_event_with_its_frame(
    page: Page, studio: Studio
) -> None:
    await studio.publish()
    screens = await on_video(page, studio)
    ids = [await studio.post(f"hello {n}") for n in range(3)]
    await screens.until_shown(ids)
    await studio.publish()
    video = page.locator('video[data-transport="hls"]')
    await expect(video).to_have_attribute("data-epoch", "2", timeout=WAIT_MS)
    late = await studio.post("second take")
    await screens.until_shown([late])
    await studio.stop()

    await page.goto(f"{studio.url}/rooms/{studio.room}/replay")
    video = page.locator('.pane[data-pane="vod"] video[data-transport="vod"]')
    await expect(video).to_have_js_property("videoWidth", 640, timeout=WAIT_MS)
    replay = Screens(page)
    await replay.until_shown([*ids, late], panes=[0])
    for event_id in [*ids, late]:
        element = replay.comment(0, event_id)
        stamp = float(await element.get_attribute("data-media-pts") or "nan")
        playhead = float(await element.get_attribute("data-playhead") or "nan")
        assert playhead >= stamp, "released before its frame"
    shown = [one for one in await replay.ids(0) if one in (*ids, late)]
    assert shown == [*ids, late]
    await expect(video).to_have_attribute("data-epoch", "2")

    await page.get_by_label("Position").fill("0")
    await expect(replay.comment(0, late)).to_have_count(0)
    await expect(video).to_have_attribute("data-epoch", "1", timeout=WAIT_MS)

    async def again() -> bool:
        return (await replay.ids(0)).count(late) == 2

    await until(again, "the last comment for the second time")
    await page.get_by_label("Position").fill("9999")
    for event_id in [*ids, late]:
        await expect(replay.comment(0, event_id)).to_have_count(1, timeout=WAIT_MS)


async def test_a_host_publishes_from_the_page_and_is_seen(page: Page, studio: Studio) -> None:
    desk = await page.context.new_page()
    await desk.goto(f"{studio.url}/rooms/{studio.room}/host")
    broadcast = desk.locator(".broadcast")
    await broadcast.get_by_role("button", name="Test picture").click()
    state = broadcast.get_by_role("status")
    await expect(state).to_contain_text("On the air", timeout=WAIT_MS)
    screens = await on_video(page, studio)
    seen = await studio.post("we see you")
    await screens.until_shown([seen])
    await expect(state).to_contain_text("640 × 360", timeout=WAIT_MS)

    await studio.publish()
    await expect(state).to_have_text("Somebody else publishes in this room now", timeout=WAIT_MS)
    await expect(broadcast.get_by_role("button", name="Test picture")).to_be_visible()
    for transport in PANES:
        video = page.locator(f'video[data-transport="{transport}"]')
        await expect(video).to_have_attribute("data-epoch", "2", timeout=WAIT_MS)
    await desk.close()
