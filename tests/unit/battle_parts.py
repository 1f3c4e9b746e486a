"""Battles for tests of the domain: whoever asks, and everything that was told."""

from typing import Any

from engagement.domain import battle_requests as asks
from engagement.domain import limits
from engagement.domain.battle_batch import BattleBatch, PointsKey
from engagement.domain.battle_events import ScoreWindow, Side
from engagement.domain.battle_requests import BattleAsked, BattleRequest
from engagement.domain.battles import BattleState
from engagement.domain.events import SubjectFact
from tests.unit.domain_parts import MS, T0_US, S, request_id

BATTLE = "derby"
RED, BLUE = Side("red", "ann"), Side("blue", "bob")
PARTITIONS = 3
"""Of the ledger."""
LEAD_US = limits.BATTLE_LEAD_MS * MS
STARTED_US = T0_US + LEAD_US
"""Of a battle that is asked for and accepted at `T0_US`."""


def invitation(*sides: Side, duration_s: int = 60, **more: Any) -> BattleRequest:
    data = asks.Invitation(list(sides or (RED, BLUE)), duration_s, **more)
    return asks.BattleInvite(id=request_id(), data=data)


def accept(number: int = -1) -> BattleRequest:
    return asks.BattleAccept(id=request_id(number), data=asks.SideAnswer([]))


def decline(number: int = -1) -> BattleRequest:
    return asks.BattleDecline(id=request_id(number), data=asks.SideAnswer([]))


def cancel(number: int = -1) -> BattleRequest:
    return asks.BattleCancel(id=request_id(number), data=asks.SideAnswer([]))


def contribution(
    room: str = "red", coins: int = 10, *, entry: int, ledger: int = 0, actor: str = "viv"
) -> BattleRequest:
    data = asks.Contribution(request_id(), room, actor, coins, ledger, entry)
    return asks.BattleContribute(id=data.gift, data=data)


def mark(ledger: int, barrier: int = 1, partitions: int = PARTITIONS) -> BattleRequest:
    return asks.BattleMarked(id=request_id(), data=asks.Mark(ledger, partitions, barrier))


def passed(at_us: int, barrier: int = 0) -> BattleRequest:
    return asks.BattleTimePassed(id=request_id(), data=asks.Passed(at_us, barrier))


def lost(room: str, reason: Any = "room_closed") -> BattleRequest:
    return asks.BattleSideLost(id=request_id(), data=asks.Loss(room, reason))


def window(after_s: int, duration_s: int, multiplier: int) -> ScoreWindow:
    return ScoreWindow(after_s, duration_s, multiplier)


class Arena:
    """Some battles that share their rooms, and a log of what they told."""

    def __init__(self, *names: str) -> None:
        self.battles = {name: BattleState(name) for name in names or (BATTLE,)}
        self.taken: dict[str, str] = {}
        self.points: dict[PointsKey, int] = {}
        self.facts: list[SubjectFact] = []
        self.barriers: list[tuple[str, int]] = []

    @property
    def state(self) -> BattleState:
        """The first battle."""
        return next(iter(self.battles.values()))

    def ask(
        self,
        request: BattleRequest,
        actor: str = "viv",
        *,
        at_us: int = T0_US,
        now_us: int | None = None,
        role: Any = "viewer",
        battle: str = "",
    ) -> list[SubjectFact]:
        """One request in a record of its own; what it told."""
        asked = BattleAsked(battle or self.state.battle, actor, role, at_us, request)
        return self.take([asked], at_us if now_us is None else now_us)

    def take(self, record: list[BattleAsked], now_us: int) -> list[SubjectFact]:
        """All requests of one record; what they told."""
        batch = BattleBatch(self.battles, self.taken, self.points)
        told = batch.take(record, now_us)
        facts = [fact for _, decision in told for fact in decision.facts]
        self.barriers += [(state.battle, each.barrier) for state, each in told if each.barrier]
        self.facts += facts
        return facts

    def give(self, room: str = "red", coins: int = 10, **how: Any) -> list[SubjectFact]:
        """A paid gift, told by the ledger."""
        at_us = how.pop("at_us", STARTED_US + S)
        battle = how.pop("battle", "")
        request = contribution(room, coins, **how)
        return self.ask(request, how.get("actor", "viv"), at_us=at_us, battle=battle)

    def close_books(self, at_us: int, barrier: int = 1) -> list[SubjectFact]:
        """The barrier, and all its marks."""
        facts = self.ask(passed(at_us, barrier), at_us=at_us)
        for ledger in range(PARTITIONS):
            facts += self.ask(mark(ledger, barrier), at_us=at_us)
        return facts

    @property
    def kinds(self) -> list[str]:
        """Types of all facts so far."""
        return kinds(self.facts)


def kinds(facts: list[SubjectFact]) -> list[str]:
    """Types of facts."""
    return [fact.kind.removeprefix("battle.") for fact in facts]


def refusal(facts: list[SubjectFact]) -> str:
    """The code of the one refusal that was told."""
    [fact] = facts
    assert fact.kind == "battle.refused"
    code: str = fact.data.code
    return code


def started(**more: Any) -> Arena:
    """A battle of red and blue that runs."""
    arena = Arena()
    arena.ask(invitation(**more), "ann")
    arena.ask(accept(), "bob")
    assert arena.state.status == "running"
    return arena


def settling(**more: Any) -> Arena:
    """One whose deadline has just passed."""
    arena = started(**more)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    assert arena.state.status == "settling"
    return arena
