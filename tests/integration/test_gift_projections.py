"""Leaderboards, earnings and battle boards, folded from the log."""

import json
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import battle_events as battles
from engagement.domain import events, limits
from engagement.domain.gift_events import GiftReversed, GiftSent
from engagement.errors import BadRequestError
from engagement.settings import Settings
from projections.queries import RoomQueries
from projections.rebuild import rebuild
from projections.registry import PROJECTIONS
from projections.runner import Projector
from projections.verify import verify
from tests.facts import FactLog, folded_up_to

DAY = "2023-11-14"
"""Of `FIRST_US`."""


class Gifts:
    """Gifts of one room, in the order of their ledger entries."""

    def __init__(self, facts: FactLog, room: str, host: str) -> None:
        self._facts = facts
        self._room = room
        self._host = host
        self.entry = 0

    def sent(
        self, actor: str, coins: int, *, session: str = "s1", entry: int = 0, pieces: int = 1
    ) -> str:
        """A gift for so many coins; its id."""
        self.entry = entry or self.entry + 1
        data = GiftSent(
            *("rose", "Rose", 1, "rose", pieces, coins // pieces, coins, coins // 2, self._host),
            f"3-{self.entry}",
            session,
        )
        return self._facts.put(self._room, "gift.sent", data, pts_ms=self.entry, actor=actor)

    def tapped(self, actor: str, gift: str, combo: str, so_far: int, *, pts_ms: int) -> None:
        """One more of a combo."""
        self.entry += 1
        data = GiftSent(
            *(gift, gift.title(), 1, gift, 1, 1, 1, 0, self._host, f"3-{self.entry}", "s1"),
            combo=combo,
            combo_count=so_far,
        )
        self._facts.put(self._room, "gift.sent", data, pts_ms=pts_ms, actor=actor)

    def reversed(
        self, actor: str, gift: str, coins: int, *, session: str = "s1", pieces: int = 1
    ) -> None:
        """That gift is taken back."""
        self.entry += 1
        sent = f"{DAY}T23:00:00Z"
        data = GiftReversed(
            *(gift, coins, coins // 2, self._host, f"3-{self.entry}", session, sent, "fraud"),
            count=pieces,
        )
        self._facts.put(self._room, "gift.reversed", data, pts_ms=self.entry, actor=actor)


async def leaders(database: AsyncEngine, room: str, limit: int = 10, **more: Any) -> list[Any]:
    page = await RoomQueries(database).leaderboard(room, limit, **more)
    return [json.loads(item) for item in page.items]


async def test_senders_are_ranked_by_what_they_gave_and_did_not_get_back(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    host = f"host-of-{room}"
    gifts = Gifts(facts, room, host)
    facts.open(room, pts_ms=0)
    gifts.sent("ana", 10)
    gifts.sent("ben", 30)
    back = gifts.sent("ben", 25, pieces=5)
    gifts.sent("ana", 7)
    gifts.reversed("ben", back, 25, pieces=5)
    taken = gifts.sent("cleo", 9)
    gifts.reversed("cleo", taken, 9)
    await folded_up_to(engines, database, room, await facts.written(room))
    queries = RoomQueries(database)
    assert await leaders(database, room) == [
        {"rank": 1, "actor": "ben", "coins": 30, "gifts": 1},
        {"rank": 2, "actor": "ana", "coins": 17, "gifts": 2},
    ]
    earned = await queries.earnings(host)
    assert earned["coins"] == 5 + 15 + 12 + 3 - 12 + 4 - 4
    assert earned["days"] == [{"day": DAY, "coins": 23, "gifts": 3}]
    for at_ms, ben in ((2, 30), (3, 55), (5, 30)):
        state = await queries.state(room, at_ms=at_ms)
        assert state is not None
        assert state["top_senders"][0] == {"actor": "ben", "coins": ben}
        assert len(state["top_senders"]) == 2
    last = await queries.state(room, at_ms=100)
    assert last is not None
    assert [each["actor"] for each in last["top_senders"]] == ["ben", "ana"]


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
async def test_a_leaderboard_is_read_page_by_page(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    projector: Projector,
    room: str,
    limit: int,
) -> None:
    gifts = Gifts(facts, room, "host")
    for actor, coins in (("f", 1), ("e", 5), ("d", 5), ("c", 5), ("b", 9), ("a", 5)):
        gifts.sent(actor, coins)
    await folded_up_to(engines, database, room, await facts.written(room))
    queries = RoomQueries(database)
    found: list[Any] = []
    page = await queries.leaderboard(room, limit)
    while True:
        found += map(json.loads, page.items)
        if page.next is None:
            break
        assert page.items
        page = await queries.leaderboard(room, limit, after=page.next)
    assert [each["actor"] for each in found] == ["b", "a", "c", "d", "e", "f"]
    assert [each["rank"] for each in found] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(BadRequestError):
        await queries.leaderboard(room, limit, after="nonsense")


async def test_a_past_state_has_the_combos_that_were_open_then(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    facts.open(room, pts_ms=0)
    gifts = Gifts(facts, room, "host")
    window = limits.COMBO_WINDOW_MS
    gifts.tapped("ana", "rose", "c1", 1, pts_ms=1000)
    gifts.tapped("ben", "rose", "c2", 1, pts_ms=1500)
    gifts.tapped("ana", "rose", "c1", 2, pts_ms=2000)
    gifts.tapped("ana", "star", "c3", 1, pts_ms=2000)
    gifts.tapped("ana", "rose", "c4", 1, pts_ms=3000)
    closed = events.RoomClosed(f"session-of-{room}", "the end")
    facts.put(room, "room.closed", closed, pts_ms=2500 + window)
    await folded_up_to(engines, database, room, await facts.written(room))
    queries = RoomQueries(database)

    async def combos(at_ms: int) -> list[tuple[str, int]]:
        state = await queries.state(room, at_ms=at_ms)
        assert state is not None
        return [(each["combo"], each["count"]) for each in state["combos"]]

    assert await combos(999) == []
    assert await combos(1999) == [("c1", 1), ("c2", 1)]
    assert await combos(2000) == [("c2", 1), ("c1", 2), ("c3", 1)]
    assert await combos(3000) == [("c2", 1), ("c3", 1), ("c4", 1)]
    assert await combos(1500 + window) == [("c3", 1), ("c4", 1)]
    assert await combos(2500 + window) == [], "nothing is open in a closed room"


async def test_a_gift_that_is_on_the_log_twice_counts_once(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    gifts = Gifts(facts, room, "host")
    gifts.sent("ana", 10)
    gifts.sent("ana", 5)
    await folded_up_to(engines, database, room, await facts.written(room))
    gifts.sent("ana", 5, entry=2)
    gifts.sent("ana", 1, entry=3)
    gifts.sent("ana", 1, entry=3)
    await folded_up_to(engines, database, room, await facts.written(room))
    [leader] = await leaders(database, room)
    assert (leader["coins"], leader["gifts"]) == (16, 3)
    verified = await verify(database, engines.bootstrap_servers, PROJECTIONS, _nobody)
    assert verified.difference is None
    rebuilt = await rebuild(database, engines.bootstrap_servers, PROJECTIONS, _nobody)
    assert rebuilt.difference is None


async def test_a_session_has_a_board_of_its_own(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    facts.open(room, pts_ms=0)
    gifts = Gifts(facts, room, "host")
    gifts.sent("ana", 10, session="an earlier one")
    gifts.sent("ben", 3, session=f"session-of-{room}")
    await folded_up_to(engines, database, room, await facts.written(room))
    everybody = [each["actor"] for each in await leaders(database, room)]
    present = [each["actor"] for each in await leaders(database, room, period="session")]
    today = await leaders(database, room, period="day")
    assert (everybody, present, today) == (["ana", "ben"], ["ben"], [])


async def test_a_battle_is_as_its_greatest_revision_told(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    sides = [battles.Side(room, "ana"), battles.Side("elsewhere", "bob")]
    tell = _teller(facts, room)
    tell("battle.invited", battles.BattleInvited("b", 1, sides, 60, "coins", [], 0, "ana", "t"))
    tell("battle.started", battles.BattleStarted("b", 3, sides, "t0", "t1", 60, "coins"))
    tell("battle.scored", battles.BattleScored("b", 5, {room: 7, "elsewhere": 9}, []))
    tell("battle.scored", battles.BattleScored("b", 4, {room: 7, "elsewhere": 0}, []))
    await folded_up_to(engines, database, room, await facts.written(room))
    queries = RoomQueries(database)
    [running] = await queries.battles(room, 10)
    assert (running["status"], running["revision"]) == ("running", 5)
    assert [side["score"] for side in running["sides"]] == [7, 9]
    tell(
        "battle.ended",
        battles.BattleEnded(
            "b", 6, {room: 7, "elsewhere": 9}, "win", "deadline", winner="elsewhere"
        ),
    )
    await folded_up_to(engines, database, room, await facts.written(room))
    [ended] = await queries.battles(room, 10)
    assert (ended["status"], ended["result"], ended["winner"]) == ("ended", "win", "elsewhere")
    state = await queries.state(room, at_ms=3)
    assert state is not None
    assert state["battle"]["revision"] == 5
    verified = await verify(database, engines.bootstrap_servers, PROJECTIONS, _nobody)
    assert verified.difference is None


def _teller(facts: FactLog, room: str) -> Any:
    at_ms = 0

    def tell(kind: str, data: Any) -> None:
        nonlocal at_ms
        at_ms += 1
        facts.put(room, kind, data, pts_ms=at_ms)

    return tell


def _nobody(done: int, total: int) -> None:
    pass
