"""Gifts on the viewer page: what can be given, one's own coins, banners, combos, animations."""

import time

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from engagement.domain.gift_events import GiftReversed
from tests.e2e.fake_gateway import FakeGateway
from tests.e2e.fake_money import WELCOME_COINS
from tests.e2e.watching import DELAYS_MS, Screens, watch
from tests.waiting import until

pytestmark = pytest.mark.browser

EARLY_MS = 30.0
"""The browser knows the server's clock to half a round trip, which is long on a busy machine."""
LATE_MS = 600.0
"""A busy machine paints late; what matters is that nothing is early."""


def card(screens: Screens, gift: str) -> Locator:
    """What is pressed to send a gift."""
    return screens.page.locator(f'.gift[data-gift="{gift}"]')


def banners(screens: Screens, pane: int, kind: str = ":not(.echo)") -> Locator:
    """Gift banners of a pane."""
    return screens.panes.nth(pane).locator(f".banner{kind}")


def balance(screens: Screens) -> Locator:
    """What our wallet holds, as the page tells it."""
    return screens.page.locator(".wallet b")


async def tap(screens: Screens, gift: str, times: int = 1) -> None:
    """Press a gift so often, faster than a hand can."""
    script = "(button, times) => { for (let n = 0; n < times; n += 1) button.click(); }"
    await card(screens, gift).evaluate(script, times)


def gift_requests(gateway: FakeGateway) -> list[dict[str, object]]:
    """What the page has asked to be sent."""
    return [one for one in gateway.requests if one["type"] == "gift.send"]


async def test_all_gifts_are_offered_with_their_prices(
    screens: Screens, gateway: FakeGateway
) -> None:
    await expect(screens.page.locator(".gift")).to_have_count(len(gateway.money.catalogue))
    names = await screens.page.locator(".gift .name").all_text_contents()
    assert names == ["Rose", "Sky Lantern", "Neon Fox", "Aurora Whale"], "cheapest first"
    await expect(card(screens, "lantern")).to_contain_text("30")
    await expect(balance(screens)).to_have_text("1,000")
    await expect(card(screens, "whale")).to_have_class("gift dear")
    await expect(card(screens, "rose")).to_have_class("gift")


async def test_a_gift_appears_at_each_playhead_with_its_sender(
    screens: Screens, gateway: FakeGateway
) -> None:
    sent_ms = time.time() * 1000
    gift = await gateway.gift("zoe", "neon-fox")
    shown = await screens.until_shown([gift])
    for one in shown:
        assert one.type == "gift.sent"
        assert one.at_ms - sent_ms >= DELAYS_MS[one.pane] - EARLY_MS, one
    assert [(one.pane, one.id) for one in shown] == [(0, gift), (1, gift)]
    slow = banners(screens, 1)
    await expect(slow).to_have_count(1)
    await expect(slow).to_contain_text("zoe")
    await expect(slow).to_contain_text("sent Neon Fox")


async def test_the_slow_pane_shows_no_banner_before_its_playhead(
    screens: Screens, gateway: FakeGateway
) -> None:
    gift = await gateway.gift("zoe", "rose")
    await screens.until_shown([gift], panes=[0])
    await expect(banners(screens, 0)).to_have_count(1)
    assert await banners(screens, 1).count() == 0
    await screens.until_shown([gift], panes=[1])
    await expect(banners(screens, 1)).to_have_count(1)


async def test_a_combo_counts_up_in_one_banner_and_ends_with_its_total(
    screens: Screens, gateway: FakeGateway
) -> None:
    taps = [await gateway.gift("zoe", "rose", count) for count in (1, 1, 3, 7)]
    await screens.until_shown(taps)
    for pane in range(2):
        await expect(banners(screens, pane)).to_have_count(1)
        await expect(banners(screens, pane)).to_have_attribute("data-count", "12")
        await expect(banners(screens, pane).locator(".times")).to_have_text("×12")
        for tap_id in taps:
            # Taps are marks of the strip; the banner shows what they add up to.
            await expect(screens.comment(pane, tap_id)).to_have_count(1)
    ended = await gateway.tell("gift.combo.ended", gateway.money.end_combo("zoe", "rose"))
    await screens.until_shown([ended])
    for pane in range(2):
        note = screens.comment(pane, ended)
        await expect(note).to_have_text("zoe sent 12 × Rose")
        await expect(banners(screens, pane)).to_have_count(0, timeout=10_000)


