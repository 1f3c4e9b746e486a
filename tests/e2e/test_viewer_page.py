"""What a viewer does on the page, and what goes wrong meanwhile."""

import pytest
from playwright.async_api import Browser, Page, expect

from engagement.domain import events
from tests.conftest import free_ports
from tests.e2e.fake_gateway import FakeGateway
from tests.e2e.watching import Screens, watch
from tests.waiting import until

pytestmark = pytest.mark.browser


async def has_request(gateway: FakeGateway, kind: str) -> dict[str, object]:
    """Wait for a request of the page; it."""

    async def found() -> list[dict[str, object]]:
        return [one for one in gateway.requests if one["type"] == kind]

    return (await until(found, kind, 10))[0]


async def test_an_own_comment_is_echoed_at_once_and_gives_way_to_its_fact(
    screens: Screens, gateway: FakeGateway
) -> None:
    gateway.is_acknowledging = False
    await screens.write("first!")
    echoes = screens.page.locator(".comment.echo")
    await expect(echoes).to_have_count(2)
    await expect(echoes.first).to_contain_text("first!")
    request = await has_request(gateway, "comment.post")
    gateway.is_acknowledging = True
    await gateway.drop(3000)
    await screens.until_shown([str(request["id"])])
    await expect(echoes).to_have_count(0)
    for pane in range(2):
        own = screens.comment(pane, str(request["id"]))
        await expect(own).to_have_count(1)
        await expect(own).to_have_class("comment own")
    sent = [one for one in gateway.requests if one["type"] == "comment.post"]
    assert {one["id"] for one in sent} == {request["id"]}
    assert len(sent) == 2, "what was not acknowledged is sent again, with its id"


async def test_an_echo_is_no_released_event(screens: Screens, gateway: FakeGateway) -> None:
    gateway.is_acknowledging = False
    await screens.write("not on air")
    await expect(screens.page.locator(".comment.echo")).to_have_count(2)
    assert await screens.shown() == []


async def test_a_refused_comment_says_why(screens: Screens, gateway: FakeGateway) -> None:
    gateway.refusals["comment.post"] = "muted"
    await screens.write("let me speak")
    await expect(screens.page.get_by_role("alert")).to_have_text(
        "You are muted in this room for now."
    )
    await expect(screens.page.locator('.echo[data-status="refused"]')).to_have_count(2)


async def test_hearts_are_summed_into_few_requests(screens: Screens, gateway: FakeGateway) -> None:
    heart = screens.page.get_by_role("button", name="Send a heart")
    await heart.evaluate("(button) => { for (let n = 0; n < 7; n += 1) button.click(); }")

    async def total() -> bool:
        taps = [one["data"]["count"] for one in gateway.requests if one["type"] == "like.tap"]
        return sum(taps) == 7 and len(taps) < 7

    await until(total, "seven taps", 10)
    assert gateway.likes == 107


async def test_missed_events_are_shown_once_after_a_reconnect(
    screens: Screens, gateway: FakeGateway
) -> None:
    first = await gateway.say("one")
    await screens.until_shown([first], panes=[0])
    await gateway.drop(3001)
    missed = [await gateway.say(f"missed {n}") for n in range(5)]
    await screens.until_shown([first, *missed])
    assert gateway.joins[-1].cursor == "0-1"
    assert await screens.ids(0) == [first, *missed]
    assert await screens.ids(1) == [first, *missed]


async def test_a_gap_is_filled_from_the_snapshot_without_repeats(
    screens: Screens, gateway: FakeGateway
) -> None:
    first = await gateway.say("one")
    await screens.until_shown([first])
    gateway.is_resuming = False
    gateway.online = 99
    await gateway.drop(3001)
    missed = await gateway.say("two")
    await screens.until_shown([missed])
    assert await screens.ids(0) == [first, missed]
    await expect(screens.panes.nth(0).locator('[title="viewers"] b')).to_have_text("99")


@pytest.mark.parametrize("code", [3000, 3499, 4000, 4499])
async def test_the_page_comes_back_after(code: int, screens: Screens, gateway: FakeGateway) -> None:
    await gateway.drop(code)

    async def is_back() -> bool:
        return bool(gateway.visitors)

    await until(is_back, "a new connection", 15)


@pytest.mark.parametrize("code", [3500, 3501, 4500])
async def test_the_page_stays_away_after(code: int, screens: Screens, gateway: FakeGateway) -> None:
    joins = len(gateway.joins)
    await gateway.drop(code)
    await expect(screens.page.get_by_role("alertdialog")).to_be_visible()
    await expect(screens.page.locator(".pill")).to_have_attribute("data-state", "closed")
    await screens.page.wait_for_timeout(1_500)
    assert len(gateway.joins) == joins


