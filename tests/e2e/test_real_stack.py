"""The pages on the whole real thing: Kafka, PostgreSQL, gateway, workers, media clock."""

import time
import uuid
from collections.abc import AsyncIterator
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

    def __init__(self, instance: Instance, http: aiohttp.ClientSession) -> None:
        self.room = f"e2e-{uuid.uuid4().hex[:8]}"
        self.url = f"http://{instance.gateways(1)[0]}"
        self._media = f"http://127.0.0.1:{instance.ports.media}/v1/rooms/{self.room}"
        self._rooms = f"{self.url}/v1/rooms/{self.room}"
        self._http = http

    async def open(self) -> None:
        body = {"title": "Real room", "host": "ana"}
        async with self._http.put(self._rooms, json=body, headers={"X-User": "ana"}) as answer:
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

    async def timeline(self) -> list[dict[str, Any]]:
        async with self._http.get(f"{self._rooms}/timeline?limit=1000") as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items


@pytest_asyncio.fixture
async def stack(instance: Instance) -> AsyncIterator[Stack]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        stack = Stack(instance, http)
        await stack.open()
        yield stack


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
