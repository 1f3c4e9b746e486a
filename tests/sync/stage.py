"""A real instance with a host on the air, and viewers in Chromium."""

import asyncio
import random
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from playwright.async_api import Browser, Page, async_playwright

from engagement.host_video.encoder import sound_loop
from engagement.host_video.picture import MIKA, HostPicture
from engagement.host_video.take import Take
from tests.conftest import free_ports
from tests.e2e.conftest import CHROMIUM_FLAGS, ROOT, build_pages
from tests.faults.instance import Instance, Ports
from tests.sync.clocks import WrongClock
from tests.waiting import until

WEBRTC_DELAY_MS: Final = 50
"""What viewers ask of the browser's jitter buffer: an event takes some tens of ms to them."""


class Stage:
    """One room: its host, its events, its viewers."""

    def __init__(
        self, gateway: str, media: str, http: aiohttp.ClientSession, browser: Browser, script: Path
    ) -> None:
        self.room = f"sync-{uuid.uuid4().hex[:8]}"
        self.gateway, self.media = gateway, media
        self.clock = WrongClock()
        self.take: Take | None = None
        self.began_ms: dict[int, float] = {}
        """Wall time of each take's first frame, by a clock that nobody has set."""
        self._takes = 0
        self._http, self._browser, self._script = http, browser, script
        self._pages: list[Page] = []
        self._picture, self._sound = HostPicture(MIKA), sound_loop()

    async def open(self) -> None:
        """The room, and its host on the air."""
        body = {"title": "Sync", "host": "mika"}
        url = f"{self.gateway}/v1/rooms/{self.room}"
        async with self._http.put(url, json=body, headers={"X-User": "mika"}) as answer:
            answer.raise_for_status()
        await self.publish()

    async def publish(self) -> None:
        """Begin a take, instead of the one that runs; returns when its clock is known."""
        if self.take is not None:
            await self.take.close()
        before = await self._epoch()
        self._takes += 1
        take = self.take = Take(self._picture, self._sound, self._takes, clock=self.clock)
        await take.publish(f"{self.media}/v1/rooms/{self.room}/whip", {"X-User": "mika"})

        async def has_clock() -> bool:
            return await self._epoch() > before

        await until(has_clock, "the take's clock at the gateway")
        self.began_ms[self._takes] = take.pictures.captured_ms - take.pictures.at_ms

    async def _epoch(self) -> int:
        async with self._http.get(f"{self.gateway}/v1/rooms/{self.room}") as answer:
            media = (await answer.json())["media"]
            return media["epoch"] if media else 0

    async def comment(self) -> str:
        """An event; its id."""
        event_id = str(uuid.uuid4())
        request = {"id": event_id, "type": "comment.post", "data": {"text": "now"}}
        url = f"{self.gateway}/v1/rooms/{self.room}/events"
        headers = {"X-User": f"viewer-{random.randrange(50)}"}
        async with self._http.post(url, json=request, headers=headers) as answer:
            answer.raise_for_status()
        return event_id

    async def comments(self, count: int, per_s: float) -> list[str]:
        """So many events at random times."""
        ids = []
        for _ in range(count):
            await asyncio.sleep(random.expovariate(per_s))
            ids.append(await self.comment())
        return ids

    async def give(self, gift: str) -> dict[str, Any]:
        """A gift from somebody with coins; the fact of it."""
        deposit = {"id": str(uuid.uuid4()), "coins": 10_000}
        service = {"X-User": "platform", "X-Role": "service"}
        url = f"{self.gateway}/v1/accounts/giver/deposits"
        async with self._http.post(url, json=deposit, headers=service) as answer:
            answer.raise_for_status()
        event_id = str(uuid.uuid4())
        request = {"id": event_id, "type": "gift.send", "data": {"gift": gift, "count": 1}}
        url = f"{self.gateway}/v1/rooms/{self.room}/events"
        headers = {"X-User": "giver", "Prefer": "wait=10"}
        async with self._http.post(url, json=request, headers=headers) as answer:
            [result] = (await answer.json())["results"]
        if result["status"] != "paid":
            raise RuntimeError(f"the gift was not paid: {result}")

        async def told() -> dict[str, Any] | None:
            url = f"{self.gateway}/v1/rooms/{self.room}/timeline?types=gift.sent&limit=500"
            async with self._http.get(url) as answer:
                items: list[dict[str, Any]] = (await answer.json())["items"]
            return next((each for each in items if each["causationid"] == event_id), None)

        found = await until(told, "the gift's fact")
        assert found is not None
        return found

    async def playlist(self) -> str:
        """The live playlist."""
        async with self._http.get(f"{self.media}/v1/rooms/{self.room}/hls/index.m3u8") as answer:
            return await answer.text()

    async def timeline(self) -> list[dict[str, Any]]:
        """The room's comments, by stamp."""
        items: list[dict[str, Any]] = []
        after = ""
        while True:
            url = f"{self.gateway}/v1/rooms/{self.room}/timeline?types=comment.posted&limit=500"
            async with self._http.get(url + after) as answer:
                page = await answer.json()
            items += page["items"]
            if page["next"] is None:
                return items
            after = f"&after={page['next']}"

    async def recorded(self, epochs: Sequence[int]) -> None:
        """Wait until the recordings of these epochs are complete."""

        async def complete() -> bool:
            url = f"{self.media}/v1/rooms/{self.room}/vod"
            async with self._http.get(url) as answer:
                items = (await answer.json())["items"]
            return {item["epoch"] for item in items if not item["is_live"]} >= set(epochs)

        await until(complete, "the recordings")

    async def _page(self) -> Page:
        context = await self._browser.new_context(viewport={"width": 1300, "height": 420})
        page = await context.new_page()
        self._pages.append(page)
        # A page of the gateway's: browsers keep pages that come from nowhere off this machine.
        await page.goto(f"{self.gateway}/livez")
        await page.add_script_tag(path=ROOT / "web/node_modules/hls.js/dist/hls.min.js")
        await page.add_script_tag(path=self._script)
        return page

    async def watch(self, transport: str, delay_ms: int = WEBRTC_DELAY_MS) -> Page:
        """A viewer; returns when it sees frames and knows their media time."""
        page = await self._page()
        options = {
            "gateway": self.gateway,
            "media": self.media,
            "room": self.room,
            "user": f"eyes-{uuid.uuid4().hex[:6]}",
            "transport": transport,
            "delayMs": delay_ms,
        }
        await page.evaluate("(options) => watch(options)", options)

        async def sees() -> bool:
            return bool(await page.evaluate("frames_.length > 5"))

        await until(sees, f"frames over {transport}")
        return page

    async def replay(self, epochs: str, events: Sequence[dict[str, Any]]) -> Page:
        """A viewer of the recording of these epochs."""
        page = await self._page()
        url = f"{self.media}/v1/rooms/{self.room}/vod/{epochs}/index.m3u8"
        await page.evaluate("(what) => replay(what)", {"url": url, "events": list(events)})

        async def plays() -> bool:
            return bool(await page.evaluate("video.currentTime > 0.2"))

        await until(plays, "the recording")
        return page

    async def close(self) -> None:
        """Everybody leaves."""
        if self.take is not None:
            await self.take.close()
        for page in self._pages:
            await page.context.close()


