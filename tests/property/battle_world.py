"""A world of battles without engines: hosts, viewers, a ledger that repeats itself, an owner that
is killed. What should have been scored is worked out here from what was sent, not by the domain.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from engagement.domain.battle_batch import BattleBatch, PointsKey
from engagement.domain.battle_events import ScoreWindow
from engagement.domain.battle_requests import BattleAsked, BattleRequest
from engagement.domain.battles import BattleState
from engagement.domain.events import SubjectFact, unix_us
from tests.unit import battle_parts as parts

LEDGERS = 2


@dataclass
class Gift:
    """A gift that the ledger has paid."""

    battle: str
    room: str
    actor: str
    coins: int
    at_us: int
    ledger: int
    entry: int

    @property
    def transfer(self) -> str:
        return f"{self.ledger}-{self.entry}"


@dataclass
class Ledger:
    """One partition of the ledger: what it has told, in order, and what it still has to tell."""

    number: int
    entry: int = 0
    told: list[BattleAsked] = field(default_factory=list)
    waiting: list[BattleAsked] = field(default_factory=list)


class World:
    """Battles behind a store, and everything that ever happened to them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._kept: dict[str, bytes] = {}
        self._points: dict[PointsKey, int] = {}
        self.taken: dict[str, str] = {}
        """Room → the battle that has it."""
        self.ledgers = [Ledger(number) for number in range(LEDGERS)]
        self.facts: list[SubjectFact] = []
        self.gifts: list[Gift] = []
        self.before_barrier: dict[str, set[str]] = {}
        """Battle → transfers of the gifts that were paid before its first barrier."""

    def state(self, battle: str) -> BattleState:
        kept = self._kept.get(battle)
        return BattleState(battle) if kept is None else msgspec.json.decode(kept, type=BattleState)

    def decide(
        self, record: list[BattleAsked], now_us: int, *, killed: bool = False
    ) -> list[SubjectFact]:
        """One transaction over one record. A killed owner leaves nothing behind."""
        battles = {name: self.state(name) for name in self._names}
        batch = BattleBatch(battles, dict(self.taken), dict(self._points))
        told = batch.take(record, now_us)
        facts = [fact for _, decision in told for fact in decision.facts]
        if killed:
            return facts
        self._kept = {name: msgspec.json.encode(state) for name, state in battles.items()}
        self.taken, self._points = batch.taken, batch.points
        self.facts += facts
        for state, decision in told:
            if decision.barrier:
                self._send_barrier(state.battle, decision.barrier, decision.at_us)
        return facts

    def ask(
        self, battle: str, request: BattleRequest, actor: str, at_us: int, role: Any = "viewer"
    ) -> list[SubjectFact]:
        return self.decide([BattleAsked(battle, actor, role, at_us, request)], at_us)

    def pay(self, battle: str, room: str, actor: str, coins: int, at_us: int, ledger: int) -> None:
        """The ledger pays a gift; the battle will hear of it."""
        books = self.ledgers[ledger]
        books.entry += 1
        gift = Gift(battle, room, actor, coins, at_us, ledger, books.entry)
        self.gifts.append(gift)
        request = parts.contribution(room, coins, entry=gift.entry, ledger=ledger, actor=actor)
        books.waiting.append(BattleAsked(battle, actor, "viewer", at_us, request))

    def tell(self, ledger: int, most: int, back: int, now_us: int, *, killed: bool) -> None:
        """The ledger tells the next few, after some that it has told already (its outbox does not
        know that they have arrived), in one record."""
        books = self.ledgers[ledger]
        news = books.waiting[:most]
        record = books.told[max(0, len(books.told) - back) :] + news
        if killed:
            lost = self.decide(record, now_us, killed=True)
            # Whoever decides it instead tells the same, byte for byte.
            assert self.decide(record, now_us) == lost
        else:
            self.decide(record, now_us)
        del books.waiting[:most]
        books.told += news

    def _send_barrier(self, battle: str, barrier: int, at_us: int) -> None:
        paid = {gift.transfer for gift in self.gifts if gift.battle == battle}
        self.before_barrier.setdefault(battle, paid)
        for books in self.ledgers:
            request = parts.mark(books.number, barrier, partitions=LEDGERS)
            books.waiting.append(BattleAsked(battle, "ledger", "service", at_us, request))

    def told_of(self, battle: str) -> list[SubjectFact]:
        return [fact for fact in self.facts if fact.subject == battle]


def points_by_hand(coins: int, since_us: int, windows: list[ScoreWindow]) -> int:
    """The rule `coins`, written once more."""
    best = 1
    for window in windows:
        begins_us = window.after_s * 1_000_000
        if begins_us <= since_us < begins_us + window.duration_s * 1_000_000:
            best = max(best, window.multiplier)
    return coins * best


def expected_totals(world: World, battle: str, counted: set[str]) -> dict[str, int]:
    """What a battle must have ended with, from the gifts alone."""
    [started] = [fact.data for fact in world.told_of(battle) if fact.kind == "battle.started"]
    [invited] = [fact.data for fact in world.told_of(battle) if fact.kind == "battle.invited"]
    started_us = unix_us(started.started)
    totals = {side.room: 0 for side in started.sides}
    for gift in world.gifts:
        if gift.battle == battle and gift.transfer in counted:
            since_us = gift.at_us - started_us
            totals[gift.room] += points_by_hand(gift.coins, since_us, invited.windows)
    return totals
