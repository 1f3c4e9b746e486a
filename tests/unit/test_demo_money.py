"""Gifts, coins and battles of the demo: who gives what, and who is given what."""

import json
import random
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

import engagement
from engagement.crowd import demo_battles
from engagement.crowd.demo_battles import Battles
from engagement.crowd.demo_gifts import BLAZING_TAPS_MAX, DEFAULT_TIERS, TAP_S, Givers, Tap
from engagement.crowd.demo_shows import DEMO, RIVAL, Show
from engagement.crowd.demo_wallets import PEOPLE_COINS, WELCOME_COINS, Wallets
from engagement.domain import limits
from engagement.domain.events import RawFact
from engagement.settings import Settings

PRESENT = DEMO.people[:12]
SETTINGS = Settings(auth="dev")


def gifts(seconds: float, heat: float, seed: int = 3) -> list[tuple[float, Tap]]:
    givers = Givers(random.Random(seed))
    steps = [n * 0.1 for n in range(round(seconds * 10))]
    return [(at_s, tap) for at_s in steps for tap in givers.step(at_s, heat, PRESENT)]


def test_the_gifts_are_those_of_the_default_catalogue() -> None:
    sold = tomllib.loads((Path(engagement.__file__).parent / "gifts.toml").read_text())["gifts"]
    assert {gift["gift"]: gift["tier"] for gift in sold} == {
        gift: tier for tier, gifts in DEFAULT_TIERS.items() for gift in gifts
    }


def test_the_same_seed_gives_the_same_gifts() -> None:
    assert gifts(60, 1) == gifts(60, 1) != gifts(60, 1, seed=4)


def test_the_livelier_the_more_gifts() -> None:
    calm, battle, end = (len(gifts(300, heat)) / 300 for heat in (0, 1, 3))
    assert 0.5 <= calm <= 6
    assert calm < battle < end <= 40


def test_gifts_come_in_streaks_that_count_as_combos() -> None:
    last: dict[tuple[str, str], float] = {}
    gaps_s = []
    for at_s, tap in gifts(300, 0):
        key = (tap.who, tap.gift)
        if tap.gift in DEFAULT_TIERS[1] and key in last:
            gaps_s.append(at_s - last[key])
        last[key] = at_s
    within = [gap_s for gap_s in gaps_s if gap_s * 1000 <= limits.COMBO_WINDOW_MS]
    assert len(within) > 0.9 * len(gaps_s)
    assert TAP_S[1] * 1000 < limits.COMBO_WINDOW_MS / 2
    taps = Counter((tap.who, tap.gift) for _, tap in gifts(30, 0))
    assert max(taps.values()) <= 4 * BLAZING_TAPS_MAX


def test_all_tiers_are_given_the_small_ones_most_and_no_large_one_in_a_battle() -> None:
    tier_of = {gift: tier for tier, gifts in DEFAULT_TIERS.items() for gift in gifts}
    calm = Counter(tier_of[tap.gift] for _, tap in gifts(3_600, 0))
    assert calm[1] > 20 * calm[2] > 20 * calm[3] > 0
    battle = Counter(tier_of[tap.gift] for _, tap in gifts(3_600, 1))
    assert battle[2] > calm[2]
    assert battle[3] == 0


def test_nothing_is_given_by_nobody_or_of_an_empty_catalogue() -> None:
    givers = Givers(random.Random(1))
    assert all(givers.step(n * 0.1, 3, []) == [] for n in range(1_000))
    givers.offer([])
    assert all(givers.step(n * 0.1, 3, PRESENT) == [] for n in range(1_000))
    givers.offer([{"gift": "pin", "tier": 1}])
    given = {tap.gift for n in range(1_000) for tap in givers.step(n * 0.1, 3, PRESENT)}
    assert given == {"pin"}


def fact(kind: str, actor: str, room: str = "demo", **data: str) -> RawFact:
    raw = {"id": "1", "type": kind, "time": "2026-01-01T00:00:00Z", "actorid": actor}
    return RawFact(**raw, roomid=room, data=json.dumps(data).encode())  # type: ignore[arg-type]


def refused(actor: str, code: str = "insufficient_funds", kind: str = "gift.send") -> RawFact:
    return fact("request.refused", actor, request="r", request_type=kind, code=code, session="")


@pytest.fixture
def wallets() -> Wallets:
    return Wallets(SETTINGS, ["demo", "rival"], DEMO.people)


def test_a_visitor_is_welcomed_once_and_the_people_are_not(wallets: Wallets) -> None:
    deposit = wallets.owed(fact("viewer.joined", "you"), 0)
    assert deposit is not None
    assert (deposit.who, deposit.coins) == ("you", WELCOME_COINS)
    assert wallets.owed(fact("viewer.joined", "you"), 1) is None
    assert wallets.owed(fact("viewer.joined", DEMO.people[0]), 1) is None
    assert wallets.owed(fact("viewer.joined", "they", room="elsewhere"), 1) is None
    assert wallets.owed(fact("viewer.left", "they"), 1) is None