async def test_a_repeated_or_reordered_tap_does_not_change_the_count(
    screens: Screens, gateway: FakeGateway
) -> None:
    first, second = [
        gateway.fact("gift.sent", gateway.money.gift("zoe", "rose", 5), actor="zoe")
        for _ in range(2)
    ]
    await gateway.publish(second, first, second, first)
    await screens.until_shown([first["id"], second["id"]])
    await expect(banners(screens, 0)).to_have_attribute("data-count", "10")
    assert len(await screens.shown(0)) == 2


async def test_more_combos_than_there_is_room_for_leave_the_newest(
    screens: Screens, gateway: FakeGateway
) -> None:
    gifts = [await gateway.gift(f"viewer{n}", "rose") for n in range(8)]
    await screens.until_shown(gifts)
    await expect(banners(screens, 0)).to_have_count(3)
    await expect(banners(screens, 0).last).to_contain_text("viewer7")


async def test_animations_take_the_screen_by_tier(screens: Screens, gateway: FakeGateway) -> None:
    first = screens.panes.nth(0)
    small = await gateway.gift("zoe", "rose")
    await screens.until_shown([small], panes=[0])
    assert await first.locator(".flight, .grand").count() == 0
    await gateway.gift("zoe", "neon-fox")
    await expect(first.locator('.flight[data-gift="neon-fox"]')).to_have_count(1)
    await gateway.gift("kai", "whale")
    grand = first.locator('.grand[data-gift="whale"]')
    await expect(grand).to_contain_text("kai")
    box, pane = await grand.bounding_box(), await first.bounding_box()
    assert box is not None and pane is not None
    assert box["width"] >= pane["width"] - 4 and box["height"] >= pane["height"] - 4
    await expect(grand).to_have_count(0, timeout=15_000)
    await expect(first.locator(".flight")).to_have_count(0)


async def test_what_is_long_past_is_counted_and_not_played(
    screens: Screens, gateway: FakeGateway
) -> None:
    old = await gateway.gift("zoe", "whale", pts_ms=gateway.media_ms() - 20_000)
    await screens.until_shown([old])
    assert await screens.page.locator(".grand, .banner").count() == 0
    await expect(screens.panes.nth(0).locator('.faces [data-actor="zoe"]')).to_have_count(1)


async def test_an_own_gift_is_echoed_at_once_and_gives_way_to_the_real_one(
    screens: Screens, gateway: FakeGateway
) -> None:
    gateway.money.is_deciding = False
    await tap(screens, "rose")
    for pane in range(2):
        echo = banners(screens, pane, ".echo")
        await expect(echo).to_contain_text("You")
        await expect(echo).to_contain_text("on air")
    assert await screens.shown() == [], "an echo is no released event"
    [request] = gift_requests(gateway)
    user = gateway.joins[0].token.split(":")[1]
    await gateway.gift(user, "rose", id=str(request["id"]))
    await screens.until_shown([str(request["id"])], panes=[0])
    await expect(banners(screens, 0, ".echo")).to_have_count(0)
    await expect(banners(screens, 0, ".own")).to_have_count(1)
    await expect(banners(screens, 1, ".echo")).to_have_count(1)
    await screens.until_shown([str(request["id"])], panes=[1])
    await expect(banners(screens, 1, ".echo")).to_have_count(0)
    await expect(banners(screens, 1, ".own")).to_have_count(1)


async def test_quick_taps_count_up_and_are_all_paid(screens: Screens, gateway: FakeGateway) -> None:
    for _ in range(4):
        await tap(screens, "lantern", 3)
        await screens.page.wait_for_timeout(120)
    await expect(card(screens, "lantern").locator(".taps")).to_have_text("×12")
    user = gateway.joins[0].token.split(":")[1]

    async def all_paid() -> bool:
        return gateway.money.coins(user) == WELCOME_COINS - 12 * 30

    await until(all_paid, "twelve lanterns are paid", 10)
    await expect(balance(screens)).to_have_text(str(WELCOME_COINS - 12 * 30))
    await expect(banners(screens, 1, ".own")).to_have_attribute("data-count", "12", timeout=10_000)
    counts = [request["data"]["count"] for request in gift_requests(gateway)]  # type: ignore[index]
    assert sum(counts) == 12 and len(counts) == 4


