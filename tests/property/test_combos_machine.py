"""Combos under taps in any order, repeats, time, rooms that close and workers that start again.

The model knows what a viewer would expect, and nothing of how it is done: taps of one viewer, gift
and name within five seconds of the last are one combo; every combo ends once, with all its taps.
"""

from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engagement.domain.events import Decided
from engagement.domain.requests import GiftPaid
from engagement.domain.room_partition import RoomPartition
from tests.unit.domain_parts import HOST, MS, ROOM, WORDS, S, closing, opening
from tests.unit.room_gift_parts import GiftedRooms

WINDOW_US = 5 * S
viewers = st.sampled_from(["viv", "wim"])
gifts = st.sampled_from(["rose", "fox"])
names = st.sampled_from(["", "", "spree"])


class Combos(RuleBasedStateMachine):
    """One room, two viewers, two gifts."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms = GiftedRooms()
        self.asked: list[tuple[str, GiftPaid, int]] = []
        self.open: dict[tuple[str, str], tuple[str, str, int]] = {}
        """Viewer and gift → combo, name, time of its newest tap."""
        self.sums: dict[str, list[int]] = {}
        """Combo → gifts and coins."""
        self.ended: set[str] = set()
        self.last: dict[tuple[str, str], tuple[str, int, str]] = {}
        """Viewer and gift → name, newest tap and reason of the combo that ended last."""
        self.read = 0

    @initialize()
    def the_room_is_open(self) -> None:
        self.rooms.given_open()

    # --- what happens ----------------------------------------------------------------------------

    @rule(who=viewers, gift=gifts, count=st.integers(1, 5), name=names, ago_us=st.integers(0, 1))
    def tap(self, who: str, gift: str, count: int, name: str, ago_us: int) -> None:
        """Now, or as long ago as a ledger may take."""
        at_us = self.rooms.now_us - ago_us * 900 * MS
        paid = self.rooms.paid(who, gift, count, **({"combo": name} if name else {}))
        self.asked.append((who, paid, at_us))
        self.rooms.when(paid, who, at_us=at_us)
        self._look()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def the_ledger_tells_it_again(self, data: st.DataObject) -> None:
        who, paid, at_us = data.draw(st.sampled_from(self.asked))
        assert self.rooms.when(paid, who, at_us=at_us) == []

    @rule(time_us=st.sampled_from([300 * MS, 2 * S, 4_900 * MS, 7 * S]))
    def time_passes(self, time_us: int) -> None:
        self.rooms.after(time_us)
        self._look()

    @rule()
    def the_room_closes_and_opens(self) -> None:
        self.rooms.when(closing())
        self._look()
        assert not self.open
        self.rooms.when(opening(), HOST)
        self._look()

    @rule()
    def the_worker_starts_again(self) -> None:
        """From the facts that it wrote, or from a checkpoint of the room."""
        fresh = RoomPartition(WORDS)
        for fact in self.rooms.log:
            fresh.recall(fact)
        assert fresh.rooms == self.rooms.partition.rooms
        self.rooms.partition = fresh

    # --- what is expected ------------------------------------------------------------------------

    def _look(self) -> None:
        facts, self.read = self.rooms.log[self.read :], len(self.rooms.log)
        for fact in facts:
            if fact.kind == "gift.sent":
                self._sent(fact, fact.data)
            elif fact.kind == "gift.combo.ended":
                self._ended(fact, fact.data)

    def _sent(self, fact: Decided, data: Any) -> None:
        key, name = (str(fact.actor), data.gift), data.combo_name or ""
        known = self.open.get(key)
        if known is not None:
            combo, its_name, last_us = known
            is_one = name == its_name and abs(fact.at_us - last_us) <= WINDOW_US
            assert is_one, "the other one ends first"
            assert data.combo == combo
            self.open[key] = combo, name, max(last_us, fact.at_us)
        else:
            assert data.combo not in self.sums, "a new one has an id of its own"
            assert not self._goes_on(key, name, fact.at_us), "it was cut"
            self.open[key] = data.combo, name, fact.at_us
        sums = self.sums.setdefault(data.combo, [0, 0])
        sums[0] += data.count
        sums[1] += data.coins
        assert data.combo_count == sums[0]

    def _goes_on(self, key: tuple[str, str], name: str, at_us: int) -> bool:
        if key not in self.last:
            return False
        its_name, last_us, reason = self.last[key]
        return reason != "room_closed" and name == its_name and abs(at_us - last_us) <= WINDOW_US

    def _ended(self, fact: Decided, data: Any) -> None:
        key = str(fact.actor), data.gift
        combo, name, last_us = self.open.pop(key)
        assert (data.combo, fact.at_us) == (combo, last_us)
        assert [data.total_count, data.total_coins] == self.sums[combo]
        assert combo not in self.ended
        self.ended.add(combo)
        self.last[key] = name, last_us, data.reason
        if data.reason == "client":
            assert name != self.asked[-1][1].data.combo

    @invariant()
    def no_combo_stays_open_for_long(self) -> None:
        for _, _, last_us in self.open.values():
            assert self.rooms.now_us - last_us <= WINDOW_US + 2 * S

    @invariant()
    def every_paid_gift_is_told_once(self) -> None:
        told = [fact.data.transfer for fact in self.rooms.log if fact.kind == "gift.sent"]
        assert told == [f"0-{paid.data.entry}" for _, paid, _ in self.asked]

    @invariant()
    def the_room_is_the_fold_of_its_facts(self) -> None:
        if self.rooms.log:
            state = self.rooms.partition.rooms[ROOM]
            assert {combo.combo for combo in state.combos.values()} == {
                combo for combo, _, _ in self.open.values()
            }
            assert msgspec.msgpack.encode(state)  # A checkpoint can hold it.

    def teardown(self) -> None:
        self.rooms.after(8 * S)
        self._look()
        assert self.ended == set(self.sums)


TestCombos = Combos.TestCase
TestCombos.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