def test_a_welcome_has_the_same_id_after_a_restart(wallets: Wallets) -> None:
    again = Wallets(SETTINGS, ["demo"], [])
    joined = fact("viewer.joined", "you")
    first, second = wallets.owed(joined, 0), again.owed(joined, 99_999)
    assert first is not None and second is not None
    assert first.id == second.id
    other = wallets.owed(fact("viewer.joined", "they"), 0)
    assert other is not None and other.id != first.id


def test_who_runs_out_is_given_again_but_not_all_the_time(wallets: Wallets) -> None:
    deposits = [wallets.owed(refused("you"), at_s) for at_s in (0, 1, 299, 300)]
    ids = [deposit.id for deposit in deposits if deposit is not None]
    assert len(ids) == 4
    assert ids[0] == ids[1] == ids[2] != ids[3]
    rich = wallets.owed(refused(DEMO.people[0]), 0)
    assert rich is not None and rich.coins == PEOPLE_COINS


def test_other_refusals_bring_no_coins(wallets: Wallets) -> None:
    assert wallets.owed(refused("you", code="self_gift"), 0) is None
    assert wallets.owed(refused("you", kind="comment.post"), 0) is None
    assert wallets.owed(fact("request.refused", "you", nonsense="1"), 0) is None


CHEERS = 10 + 4 + 2
"""How often people look at the score in a battle."""


class Gateway:
    """Answers calls about battles as a test wants, and notes them."""

    def __init__(self, statuses: list[str], refuse: str = "") -> None:
        self.statuses = ["running"] * CHEERS + statuses
        self.refuse = refuse
        self.calls: list[tuple[str, str, str, Any]] = []

    async def call(
        self, method: str, path: str, *, user: str, role: str, body: Any = None
    ) -> httpx.Response:
        self.calls.append((method, path.rpartition("/")[2], user, body))
        request = httpx.Request(method, "http://gateway" + path)
        if method == self.refuse:
            return httpx.Response(409, json={"code": "room_in_battle"}, request=request)
        status = self.statuses.pop(0) if method == "GET" else "running"
        sides = [{"room": "demo", "score": 5}, {"room": "rival", "score": 9}]
        return httpx.Response(200, json={"status": status, "sides": sides}, request=request)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time does not pass; what would have been waited for is noted."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(demo_battles.asyncio, "sleep", sleep)
    return slept


async def test_a_battle_is_asked_for_accepted_followed_and_paid_for(slept: list[float]) -> None:
    heats: list[tuple[str, float]] = []

    def warm(show: Show, heat: float) -> None:
        heats.append((show.room, heat))

    gateway = Gateway(["running", "settling", "ended"])
    battles = Battles(SETTINGS, [DEMO, RIVAL], warm)
    battles._poster = gateway  # type: ignore[assignment]
    assert await battles._battle()
    asked, accepted, *looks = gateway.calls
    assert asked[0] == "PUT" and asked[2] == DEMO.host
    assert asked[3]["rooms"] == ["demo", "rival"]
    boost = asked[3]["windows"][0]
    assert boost["after_s"] + boost["duration_s"] == asked[3]["duration_s"], "up to the end"
    assert accepted[:3] == ("POST", "accept", RIVAL.host)
    assert [look[0] for look in looks] == ["GET"] * (CHEERS + 3)
    before_the_end_s = sum(slept[: 1 + CHEERS])
    assert before_the_end_s == demo_battles.THINK_S + demo_battles.DURATION_S
    behind = [heat for room, heat in heats if room == "demo"][:CHEERS]
    ahead = [heat for room, heat in heats if room == "rival"][:CHEERS]
    assert behind == sorted(behind) and behind[-1] > 2 * behind[0]
    assert all(one > other for one, other in zip(behind, ahead, strict=True))


@pytest.mark.parametrize("refuse", ["PUT", "POST"])
async def test_no_battle_comes_of_a_refusal(refuse: str, slept: list[float]) -> None:
    battles = Battles(SETTINGS, [DEMO, RIVAL], lambda show, heat: None)
    battles._poster = Gateway([], refuse)  # type: ignore[assignment]
    assert not await battles._battle()


async def test_a_battle_that_was_called_off_is_not_waited_for(slept: list[float]) -> None:
    battles = Battles(SETTINGS, [DEMO, RIVAL], lambda show, heat: None)
    battles._poster = Gateway(["cancelled"])  # type: ignore[assignment]
    assert not await battles._battle()
    assert demo_battles.PUNISH_S not in slept[1 + CHEERS :]
