"""PK battles on the viewer page and on the host's: each pane's bar keeps to its own playhead."""

import re
import time

import pytest
from playwright.async_api import Locator, Page, expect

from tests.e2e.fake_gateway import FakeGateway
from tests.e2e.fake_money import FakeBattle
from tests.e2e.watching import Screens, watch

pytestmark = pytest.mark.browser


def bar(screens: Screens, pane: int) -> Locator:
    """The PK bar of a pane."""
    return screens.panes.nth(pane).locator(".pk")


def side(screens: Screens, pane: int, room: str) -> Locator:
    """One side of it."""
    return bar(screens, pane).locator(f'.pk-side[data-room="{room}"]')


async def begin(gateway: FakeGateway, duration_s: int = 60) -> FakeBattle:
    """A battle that runs."""
    battle = FakeBattle(duration_s=duration_s)
    await gateway.tell("battle.invited", battle.invited())
    await gateway.tell("battle.started", battle.start())
    return battle


def seconds(text: str | None) -> int:
    """What a countdown tells."""
    minutes, _, rest = (text or "").partition(":")
    return int(minutes) * 60 + int(rest)


async def test_scores_appear_at_each_panes_own_playhead(
    screens: Screens, gateway: FakeGateway
) -> None:
    battle = await begin(gateway)
    scored = await gateway.tell("battle.scored", battle.score(120, 80))
    await screens.until_shown([scored], panes=[0])
    await expect(side(screens, 0, "demo")).to_have_attribute("data-score", "120")
    await expect(side(screens, 0, "rival")).to_have_attribute("data-score", "80")
    await expect(bar(screens, 1)).to_be_hidden()
    await screens.until_shown([scored], panes=[1])
    await expect(side(screens, 1, "demo")).to_have_attribute("data-score", "120")
    await expect(bar(screens, 1)).to_have_attribute("data-revision", str(battle.revision))
    ends = (
        await bar(screens, 0)
        .locator(".pk-bar i")
        .evaluate_all("(parts) => parts.map((part) => Number(part.dataset.end))")
    )
    assert ends == [0.6, 1], "the own side comes first"


async def test_a_battle_that_began_in_a_tab_in_the_background_is_there_when_it_is_looked_at(
    page: Page, gateway: FakeGateway
) -> None:
    await page.add_init_script(
        """
        const draw = window.requestAnimationFrame.bind(window);
        const waiting = [];
        let isHidden = true;
        window.requestAnimationFrame = (drawn) => (isHidden ? waiting.push(drawn) : draw(drawn));
        window.lookAtIt = () => { isHidden = false; waiting.forEach((drawn) => draw(drawn)); };
        """
    )
    screens = await watch(page, gateway)
    battle = await begin(gateway)
    scored = await gateway.tell("battle.scored", battle.score(120, 80))
    await screens.until_shown([scored])
    await page.evaluate("window.lookAtIt()")
    await expect(bar(screens, 1).locator(".pk-clock")).to_have_text(re.compile(r"^0:\d\d$"))
    for pane in range(2):
        await expect(side(screens, pane, "demo")).to_have_attribute("data-score", "120")


async def test_the_countdown_is_that_of_the_frame_on_screen(
    screens: Screens, gateway: FakeGateway
) -> None:
    battle = await begin(gateway)
    scored = await gateway.tell("battle.scored", battle.score(1, 1))
    await screens.until_shown([scored])
    clocks = [bar(screens, pane).locator(".pk-clock") for pane in range(2)]
    for clock in clocks:
        await expect(clock).to_have_text(re.compile(r"^0:\d\d$"))
    quick, slow = [seconds(await clock.text_content()) for clock in clocks]
    assert slow - quick in (2, 3, 4), "2.8 s apart"
    assert 50 < quick <= 58


async def test_a_window_in_which_points_count_more_is_announced(
    screens: Screens, gateway: FakeGateway
) -> None:
    battle = await begin(gateway)
    opened = await gateway.tell("battle.window.opened", battle.boost(3, 10))
    await screens.until_shown([opened], panes=[0])
    badge = bar(screens, 0).locator(".pk-badge")
    await expect(badge).to_have_text("×3")
    await expect(screens.comment(0, opened)).to_have_text("Points count ×3")
    assert await bar(screens, 1).locator(".pk-badge:visible").count() == 0


@pytest.mark.parametrize(
    ("demo", "rival", "word", "note"),
    [
        (90, 30, "Victory", "ana wins the battle, 90 : 30"),
        (30, 90, "Defeat", "juno wins the battle, 90 : 30"),
        (50, 50, "Draw", "The battle ends in a draw, 50 : 50"),
    ],
)
async def test_the_end_says_who_has_won(
    demo: int, rival: int, word: str, note: str, screens: Screens, gateway: FakeGateway
) -> None:
    battle = await begin(gateway)
    await gateway.tell("battle.scored", battle.score(demo, rival))
    ended = await gateway.tell("battle.ended", battle.end())
    await screens.until_shown([ended])
    for pane in range(2):
        await expect(bar(screens, pane).locator(".pk-badge")).to_have_text(word)
        await expect(screens.comment(pane, ended)).to_have_text(note)
    await expect(bar(screens, 0)).to_be_hidden(timeout=15_000)


async def test_the_bar_stays_while_the_loser_pays(screens: Screens, gateway: FakeGateway) -> None:
    battle = await begin(gateway)
    await gateway.tell("battle.scored", battle.score(9, 3))
    await gateway.tell("battle.ended", battle.end())
    punished = await gateway.tell("battle.window.opened", battle.punish(60))
    await screens.until_shown([punished], panes=[0])
    await expect(bar(screens, 0).locator(".pk-state")).to_have_text("punish")
    assert seconds(await bar(screens, 0).locator(".pk-clock").text_content()) > 50
    forgiven = await gateway.tell("battle.window.closed", battle.forgive())
    await screens.until_shown([forgiven])
    await expect(bar(screens, 0)).to_be_hidden(timeout=15_000)


