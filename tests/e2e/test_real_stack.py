"""The pages on the whole real thing: Kafka, PostgreSQL, gateway, workers, media clock."""

import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.e2e.watching import DELAYS_MS, Screens
from tests.faults.instance import Instance
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.engines]

EARLY_MS = 10.0
"""The browser knows the server's clock to half a round trip."""


class Stack:
    """A live room of a real instance, spoken to by HTTP."""

    def __init__(self, instance: Instance, http: aiohttp.ClientSession, host: str = "ana") -> None:
        self.room = f"e2e-{uuid.uuid4().hex[:8]}"
        self.host = host
        self.url = f"http://{instance.gateways(1)[0]}"
        self._media = f"http://127.0.0.1:{instance.ports.media}/v1/rooms/{self.room}"
        self._rooms = f"{self.url}/v1/rooms/{self.room}"
        self._http = http

    async def open(self) -> None:
        body = {"title": "Real room", "host": self.host}
        async with self._http.put(self._rooms, json=body, headers={"X-User": self.host}) as answer:
            assert answer.status in (200, 201), await answer.text()
        await self.command(do="start")

        async def has_clock() -> Any:
            async with self._http.get(self._rooms) as answer:
                return (await answer.json())["media"]

        await until(has_clock, "the gateway knows the room's clock")

    async def command(self, **command: Any) -> None:
        """Have the room's synthetic host do something."""
        async with self._http.post(f"{self._media}/synthetic", json=command) as answer:
            assert answer.status == 200, await answer.text()

    async def post(self, text: str, user: str = "ben") -> str:
        """A comment by HTTP; its id."""
        request = {"id": str(uuid.uuid4()), "type": "comment.post", "data": {"text": text}}
        headers = {"X-User": user}
        async with self._http.post(
            f"{self._rooms}/events", json=request, headers=headers
        ) as answer:
            assert answer.status == 202, await answer.text()
            [result] = (await answer.json())["results"]
            assert result["status"] == "accepted"
        return request["id"]  # type: ignore[return-value]

    async def post_gift(self, gift: str, user: str, count: int = 1) -> str:
        """A gift by HTTP, paid; its id."""
        data = {"gift": gift, "count": count}
        request = {"id": str(uuid.uuid4()), "type": "gift.send", "data": data}
        headers = {"X-User": user, "Prefer": "wait=10"}
        async with self._http.post(
            f"{self._rooms}/events", json=request, headers=headers
        ) as answer:
            assert answer.status == 202, await answer.text()
            [result] = (await answer.json())["results"]
            assert result["status"] == "paid", result
        return str(request["id"])

    async def deposit(self, user: str, coins: int) -> None:
        """Coins for somebody, from the platform."""
        body = {"id": str(uuid.uuid4()), "coins": coins}
        headers = {"X-User": "platform", "X-Role": "service"}
        url = f"{self.url}/v1/accounts/{user}/deposits"
        async with self._http.post(url, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()

    async def coins(self, user: str) -> int:
        """What is in somebody's wallet."""
        url = f"{self.url}/v1/accounts/{user}"
        async with self._http.get(url, headers={"X-User": user}) as answer:
            return int((await answer.json())["coins"])

    async def battle(self, rival: "Stack", duration_s: int) -> None:
        """A battle against another room, which accepts."""
        battle = f"{self.url}/v1/battles/pk-{uuid.uuid4().hex[:8]}"
        body = {"rooms": [self.room, rival.room], "duration_s": duration_s, "punish_s": 30}
        async with self._http.put(battle, json=body, headers={"X-User": self.host}) as answer:
            assert answer.status == 201, await answer.text()
        headers = {"X-User": rival.host}
        async with self._http.post(f"{battle}/accept", headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def timeline(self) -> list[dict[str, Any]]:
        async with self._http.get(f"{self._rooms}/timeline?limit=1000") as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items


@pytest_asyncio.fixture
async def stack(instance: Instance, static: Path) -> AsyncIterator[Stack]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        assert static.is_dir(), "the pages are built"
        stack = Stack(instance, http)
        await stack.open()
        yield stack


@pytest_asyncio.fixture
async def rival(instance: Instance) -> AsyncIterator[Stack]:
    """Another live room."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        rival = Stack(instance, http, host="juno")
        await rival.open()
        yield rival


async def sign_in(page: Page) -> str:
    """Have the page be a new viewer; who."""
    user = f"viewer-{uuid.uuid4().hex[:8]}"
    await page.add_init_script(f"localStorage.setItem('engagement.user', '{user}')")
    return user


async def watch(page: Page, stack: Stack, view: str = "") -> Screens:
    await page.goto(f"{stack.url}/rooms/{stack.room}{view}")
    if view != "/replay":
        await page.locator('.pill[data-state="live"]').wait_for()
    return Screens(page)


async def test_a_comment_by_http_appears_at_its_media_time_on_both_screens(
    page: Page, stack: Stack
) -> None:
    screens = await watch(page, stack)
    sent_ms, ids = [], []
    for n in range(5):
        sent_ms.append(time.time() * 1000)
        ids.append(await stack.post(f"hello {n}"))
    shown = {(one.pane, one.id): one for one in await screens.until_shown(ids)}
    for before_ms, event_id in zip(sent_ms, ids, strict=True):
        for pane, delay_ms in enumerate(DELAYS_MS):
            waited_ms = shown[pane, event_id].at_ms - before_ms
            # A stamp is the newest frame that had been ingested: up to a frame and its way old.
            assert waited_ms >= delay_ms - 100 - EARLY_MS, f"pane {pane} showed it too early"
        element = screens.comment(1, event_id)
        stamp = float(await element.get_attribute("data-media-pts") or "nan")
        playhead = float(await element.get_attribute("data-playhead") or "nan")
        assert playhead >= stamp - 1, "released before its playhead"
        assert shown[1, event_id].at_ms > shown[0, event_id].at_ms


async def test_a_comment_from_the_page_reaches_the_timeline_and_the_replay(
    page: Page, stack: Stack
) -> None:
    screens = await watch(page, stack)
    await screens.write("from the front row")
    own = page.locator(".comment.own[data-event-id]")
    await expect(own).to_have_count(2, timeout=20_000)
    event_id = await own.first.get_attribute("data-event-id")

    async def is_recorded() -> bool:
        return event_id in {event["id"] for event in await stack.timeline()}

    await until(is_recorded, "the comment is in the timeline")
    replay = await watch(page, stack, "/replay")
    await replay.until_shown([str(event_id)], panes=[0])


async def test_the_host_takes_a_comment_down_everywhere(page: Page, stack: Stack) -> None:
    screens = await watch(page, stack)
    desk = await page.context.new_page()
    await watch(desk, stack, "/host")
    event_id = await stack.post("rude", user="eve")
    await desk.locator(f'[data-event-id="{event_id}"]').get_by_role("button", name="Remove").click()
    for pane in range(2):
        comment = screens.comment(pane, event_id)
        await expect(comment).to_contain_text("Comment removed", timeout=20_000)
    await desk.close()


async def test_a_republish_and_a_step_of_the_host_are_followed(page: Page, stack: Stack) -> None:
    screens = await watch(page, stack)
    before = await stack.post("first epoch")
    await stack.command(do="republish")
    player = screens.panes.nth(0).locator("[data-transport]")
    await expect(player).to_have_attribute("data-epoch", "2", timeout=20_000)
    after = await stack.post("second epoch")
    await stack.command(do="step", of="publisher_clock", by_ms=-1_300)
    stepped = await stack.post("after the step")
    await screens.until_shown([before, after, stepped])
    for pane in range(2):
        ids = [one for one in await screens.ids(pane) if one in (before, after, stepped)]
        assert ids == [before, after, stepped]


async def test_gifts_from_the_page_are_paid_shown_and_recorded(page: Page, stack: Stack) -> None:
    user = await sign_in(page)
    await stack.deposit(user, 100)
    screens = await watch(page, stack)
    await expect(page.locator(".wallet b")).to_have_text("100", timeout=20_000)
    rose = page.locator('.gift[data-gift="rose"]')
    for _ in range(5):
        await rose.click()
        await page.wait_for_timeout(150)
    for pane in range(2):
        banner = screens.panes.nth(pane).locator(".banner.own:not(.echo)")
        await expect(banner).to_have_attribute("data-count", "5", timeout=20_000)
        await expect(screens.panes.nth(pane).locator(".banner.echo")).to_have_count(0)
    await expect(page.locator(".wallet b")).to_have_text("95", timeout=20_000)
    assert await stack.coins(user) == 95

    async def is_recorded() -> bool:
        gifts = [event for event in await stack.timeline() if event["type"] == "gift.sent"]
        return sum(event["data"]["count"] for event in gifts) == 5

    await until(is_recorded, "five roses are in the timeline")
    ended = [one for one in await screens.shown() if one.type == "gift.combo.ended"]
    if not ended:
        note = screens.panes.nth(0).locator('[data-event-type="gift.combo.ended"]')
        await expect(note).to_have_text(f"{user} sent 5 × Rose", timeout=30_000)


async def test_a_gift_beyond_the_wallet_is_withdrawn_with_the_reason(
    page: Page, stack: Stack
) -> None:
    user = await sign_in(page)
    await stack.deposit(user, 10)
    screens = await watch(page, stack)
    await expect(page.locator(".wallet b")).to_have_text("10", timeout=20_000)
    await page.locator('.gift[data-gift="whale"]').click()
    await expect(page.get_by_role("alert")).to_have_text(
        "Not enough coins: Aurora Whale costs 15,000, you have 10.", timeout=20_000
    )
    refused = screens.panes.nth(1).locator('.banner.echo[data-status="refused"]')
    await expect(refused).to_have_count(1)
    assert await stack.coins(user) == 10
    assert all(event["type"] != "gift.sent" for event in await stack.timeline())


async def test_a_battle_is_the_same_on_the_pages_of_both_rooms(
    page: Page, stack: Stack, rival: Stack
) -> None:
    mine = await watch(page, stack)
    other_page = await page.context.new_page()
    theirs = await watch(other_page, rival)
    for user in ("zoe", "kai"):
        await stack.deposit(user, 50_000)
    await stack.battle(rival, duration_s=20)
    await stack.post_gift("neon-fox", "zoe")
    await rival.post_gift("lantern", "kai", 3)
    for screens in (mine, theirs):
        for pane in range(2):
            for room, score in ((stack.room, "499"), (rival.room, "90")):
                side = screens.panes.nth(pane).locator(f'.pk-side[data-room="{room}"]')
                await expect(side).to_have_attribute("data-score", score, timeout=20_000)
    for screens, word in ((mine, "Victory"), (theirs, "Defeat")):
        badge = screens.panes.nth(1).locator(".pk-badge")
        await expect(badge).to_have_text(word, timeout=60_000)
        await expect(screens.panes.nth(1).locator(".pk-state")).to_have_text("punish")
    await other_page.close()


async def test_the_catalogue_that_is_sold_has_its_art(page: Page, stack: Stack) -> None:
    await watch(page, stack)
    await page.locator('.gift[data-gift="galaxy"]').wait_for(timeout=20_000)
    sources = await page.locator(".gift .art").evaluate_all(
        "(images) => images.map((image) => [image.getAttribute('src'), image.naturalWidth])"
    )
    assert len({source for source, _ in sources}) == len(sources) >= 12, "each has its own"
    assert all(width > 0 for _, width in sources)


async def test_where_the_stream_ends_the_clock_stands_still_and_nothing_is_kept_back(
    page: Page, stack: Stack
) -> None:
    screens = await watch(page, stack)
    before = await stack.post("while it runs")
    await screens.until_shown([before])
    await stack.command(do="stop")
    players = [screens.panes.nth(pane).locator("[data-transport]") for pane in range(2)]

    async def stand_still() -> bool:
        first = [await player.get_attribute("data-playhead") for player in players]
        await page.wait_for_timeout(1_000)
        return first == [await player.get_attribute("data-playhead") for player in players]

    await until(stand_still, "both players stand at the last frame", 30)
    after = await stack.post("after the end")
    await screens.until_shown([after])