async def test_the_page_stays_small_however_much_happens(
    screens: Screens, gateway: FakeGateway
) -> None:
    for burst in range(10):
        comments = [
            gateway.fact("comment.posted", events.CommentPosted(f"{burst}/{n}")) for n in range(60)
        ]
        await gateway.publish(*comments)
        for _ in range(30):
            await gateway.like(1)
    last = await gateway.say("last")
    await screens.until_shown([last])
    assert len(await screens.shown()) == 2 * len(gateway.facts)
    for pane in range(2):
        kept = screens.panes.nth(pane).locator("[data-event-id]")
        assert 200 <= await kept.count() <= 400
        assert await screens.panes.nth(pane).locator("*").count() < 2_000


async def test_a_removed_comment_is_never_shown_to_those_who_watch_later(
    screens: Screens, gateway: FakeGateway
) -> None:
    bad = await gateway.say("something vile")
    await screens.until_shown([bad], panes=[0])
    removed = gateway.fact("comment.removed", events.CommentRemoved(bad, "ana"))
    await gateway.publish(removed)
    await expect(screens.comment(0, bad)).to_contain_text("Comment removed")
    await screens.until_shown([bad, str(removed["id"])])
    await expect(screens.comment(1, bad)).to_contain_text("Comment removed")
    assert "vile" not in await screens.page.locator("body").inner_text()


async def test_a_room_that_opens_later_appears_by_itself(page: Page, gateway: FakeGateway) -> None:
    gateway.is_known = False
    await page.goto(gateway.url + "/rooms/demo")
    await expect(page.get_by_role("alertdialog")).to_contain_text("Nobody is live here yet")
    gateway.is_known = True
    await expect(page.get_by_role("heading", level=1)).to_have_text("Fake room", timeout=15_000)
    await expect(page.get_by_role("alertdialog")).to_be_hidden()


async def test_nobody_is_let_in_without_a_token_but_may_read(
    browser: Browser, static: object, page: Page
) -> None:
    gateway = FakeGateway(static, free_ports(1)[0], auth="jwt")  # type: ignore[arg-type]
    async with gateway.serving():
        said = await gateway.say("public")
        await page.goto(gateway.url)
        await expect(page.get_by_text("Sign in to watch live")).to_be_visible()
        await expect(page.locator(f'[data-event-id="{said}"]').first).to_contain_text("public")
        assert gateway.joins == []
        await page.goto(gateway.url + "/?again#token=dev:mia")
        await page.locator('.pill[data-state="live"]').wait_for()
        assert gateway.joins[0].token == "dev:mia"
        assert "token" not in page.url, "a token must not stay in the address"


async def test_a_made_up_name_stays_the_same(screens: Screens, gateway: FakeGateway) -> None:
    await screens.page.reload()

    async def has_joined_twice() -> bool:
        return len([one for one in gateway.joins if one.token]) == 2

    await until(has_joined_twice, "the second join", 15)
    first, second = gateway.joins
    assert first.token == second.token
    assert first.token.startswith("dev:")


async def test_nothing_is_fetched_from_anywhere_else(page: Page, gateway: FakeGateway) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await watch(page, gateway)
    assert asked
    assert all(url.startswith(gateway.url) for url in asked)


async def test_the_page_fits_a_phone(browser: Browser, gateway: FakeGateway) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    try:
        screens = await watch(await context.new_page(), gateway)
        await gateway.say("x" * 400)
        await gateway.say("wide words " * 30)
        boxes = [await screens.panes.nth(n).bounding_box() for n in range(2)]
        assert boxes[0] is not None and boxes[1] is not None
        assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"], "panes are stacked"
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not await screens.page.evaluate(wide)
        dock = await screens.page.locator(".composer").bounding_box()
        assert dock is not None and dock["y"] + dock["height"] <= 844
    finally:
        await context.close()


async def test_every_control_has_a_name(screens: Screens) -> None:
    nameless = await screens.page.evaluate(
        """[...document.querySelectorAll("button, a, input")].filter((e) =>
             !(e.getAttribute("aria-label") || e.textContent.trim() || e.title)).length"""
    )
    assert nameless == 0
    assert await screens.page.locator("h1").count() == 1
    assert await screens.page.locator("html[lang]").count() == 1