async def test_old_and_repeated_revisions_change_nothing(
    screens: Screens, gateway: FakeGateway
) -> None:
    battle = await begin(gateway)
    early = gateway.fact("battle.scored", battle.score(10, 10))
    late = gateway.fact("battle.scored", battle.score(70, 20))
    await gateway.publish(late, early)
    await screens.until_shown([late["id"], early["id"]])
    await expect(side(screens, 0, "demo")).to_have_attribute("data-score", "70")


async def test_who_comes_during_a_battle_sees_it_when_the_playhead_gets_there(
    page: Page, gateway: FakeGateway
) -> None:
    gateway.battle = battle = FakeBattle()
    battle.invited()
    battle.start()
    battle.score(400, 100)
    came_ms = time.time() * 1000
    screens = await watch(page, gateway)
    await expect(side(screens, 0, "demo")).to_have_attribute("data-score", "400")
    assert time.time() * 1000 - came_ms < 2_800 or await bar(screens, 1).is_visible()
    await expect(side(screens, 1, "demo")).to_have_attribute("data-score", "400")
    assert time.time() * 1000 - came_ms >= 2_500
    scored = await gateway.tell("battle.scored", battle.score(500, 100))
    await screens.until_shown([scored])
    await expect(side(screens, 1, "demo")).to_have_attribute("data-score", "500")


async def test_the_supporters_of_each_side_stand_beside_the_bar(
    screens: Screens, gateway: FakeGateway
) -> None:
    battle = await begin(gateway)
    scored = await gateway.tell("battle.scored", battle.score(10, 5, top="zoe"))
    await screens.until_shown([scored], panes=[0])
    await expect(side(screens, 0, "demo").locator(".pk-top")).to_have_attribute("title", "zoe")
    await expect(side(screens, 0, "rival").locator(".pk-top")).to_have_attribute("title", "kai")


async def test_an_invitation_that_comes_to_nothing_is_only_told(
    screens: Screens, gateway: FakeGateway
) -> None:
    battle = FakeBattle()
    invited = await gateway.tell("battle.invited", battle.invited())
    await screens.until_shown([invited])
    await expect(screens.comment(0, invited)).to_have_text("ana challenges juno")
    await expect(bar(screens, 0)).to_be_hidden()


async def test_the_replay_shows_the_battle_as_it_stood(page: Page, gateway: FakeGateway) -> None:
    battle = FakeBattle(duration_s=50)
    base_ms = gateway.media_ms() - 40_000

    async def told(kind: str, data: object, at_s: float) -> None:
        await gateway.tell(kind, data, pts_ms=base_ms + at_s * 1000)

    await told("battle.started", battle.start(), 0)
    for n in range(1, 100):
        await told("battle.scored", battle.score(n, 0), n * 0.2)
    await gateway.gift("zoe", "rose", pts_ms=base_ms + 19_000)
    await told("battle.scored", battle.score(777, 1), 39)
    await page.goto(gateway.url + "/rooms/demo/replay")
    screens = Screens(page)
    scrubber = page.get_by_role("slider")
    await scrubber.wait_for()
    await page.get_by_text("events ·").wait_for()
    await page.get_by_role("button", name="Pause").click()
    await scrubber.evaluate(
        "(slider) => { slider.value = slider.max / 2; slider.dispatchEvent(new Event('input')); }"
    )
    await expect(side(screens, 0, "demo")).to_have_attribute("data-score", "97")
    assert await bar(screens, 0).is_visible()


async def test_a_host_challenges_and_watches_the_battle(page: Page, gateway: FakeGateway) -> None:
    await page.goto(gateway.url + "/rooms/demo/host")
    await page.locator('.pill[data-state="live"]').wait_for()
    desk = page.locator(".battle-desk")
    await desk.get_by_label("Room to challenge").fill("rival")
    await desk.get_by_role("button", name="Challenge").click()
    await expect(desk.get_by_label("Room to challenge")).to_have_value("")
    [(verb, _, body)] = gateway.battle_calls
    assert (verb, body["rooms"], body["duration_s"]) == ("invite", ["demo", "rival"], 60)
    battle = FakeBattle()
    await gateway.tell("battle.invited", battle.invited())
    await expect(desk).to_contain_text("Waiting for juno")
    await gateway.tell("battle.started", battle.start())
    await gateway.tell("battle.scored", battle.score(5, 7))
    await expect(desk.locator('.pk-side[data-room="rival"]')).to_have_attribute("data-score", "7")
    await desk.get_by_role("button", name="Call it off").click()
    await expect(desk.locator(".pk")).to_be_visible()
    assert gateway.battle_calls[-1][:2] == ("cancel", battle.name)


async def test_a_host_who_is_challenged_may_accept_or_decline(
    page: Page, gateway: FakeGateway
) -> None:
    gateway.battle = battle = FakeBattle()
    battle.sides.reverse()
    battle.invited()
    await page.goto(gateway.url + "/rooms/demo/host")
    desk = page.locator(".battle-desk")
    await expect(desk).to_contain_text("juno challenges you")
    await desk.get_by_role("button", name="Decline").click()
    await expect(desk.get_by_role("button", name="Accept")).to_be_visible()
    await desk.get_by_role("button", name="Accept").click()
    await expect(desk.get_by_role("button", name="Accept")).to_be_disabled()
    assert [call[0] for call in gateway.battle_calls] == ["decline", "accept"]
