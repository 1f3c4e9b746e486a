"""Battles under whatever hosts, viewers, timers and a repeating ledger do, in any order.

The requests are few and collide on purpose: three battles want three rooms.
"""

from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engagement.domain.battle_events import ScoreWindow, Side
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.battles import UNREVISED, next_moment_us, revision_of, takes_rooms
from tests.property.battle_world import LEDGERS, World, expected_totals
from tests.unit import battle_parts as parts
from tests.unit.domain_parts import MS, T0_US, S

BATTLES = ("one", "two", "three")
HOSTS = {"red": "ann", "blue": "bob", "green": "cid"}
PEOPLE = (*HOSTS.values(), "viv")
WINDOWS = [ScoreWindow(0, 2, 2), ScoreWindow(1, 3, 3)]
ENDINGS = ("battle.ended", "battle.declined", "battle.cancelled", "battle.expired")

battles = st.sampled_from(BATTLES)
rooms = st.sampled_from(sorted(HOSTS))
people = st.sampled_from(PEOPLE)
ledgers = st.integers(0, LEDGERS - 1)
sides_of = st.permutations(sorted(HOSTS)).flatmap(
    lambda order: st.sampled_from([order[:2], order[:2], order, order[:1], [order[0], order[0]]])
)


class Battles(RuleBasedStateMachine):
    """Three battles, three rooms, two partitions of a ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(BATTLES)
        self.now_us = T0_US
        self.asked: list[BattleAsked] = []

    @initialize(three=st.booleans(), punish_s=st.sampled_from([0, 3]), long=st.booleans())
    def a_battle_runs(self, three: bool, punish_s: int, long: bool) -> None:
        """Most of what may go wrong needs one that runs."""
        sides = sorted(HOSTS) if three else sorted(HOSTS)[:2]
        self.invite(BATTLES[0], sides, HOSTS[sides[0]], long, punish_s)
        self.all_accept(BATTLES[0])
        self.now_us += 300 * MS

    def _ask(self, battle: str, request: Any, who: str, role: Any = "viewer") -> None:
        self.asked.append(BattleAsked(battle, who, role, self.now_us, request))
        self.world.decide([self.asked[-1]], self.now_us)

    # --- hosts -----------------------------------------------------------------------------------

    @rule(
        battle=battles,
        sides=sides_of,
        who=people,
        long=st.booleans(),
        punish_s=st.sampled_from([0, 3]),
    )
    def invite(self, battle: str, sides: list[str], who: str, long: bool, punish_s: int) -> None:
        request = parts.invitation(
            *(Side(room, HOSTS[room]) for room in sides),
            duration_s=9 if long else 3,
            windows=WINDOWS,
            punish_s=punish_s,
        )
        self._ask(battle, request, who)

    @rule(battle=battles, who=people)
    def accept(self, battle: str, who: str) -> None:
        self._ask(battle, parts.accept(), who)

    @rule(battle=battles)
    def all_accept(self, battle: str) -> None:
        self._ask(battle, parts.accept(), "backend", "service")

    @rule(battle=battles, who=people, again=st.booleans())
    def decline_or_cancel(self, battle: str, who: str, again: bool) -> None:
        self._ask(battle, parts.cancel() if again else parts.decline(), who)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def a_host_asks_again(self, data: st.DataObject) -> None:
        before = [self.world.state(name) for name in BATTLES]
        again = data.draw(st.sampled_from(self.asked[-20:]))
        self.world.decide([again], self.now_us)
        assert [self.world.state(name) for name in BATTLES] == before

    @rule(battle=battles, sides=sides_of, punish_s=st.sampled_from([0, 3]))
    def the_platform_starts_a_battle(self, battle: str, sides: list[str], punish_s: int) -> None:
        self.invite(battle, sides, HOSTS[sides[0]], long=False, punish_s=punish_s)
        self.all_accept(battle)
        self.now_us += 300 * MS

    @rule(pair=st.permutations(BATTLES), sides=sides_of)
    def two_battles_want_the_same_rooms(self, pair: list[str], sides: list[str]) -> None:
        for battle in pair[:2]:
            self.invite(battle, sides, HOSTS[sides[0]], long=True, punish_s=0)
        for battle in pair[:2]:
            self.all_accept(battle)

    # --- money -----------------------------------------------------------------------------------

    @rule(room=rooms, ledger=ledgers, coins=st.lists(st.integers(1, 50), min_size=1, max_size=4))
    def gifts_are_paid(self, room: str, ledger: int, coins: list[int]) -> None:
        # The ledger names the battle that has the room.
        for number, each in enumerate(coins):
            battle = self.world.taken.get(room, BATTLES[number % len(BATTLES)])
            who = ("viv", "wim", "xia", "yan")[each % 4]
            self.world.pay(battle, room, who, each, self.now_us, ledger)

    @rule(room=rooms, ledger=ledgers, age_us=st.sampled_from([1, 40 * MS, 2 * S, -20 * MS]))
    def a_gift_was_accepted_at_another_time(self, room: str, ledger: int, age_us: int) -> None:
        """It was long on its way, or the clock of its gateway differs."""
        battle = self.world.taken.get(room, BATTLES[0])
        self.world.pay(battle, room, "viv", 7, self.now_us - age_us, ledger)

    @rule(ledger=ledgers, most=st.integers(1, 6), back=st.integers(0, 5), killed=st.booleans())
    def the_ledger_tells(self, ledger: int, most: int, back: int, killed: bool) -> None:
        self.world.tell(ledger, most, back, self.now_us, killed=killed)

    @rule()
    def the_ledger_tells_everything(self) -> None:
        for ledger in range(LEDGERS):
            self.world.tell(ledger, 1_000, 0, self.now_us, killed=False)

    # --- time ------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 100, 900, 2_000, 61_000]))
    def time_passes(self, ms: int) -> None:
        self.now_us += ms * MS

    @rule(slow=st.booleans())
    def the_timers_look(self, slow: bool) -> None:
        for battle in BATTLES:
            self._look(battle, slow)

    @rule()
    def the_next_deadline_comes(self) -> None:
        states = map(self.world.state, BATTLES)
        deadlines = [state.deadline_us for state in states if state.status == "running"]
        if deadlines:
            self.now_us = max(self.now_us, min(deadlines))
            self.the_timers_look(slow=False)

    @rule()
    def the_next_battle_is_counted(self) -> None:
        """All the way to its end, if nothing is in its way."""
        self.the_next_deadline_comes()
        self.now_us += 1 * S
        self.the_timers_look(slow=False)
        self.the_ledger_tells_everything()

    def _look(self, battle: str, slow: bool) -> None:
        state = self.world.state(battle)
        written_us = self.now_us
        if state.status == "settling":
            request = parts.passed(written_us, state.barrier + 1)
        elif (moment_us := next_moment_us(state)) is None or moment_us > self.now_us:
            return
        else:
            request = parts.passed(written_us)
        self.now_us += 2 * S if slow else 0
        asked = BattleAsked(battle, "battles", "service", written_us, request)
        self.world.decide([asked], self.now_us)

    @rule(battle=battles, room=rooms, closed=st.booleans())
    def a_side_is_lost(self, battle: str, room: str, closed: bool) -> None:
        reason = "room_closed" if closed else "host_disconnected"
        asked = BattleAsked(battle, "battles", "service", self.now_us, parts.lost(room, reason))
        self.world.decide([asked], self.now_us)

    # --- what holds ------------------------------------------------------------------------------

    @invariant()
    def revisions_grow_by_one(self) -> None:
        for battle in BATTLES:
            told = [each for each in self.world.told_of(battle) if each.kind not in UNREVISED]
            assert [revision_of(each.data) for each in told] == list(range(1, len(told) + 1))
            assert self.world.state(battle).revision == len(told)

    @invariant()
    def no_revision_is_earlier_than_the_one_before(self) -> None:
        for battle in BATTLES:
            told = [each for each in self.world.told_of(battle) if each.kind not in UNREVISED]
            assert all(first.at_us <= second.at_us for first, second in pairwise(told))

    @invariant()
    def ids_are_unique(self) -> None:
        ids = [fact.id for fact in self.world.facts]
        assert len(set(ids)) == len(ids)

    @invariant()
    def there_is_at_most_one_end(self) -> None:
        for battle in BATTLES:
            kinds = [fact.kind for fact in self.world.told_of(battle)]
            assert sum(kind in ENDINGS for kind in kinds) <= 1
            assert kinds.count("battle.started") <= 1

    @invariant()
    def a_room_is_in_one_battle(self) -> None:
        fighting = [
            side.room
            for state in map(self.world.state, BATTLES)
            if takes_rooms(state)
            for side in state.sides
        ]
        assert len(set(fighting)) == len(fighting)

    @invariant()
    def every_score_is_the_sum_of_what_was_told(self) -> None:
        for battle in BATTLES:
            totals: dict[str, int] = {}
            for fact in self.world.told_of(battle):
                if fact.kind == "battle.contributed":
                    totals[fact.data.room] = totals.get(fact.data.room, 0) + fact.data.points
                elif fact.kind in ("battle.scored", "battle.ended"):
                    nonzero = {room: total for room, total in fact.data.totals.items() if total}
                    assert nonzero == totals

    @invariant()
    def a_gift_is_told_once(self) -> None:
        told = [
            (fact.subject, fact.data.transfer)
            for fact in self.world.facts
            if fact.kind in ("battle.contributed", "battle.contribution.late")
        ]
        assert len(set(told)) == len(told)

    @invariant()
    def an_end_counts_what_came_in_time_and_nothing_else(self) -> None:
        for battle in BATTLES:
            facts = self.world.told_of(battle)
            ends = [fact.data for fact in facts if fact.kind == "battle.ended"]
            if not ends:
                continue
            state = self.world.state(battle)
            counted = {f.data.transfer for f in facts if f.kind == "battle.contributed"}
            sides = {side.room for side in state.sides}
            in_time = {
                gift.transfer
                for gift in self.world.gifts
                if gift.battle == battle
                and gift.room in sides
                and state.started_us <= gift.at_us <= state.deadline_us
            }
            before_barrier = self.world.before_barrier[battle]
            # Told while the battle was invited: its start was not known, so it is not in time.
            assert counted <= in_time
            assert in_time & before_barrier <= counted | self._told_before_start(battle)
            assert ends[0].totals == expected_totals(self.world, battle, counted)

    def _told_before_start(self, battle: str) -> set[str]:
        told: set[str] = set()
        for fact in self.world.told_of(battle):
            if fact.kind == "battle.started":
                return told
            if fact.kind == "battle.contribution.late":
                told.add(fact.data.transfer)
        return told

    @invariant()
    def the_top_is_who_gave_most(self) -> None:
        for battle in BATTLES:
            given: dict[tuple[str, str], int] = {}
            for fact in self.world.told_of(battle):
                if fact.kind == "battle.contributed":
                    key = (fact.data.room, str(fact.actor))
                    given[key] = given.get(key, 0) + fact.data.points
                elif fact.kind in ("battle.scored", "battle.ended"):
                    best = sorted(given.items(), key=lambda item: (-item[1], item[0]))[:3]
                    told = [((each.room, each.actor), each.points) for each in fact.data.top]
                    assert told == best


Battles.TestCase.settings = settings(
    deadline=None,
    stateful_step_count=50,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow],
)
TestBattles = Battles.TestCase