async def test_a_gift_that_is_too_dear_is_withdrawn_and_says_why(
    screens: Screens, gateway: FakeGateway
) -> None:
    await tap(screens, "whale")
    notice = screens.page.get_by_role("alert")
    await expect(notice).to_have_text(
        "Not enough coins: Aurora Whale costs 15,000, you have 1,000."
    )
    for pane in range(2):
        echo = banners(screens, pane, ".echo")
        await expect(echo).to_have_attribute("data-status", "refused")
        await expect(echo).to_contain_text("Not enough coins")
    await expect(screens.page.locator(".banner")).to_have_count(0, timeout=10_000)
    await expect(balance(screens)).to_have_text("1,000")
    assert await screens.page.locator(".grand").count() == 0
    assert gateway.facts == []


async def test_coins_that_are_on_their_way_are_not_offered_twice(
    screens: Screens, gateway: FakeGateway
) -> None:
    gateway.money.is_deciding = False
    await expect(balance(screens)).to_have_text("1,000")
    await tap(screens, "neon-fox")
    await expect(balance(screens)).to_have_text("501")
    await expect(card(screens, "neon-fox")).not_to_have_class("gift dear")
    await tap(screens, "lantern", 1)
    await expect(balance(screens)).to_have_text("471")
    await expect(card(screens, "neon-fox")).to_have_class("gift tapped dear")


async def test_coins_that_come_later_are_seen(screens: Screens, gateway: FakeGateway) -> None:
    await expect(balance(screens)).to_have_text("1,000")
    user = gateway.joins[0].token.split(":")[1]
    gateway.money.wallets[user] = 50_000
    await expect(balance(screens)).to_have_text("50,000", timeout=20_000)
    await expect(card(screens, "whale")).to_have_class("gift")


async def test_the_top_senders_follow_the_playhead_and_start_from_the_snapshot(
    page: Page, gateway: FakeGateway
) -> None:
    gateway.money.sent["old-friend"] = 40
    screens = await watch(page, gateway)
    faces = [screens.panes.nth(n).locator(".faces .avatar") for n in range(2)]
    await expect(faces[0]).to_have_count(1)
    gift = await gateway.gift("zoe", "neon-fox")
    await screens.until_shown([gift], panes=[0])
    await expect(faces[0].first).to_have_attribute("data-actor", "zoe")
    assert await faces[1].count() < 2
    await screens.until_shown([gift], panes=[1])
    await expect(faces[1].first).to_have_attribute("data-actor", "zoe")
    back = GiftReversed(gift, 499, 249, "ana", "0-2", "s", "2026-01-01T00:00:00Z", "")
    taken = await gateway.tell("gift.reversed", back)
    await screens.until_shown([taken])
    await expect(faces[0].first).to_have_attribute("data-actor", "old-friend")


async def test_the_leaderboard_tells_this_live_today_and_ever(
    screens: Screens, gateway: FakeGateway
) -> None:
    await gateway.gift("zoe", "whale")
    await gateway.gift("kai", "rose")
    await screens.page.get_by_role("button", name="Leaderboard").first.click()
    dialog = screens.page.get_by_role("dialog")
    await expect(dialog.locator("li")).to_have_count(2)
    await expect(dialog.locator("li").first).to_contain_text("zoe")
    await expect(dialog.locator("li").first).to_contain_text("15K")
    await dialog.get_by_role("button", name="Today").click()
    await expect(dialog.locator("li")).to_have_count(1)
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_be_hidden()


async def test_gifts_open_as_a_sheet_on_a_phone(browser: Browser, gateway: FakeGateway) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    try:
        screens = await watch(await context.new_page(), gateway)
        await expect(card(screens, "rose")).to_be_hidden()
        await screens.page.get_by_role("button", name="Gifts").tap()
        await card(screens, "rose").tap()
        await expect(banners(screens, 0, ".own")).to_have_count(1)
        box = await screens.page.locator(".tray").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not await screens.page.evaluate(wide)
    finally:
        await context.close()


async def test_the_end_of_the_stream_keeps_nothing_back(
    screens: Screens, gateway: FakeGateway
) -> None:
    await gateway.end_media()
    beyond = await gateway.gift("zoe", "rose", pts_ms=gateway.media_ms() + 400)
    shown = await screens.until_shown([beyond])
    assert all(one.at_ms - time.time() * 1000 < LATE_MS for one in shown)
    reason = await screens.comment(0, beyond).get_attribute("data-reason")
    assert reason == "end"
