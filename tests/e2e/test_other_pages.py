"""The replay and the host's desk."""

import itertools

import pytest
from playwright.async_api import Page, expect

from engagement.domain import events
from tests.e2e.fake_gateway import FakeGateway
from tests.e2e.watching import Screens, watch
from tests.waiting import until

pytestmark = pytest.mark.browser


async def test_a_replay_releases_the_timeline_at_its_own_playhead(
    page: Page, gateway: FakeGateway
) -> None:
    ids = [await gateway.say(f"at {n}", pts_ms=10_000 + n * 250) for n in range(8)]
    await page.goto(gateway.url + "/rooms/demo/replay")
    screens = Screens(page)
    shown = await screens.until_shown(ids, panes=[0])
    assert [one.id for one in shown] == ids
    gaps = [after.at_ms - one.at_ms for one, after in itertools.pairwise(shown[1:])]
    assert 200 < sum(gaps) / len(gaps) < 300, "paced by media time"
    assert await page.locator('[data-pane] [data-transport="synthetic"]').count() == 1


async def test_a_replay_can_be_paused_and_moved(page: Page, gateway: FakeGateway) -> None:
    ids = [await gateway.say(f"at {n}", pts_ms=n * 1_000) for n in range(60)]
    await page.goto(gateway.url + "/rooms/demo/replay")
    screens = Screens(page)
    await screens.until_shown(ids[:1], panes=[0])
    await page.get_by_role("button", name="Pause").click()
    before = await screens.ids(0)
    await page.evaluate("window.releases.length = 0")
    await page.get_by_role("slider", name="Position").fill("5000")
    await screens.until_shown([ids[29]], panes=[0])
    assert await screens.ids(0) == ids[:30], "what came before is there, what comes is not"
    await page.wait_for_timeout(1_200)
    assert len(await screens.ids(0)) == 30, "a paused player releases nothing"
    await page.get_by_role("button", name="10×").click()
    await page.get_by_role("button", name="Play").click()
    await screens.until_shown(ids[30:40], panes=[0])
    assert len(before) < 5


async def test_a_replay_goes_through_epochs_and_leaves_removed_comments_out(
    page: Page, gateway: FakeGateway
) -> None:
    bad = await gateway.say("vile", pts_ms=100)
    await gateway.publish(gateway.fact("comment.removed", events.CommentRemoved(bad, "ana")))
    last = await gateway.say("second epoch", epoch=2, pts_ms=300)
    gateway.facts = [fact for fact in gateway.facts if fact["mediapts"] < 1_000] + [
        {**fact, "mediapts": 500} for fact in gateway.facts if fact["mediapts"] >= 1_000
    ]
    await page.goto(gateway.url + "/rooms/demo/replay")
    screens = Screens(page)
    await screens.until_shown([bad, last], panes=[0])
    await expect(screens.comment(0, bad)).to_contain_text("Comment removed")
    assert "vile" not in await page.locator("body").inner_text()


async def test_an_empty_timeline_and_a_missing_room_are_told(
    page: Page, gateway: FakeGateway
) -> None:
    await page.goto(gateway.url + "/rooms/demo/replay")
    await expect(page.locator(".progress")).to_contain_text("0 events")
    gateway.is_known = False
    await page.reload()
    await expect(page.get_by_role("alertdialog")).to_contain_text("There is no such room")


async def test_the_host_removes_mutes_bans_and_lifts(page: Page, gateway: FakeGateway) -> None:
    await watch(page, gateway, "/rooms/demo/host")
    assert gateway.joins[-1].token == "dev:ana:host"
    said = await gateway.say("rude", actor="eve")
    comment = page.locator(f'[data-event-id="{said}"]')
    await comment.get_by_role("button", name="Mute").click()
    silenced = page.locator(".silenced li")
    await expect(silenced).to_contain_text("evemuted")
    await comment.get_by_role("button", name="Ban").click()
    await expect(silenced).to_contain_text("evebanned")
    await silenced.get_by_role("button").click()
    await expect(silenced).to_have_count(0)
    await comment.get_by_role("button", name="Remove").click()
    await expect(comment).to_contain_text("Comment removed")
    kinds = [one["type"] for one in gateway.requests if one["type"] != "release.report"]
    assert kinds == ["viewer.mute", "viewer.ban", "viewer.unban", "comment.remove"]


async def test_the_host_lets_a_comment_through_that_waited(
    page: Page, gateway: FakeGateway
) -> None:
    await watch(page, gateway, "/rooms/demo/host")
    held = [
        gateway.fact("comment.held", events.CommentHeld(text, "word list"), actor="eve")
        for text in ("perhaps", "no way")
    ]
    for fact in [*held, held[0]]:
        frame = {"t": "events", "cursor": gateway.cursor, "events": [fact]}
        await gateway.broadcast(frame)
    waiting = page.locator("[data-held-id]")
    await expect(waiting).to_have_count(2)
    await expect(waiting.first).to_contain_text("eve perhaps")
    await waiting.first.get_by_role("button", name="Let through").click()
    await waiting.last.get_by_role("button", name="Remove").click()
    sent = [(one["type"], one["data"]["target"]) for one in gateway.requests[-2:]]
    assert sent == [("comment.release", held[0]["id"]), ("comment.remove", held[1]["id"])]
    await gateway.say("perhaps", id=held[0]["id"], actor="eve")
    await expect(page.locator(f'[data-event-id="{held[0]["id"]}"]')).to_contain_text("perhaps")
    await expect(page.get_by_text("Waiting for you")).to_be_hidden()


async def test_the_host_is_told_of_gifts_and_earnings(page: Page, gateway: FakeGateway) -> None:
    await watch(page, gateway, "/rooms/demo/host")
    whale = await gateway.gift("zoe", "whale")
    for _ in range(3):
        await gateway.gift("kai", "rose", 4)
    ended = await gateway.tell("gift.combo.ended", gateway.money.end_combo("kai", "rose"))
    await expect(page.locator(f'[data-event-id="{whale}"]')).to_have_text("zoe sent Aurora Whale")
    await expect(page.locator(f'[data-event-id="{ended}"]')).to_have_text("kai sent 12 × Rose")
    earned = page.locator(".figure-card", has_text="coins earned")
    await expect(earned).to_contain_text("7,506", timeout=15_000)


async def test_the_host_ends_and_opens_the_live(page: Page, gateway: FakeGateway) -> None:
    await watch(page, gateway, "/rooms/demo/host")
    await page.get_by_role("button", name="End this live").click()
    assert gateway.room["status"] == "open", "once is not enough"
    await page.get_by_role("button", name="Press again").click()
    await page.get_by_role("button", name="Open again").click()
    await page.get_by_role("textbox", name="Title").fill("Round two")
    await page.get_by_role("button", name="Go live").click()

    async def is_open() -> bool:
        return gateway.room["status"] == "open" and bool(gateway.visitors)

    await until(is_open, "the reopened room", 15)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Round two")