def bundled(directory: Path) -> Path:
    """The page's script with the client library in it."""
    pages = build_pages()
    pages.ensure_built(ROOT)
    out = directory / "sync.js"
    web = ROOT / "web"
    command = [
        *pages.find_node().node, str(web / "node_modules/esbuild/bin/esbuild"),
        str(ROOT / "tests/sync/page.js"), "--bundle", "--format=iife", f"--outfile={out}",
        f"--alias:@live-engagement/client={web / 'client/src/index.ts'}", "--log-level=warning",
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=web, timeout=60)
    return out


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """As the tests of pages run it."""
    async with async_playwright() as playwright:
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
        browser = await playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def stage(instance: Instance, browser: Browser) -> AsyncIterator[Stage]:
    """A room of this instance with its host on the air."""
    with tempfile.TemporaryDirectory() as scratch:
        script = await asyncio.to_thread(bundled, Path(scratch))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
            gateway = f"http://127.0.0.1:{instance.ports.gateway}"
            media = f"http://127.0.0.1:{instance.ports.media}"
            made = Stage(gateway, media, http, browser, script)
            try:
                await made.open()
                yield made
            finally:
                await made.close()


@asynccontextmanager
async def own_instance(first_port: int | None = None) -> AsyncIterator[Instance]:
    """An instance in a directory of its own, gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="engagement-sync-"))
    root.chmod(0o755)
    if first_port is None:
        gateway, media, kafka, _, database = free_ports(5)
        ports = Ports(gateway=gateway, media=media, kafka=kafka, database=database)
    else:
        ports = Ports(first_port, first_port + 1, first_port + 2, first_port + 4)
    off = {"ENGAGEMENT_MEDIA_RTMP_PORT": "0", "ENGAGEMENT_MEDIA_SRT_PORT": "0"}
    instance = Instance(root, ports, **off)
    began_s = time.monotonic()
    try:
        await instance.start(1)
        print(f"the instance is ready after {time.monotonic() - began_s:.1f} s", flush=True)
        yield instance
    finally:
        await asyncio.to_thread(instance.stop)
        shutil.rmtree(root, ignore_errors=True)
