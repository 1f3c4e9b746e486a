"""Leaderboards, earnings and battle boards, folded from the log."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import battle_events as battles
from engagement.domain.gift_events import GiftReversed, GiftSent
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

    def sent(self, actor: str, coins: int, *, session: str = "s1", entry: int = 0) -> str:
        """A gift of one piece; its id."""
        self.entry = entry or self.entry + 1
        data = GiftSent(
            *("rose", "Rose", 1, "rose", 1, coins, coins, coins // 2, self._host),
            f"3-{self.entry}",
            session,
        )
        return self._facts.put(self._room, "gift.sent", data, pts_ms=self.entry, actor=actor)

    def reversed(self, actor: str, gift: str, coins: int, *, session: str = "s1") -> None:
        """That gift is taken back."""
        self.entry += 1
        sent = f"{DAY}T23:00:00Z"
        data = GiftReversed(
            *(gift, coins, coins // 2, self._host, f"3-{self.entry}", session, sent, "fraud")
        )
        self._facts.put(self._room, "gift.reversed", data, pts_ms=self.entry, actor=actor)


async def test_senders_are_ranked_by_what_they_gave_and_did_not_get_back(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> None:
    host = f"host-of-{room}"
    gifts = Gifts(facts, room, host)
    facts.open(room, pts_ms=0)
    gifts.sent("ana", 10)
    gifts.sent("ben", 30)
    back = gifts.sent("ben", 25)
    gifts.sent("ana", 7)
    gifts.reversed("ben", back, 25)
    await folded_up_to(engines, database, room, await facts.written(room))
    queries = RoomQueries(database)
    assert await queries.leaderboard(room, 10) == [
        {"rank": 1, "actor": "ben", "coins": 30, "gifts": 1},
        {"rank": 2, "actor": "ana", "coins": 17, "gifts": 2},
    ]
    assert len(await queries.leaderboard(room, 1)) == 1
    earned = await queries.earnings(host)
    assert earned["coins"] == 5 + 15 + 12 + 3 - 12
    assert earned["days"] == [{"day": DAY, "coins": 23, "gifts": 3}]
    state = await queries.state(room, at_ms=2)
    assert state is not None
    assert state["top_senders"] == [{"actor": "ben", "coins": 30}, {"actor": "ana", "coins": 10}]


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
    [leader] = await RoomQueries(database).leaderboard(room, 10)
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
    queries = RoomQueries(database)
    everybody = [each["actor"] for each in await queries.leaderboard(room, 10)]
    present = [each["actor"] for each in await queries.leaderboard(room, 10, period="session")]
    today = await queries.leaderboard(room, 10, period="day")
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
