"""What a test sees of the viewer page."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Locator, Page

from tests.e2e.fake_gateway import FakeGateway
from tests.waiting import until

DELAYS_MS = (200, 3_000)
"""Of the two panes, in the order in which they stand in the page."""


@dataclass(frozen=True)
class Shown:
    """An event's element appeared."""

    id: str
    type: str
    pane: int
    at_ms: float
    """Unix time by the browser's clock, which is the test's: both are on this machine."""


class Screens:
    """The viewer page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.panes = page.locator("[data-pane]")

    async def shown(self, pane: int | None = None) -> list[Shown]:
        """Everything that appeared so far, in order."""
        seen: list[dict[str, Any]] = await self.page.evaluate("window.releases")
        return [Shown(**one) for one in seen if pane is None or one["pane"] == pane]

    async def ids(self, pane: int) -> list[str]:
        """Ids that appeared in a pane, in order."""
        return [one.id for one in await self.shown(pane)]

    async def until_shown(self, ids: Iterable[str], panes: Iterable[int] = (0, 1)) -> list[Shown]:
        """Wait until all these events are in all these panes."""
        wanted = set(itertools.product(panes, list(ids)))

        async def are_all_there() -> bool:
            return wanted <= {(one.pane, one.id) for one in await self.shown()}

        await until(are_all_there, f"{len(wanted)} events in panes", 20)
        return await self.shown()

    def comment(self, pane: int, event_id: str) -> Locator:
        """A comment's element."""
        return self.panes.nth(pane).locator(f'[data-event-id="{event_id}"]')

    async def write(self, text: str) -> None:
        """Type a comment and send it."""
        await self.page.get_by_role("textbox", name="Comment").fill(text)
        await self.page.keyboard.press("Enter")


async def watch(page: Page, gateway: FakeGateway, path: str = "/") -> Screens:
    """Open the viewer page and wait until it is connected."""
    before = len(gateway.visitors)
    await page.goto(gateway.url + path)

    async def is_connected() -> bool:
        return len(gateway.visitors) > before

    await until(is_connected, "the page's connection", 15)
    await page.locator('.pill[data-state="live"]').wait_for()
    return Screens(page)
