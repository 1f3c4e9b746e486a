"""Each event appears when the pane's own playhead reaches its stamp, and not before."""

import time

import pytest
from playwright.async_api import Page

from engagement.domain import events
from tests.e2e.fake_gateway import FakeGateway
from tests.e2e.watching import DELAYS_MS, Screens, watch
from tests.waiting import until

pytestmark = pytest.mark.browser

EARLY_MS = 30.0
"""The browser knows the server's clock to half a round trip, which is long on a busy machine."""
LATE_MS = 400.0
"""A busy machine paints late; what matters is that nothing is early."""


def due_ms(gateway: FakeGateway, fact: dict[str, object], delay_ms: float) -> float:
    """Unix time at which a pane's playhead reaches a fact's stamp."""
    anchor = next(a for a in gateway.anchors if a["epoch"] == fact["mediaepoch"])
    return float(anchor["wall_ms"]) + float(str(fact["mediapts"])) + delay_ms


async def test_every_event_appears_in_both_panes_at_their_own_playheads(
    screens: Screens, gateway: FakeGateway
) -> None:
    for n in range(10):
        await gateway.say(f"comment {n}")
        await gateway.like(n + 1)
        await gateway.count_viewers(n)
        await screens.page.wait_for_timeout(30)
    await gateway.publish(gateway.fact("viewer.muted", events.ViewerMuted("eve", "ana", "later")))
    shown = await screens.until_shown(fact["id"] for fact in gateway.facts)
    facts = {fact["id"]: fact for fact in gateway.facts}
    for one in shown:
        error_ms = one.at_ms - due_ms(gateway, facts[one.id], DELAYS_MS[one.pane])
        assert -EARLY_MS <= error_ms <= LATE_MS, one
        assert one.type == facts[one.id]["type"]
    assert len(shown) == 2 * len(facts), "an event appeared twice"


async def test_both_panes_show_the_events_in_the_order_of_their_stamps(
    screens: Screens, gateway: FakeGateway
) -> None:
    now_ms = gateway.media_ms()
    stamps = [now_ms + shift for shift in (400, 100, 300, 0, 200)]
    facts = [
        gateway.fact("comment.posted", events.CommentPosted(str(n)), pts_ms=pts)
        for n, pts in enumerate(stamps)
    ]
    await gateway.publish(*facts)
    await screens.until_shown(fact["id"] for fact in facts)
    in_order = [fact["id"] for fact in sorted(facts, key=lambda fact: fact["mediapts"])]
    assert await screens.ids(0) == in_order
    assert await screens.ids(1) == in_order


async def test_what_the_player_is_past_appears_at_once(
    screens: Screens, gateway: FakeGateway
) -> None:
    sent_ms = time.time() * 1000
    old = await gateway.say("late by ten seconds", pts_ms=gateway.media_ms() - 10_000)
    shown = await screens.until_shown([old])
    assert all(one.at_ms - sent_ms < LATE_MS for one in shown)


async def test_the_snapshot_waits_for_the_playhead_too(page: Page, gateway: FakeGateway) -> None:
    old = await gateway.say("a minute ago", pts_ms=gateway.media_ms() - 50_000)
    ahead = gateway.fact(
        "comment.posted", events.CommentPosted("to come"), pts_ms=gateway.media_ms() + 2_000
    )
    gateway.facts.append(ahead)
    screens = await watch(page, gateway)
    await screens.until_shown([old])
    assert ahead["id"] not in await screens.ids(0)
    for one in await screens.until_shown([ahead["id"]]):
        if one.id == ahead["id"]:
            assert one.at_ms >= due_ms(gateway, ahead, DELAYS_MS[one.pane]) - EARLY_MS


async def test_after_a_republish_the_slow_pane_finishes_the_old_epoch_first(
    screens: Screens, gateway: FakeGateway
) -> None:
    before = await gateway.say("before")
    await gateway.republish()
    after = await gateway.say("after")
    shown = await screens.until_shown([before, after])
    assert await screens.ids(1) == [before, after]
    slow = next(one for one in shown if one.pane == 1 and one.id == after)
    fact = gateway.facts[-1]
    assert fact["mediaepoch"] == 2
    assert slow.at_ms >= due_ms(gateway, fact, DELAYS_MS[1]) - EARLY_MS


async def test_the_counters_change_with_their_events(
    screens: Screens, gateway: FakeGateway
) -> None:
    window = await gateway.count_viewers(1_234)
    await screens.until_shown([window], panes=[0])
    counter = '.counter[title="viewers"] b'
    assert await screens.panes.nth(0).locator(counter).text_content() == "1,234"
    assert await screens.panes.nth(1).locator(counter).text_content() == "7"
    await screens.until_shown([window])
    assert await screens.panes.nth(1).locator(counter).text_content() == "1,234"


async def test_release_errors_are_reported(screens: Screens, gateway: FakeGateway) -> None:
    async def report() -> object:
        await gateway.say("measure me")
        sent = [one for one in gateway.requests if one["type"] == "release.report"]
        return sent[:1]

    [sent] = await until(report, "a release report", 60)  # type: ignore[misc]
    assert sent["data"]["basis"] == "synthetic"
    assert abs(sent["data"]["error_ms"]) < LATE_MS
    assert sent["data"]["event"] in {fact["id"] for fact in gateway.facts}


async def test_players_and_panes_are_marked_for_tests_from_outside(screens: Screens) -> None:
    players = screens.page.locator("[data-pane] [data-transport]")
    assert await players.count() == await screens.panes.count() == 2
    for n in range(2):
        assert await players.nth(n).get_attribute("data-transport") == "synthetic"
        assert await screens.panes.nth(n).get_attribute("data-pane") == "synthetic"
