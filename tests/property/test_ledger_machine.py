"""The ledger under deposits, gifts, holds, reversals, repeats and time, in any order.

The model is a purse a person and what each request came to, with no accounts, no entries and no
double booking: what it says somebody can spend must be what the books say.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from engagement.domain import ledger_requests as asks
from engagement.domain.ledger import Books, Decision, earnings, key_of, wallet
from engagement.domain.ledger_requests import MoneyAsked
from engagement.domain.requests import GiftSend
from tests.unit.domain_parts import T0_US, S, request_id
from tests.unit.ledger_parts import PRICES, ask, deposit, gift, hold, passed, reversal, take

PEOPLE = ("ana", "bea", "hana")
HOST = "hana"
people = st.sampled_from(["ana", "ana", "bea", "hana"])
few = st.integers(1, 60)
gifts = st.sampled_from(["rose", "rose", "rose", "fox", "fox", "gone", "none"])


class Ledger(RuleBasedStateMachine):
    """One partition's books, and a purse for each person."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(0)
        self.now_us = T0_US
        self.asked: list[tuple[MoneyAsked, Decision]] = []
        self.purses = dict.fromkeys(PEOPLE, 0)
        self.earned = dict.fromkeys(PEOPLE, 0)
        self.house = 0
        self.brought_in = 0
        self.holds: dict[tuple[str, str], tuple[int, str, int]] = {}
        """Those that are pending: coins, receiver, end."""
        self.paid: dict[tuple[str, str], tuple[int, int]] = {}
        """Those that were not reversed: coins, and what the host got."""

    def _ask(self, asked: MoneyAsked) -> Decision:
        [decision] = take(self.books, asked)
        self.asked.append((asked, decision))
        return decision

    @initialize()
    def somebody_is_rich(self) -> None:
        """Most of what may go wrong needs coins."""
        self.coins_are_bought("ana", 150)

    def _some(self, data: st.DataObject, *kinds: type) -> MoneyAsked:
        """A request of these kinds, mostly; now and then of another."""
        of_kind = [asked for asked, _ in self.asked if isinstance(asked.request, kinds)]
        everything = [asked for asked, _ in self.asked]
        among = data.draw(st.sampled_from([of_kind or everything] * 5 + [everything]))
        return data.draw(st.sampled_from(among[-6:]))

    # --- what is asked ---------------------------------------------------------------------------

    @rule(who=people, coins=few)
    def coins_are_bought(self, who: str, coins: int) -> None:
        self._ask(ask(deposit(coins), who, at_us=self.now_us))
        self.purses[who] += coins
        self.brought_in += coins

    @rule(who=people, name=gifts, count=st.integers(1, 9))
    def a_gift_is_sent(self, who: str, name: str, count: int) -> None:
        asked = gift(name, count, account=who, host=HOST, at_us=self.now_us)
        decision = self._ask(asked)
        prices = {each.terms.gift: each.terms for each in PRICES if each.terms.offered}
        if name not in prices:
            assert decision.code == "unknown_gift"
        elif who == HOST:
            assert decision.code == "self_gift"
        elif (coins := prices[name].coins * count) > self.purses[who]:
            assert decision.code == "insufficient_funds"
        else:
            assert decision.payment is not None
            share = coins * prices[name].host_share_percent // 100
            self.purses[who] -= coins
            self.earned[HOST] += share
            self.house += coins - share
            self.paid[key_of(asked)] = coins, share
            return
        assert decision.transfers == ()

    @rule(who=people, coins=few, ttl_s=st.integers(1, 3), to=st.sampled_from(["", "hana", "bea"]))
    def coins_are_held(self, who: str, coins: int, ttl_s: int, to: str) -> None:
        asked = ask(hold(coins, ttl_s=ttl_s, to=to), who, at_us=self.now_us)
        decision = self._ask(asked)
        if to == who:
            assert decision.code == "self_transfer"
        elif coins > self.purses[who]:
            assert decision.code == "insufficient_funds"
        else:
            assert decision.code == ""
            self.purses[who] -= coins
            self.holds[key_of(asked)] = coins, to, self.now_us + ttl_s * S

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), post=st.booleans())
    def a_hold_is_resolved(self, data: st.DataObject, post: bool) -> None:
        """Of one that is pending, was pending, or of something else."""
        about = self._some(data, asks.HoldPlace)
        target = asks.HoldTarget(about.request.id)
        kind = asks.HoldPost if post else asks.HoldVoid
        request = kind(id=request_id(), data=target)
        decision = self._ask(ask(request, about.account, at_us=self.now_us))
        pending = self.holds.get(key_of(about))
        if pending is None or self.now_us >= pending[2]:
            assert decision.code.startswith("hold_")
            assert decision.transfers == ()
            return
        assert decision.code == ""
        coins, to, _ = self.holds.pop(key_of(about))
        if not post:
            self.purses[about.account] += coins
        elif to:
            self.earned[to] += coins
        else:
            self.house += coins

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def a_gift_is_taken_back(self, data: st.DataObject) -> None:
        about = self._some(data, GiftSend)
        asked = ask(reversal(about.request.id), about.account, at_us=self.now_us)
        decision = self._ask(asked)
        moved = self.paid.get(key_of(about))
        if moved is None:
            assert decision.code in ("gift_not_found", "gift_already_reversed")
            return
        assert decision.code == ""
        coins, share = self.paid.pop(key_of(about))
        self.purses[about.account] += coins
        self.earned[HOST] -= share
        self.house -= coins - share

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def somebody_asks_again(self, data: st.DataObject) -> None:
        asked, first = data.draw(st.sampled_from(self.asked))
        [again] = take(self.books, replace(asked, at_us=self.now_us))
        if first.settled is None:
            return  # Itself a repeat, or nothing that is stored.
        assert again.transfers == again.holds == ()
        assert again.repeat_of is not None
        assert (again.repeat_of.entry, again.repeat_of.code) == (
            first.settled.entry,
            first.settled.code,
        )

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), coins=few)
    def an_id_is_used_for_something_else(self, data: st.DataObject, coins: int) -> None:
        asked, first = data.draw(st.sampled_from(self.asked))
        other = asks.Deposit(id=asked.request.id, data=asks.DepositOrder(coins + 1_000, "purchase"))
        [again] = take(self.books, ask(other, asked.account, at_us=self.now_us))
        if first.settled is not None:
            assert (again.code, again.transfers) == ("id_reused", ())

    @rule(time_us=st.sampled_from([S // 2, S, 3 * S]), told=st.sampled_from([False, False, True]))
    def time_passes(self, time_us: int, told: bool) -> None:
        """The timer may be late: nothing may hang on that."""
        self.now_us += time_us
        if told:
            self._end_holds()

    def _end_holds(self) -> None:
        [decision] = take(self.books, passed(self.now_us))
        due = {key for key, (_, _, end_us) in self.holds.items() if end_us <= self.now_us}
        assert {(each.account, each.hold) for each in decision.holds} == due
        for who, name in due:
            self.purses[who] += self.holds.pop((who, name))[0]

    # --- what the books say ----------------------------------------------------------------------

    def _balance(self, name: str) -> int:
        found = self.books.accounts.get(name)
        return 0 if found is None else found.balance

    @invariant()
    def debits_are_credits(self) -> None:
        accounts = self.books.accounts.values()
        assert sum(each.debits for each in accounts) == sum(each.credits for each in accounts)

    @invariant()
    def everybody_can_spend_what_the_model_says(self) -> None:
        for who, coins in self.purses.items():
            account = self.books.accounts.get(wallet(who))
            assert (0 if account is None else account.spendable) == coins >= 0

    @invariant()
    def what_was_earned_is_what_was_given(self) -> None:
        for who, coins in self.earned.items():
            assert self._balance(earnings(who)) == coins
        assert self._balance("house") == self.house

    @invariant()
    def no_coin_comes_from_nowhere(self) -> None:
        held = sum(coins for coins, _, _ in self.holds.values())
        everywhere = sum(self.purses.values()) + sum(self.earned.values()) + self.house + held
        assert everywhere == self.brought_in == -self._balance("purchases")

    @invariant()
    def every_entry_is_one_request(self) -> None:
        entries: list[Any] = [each.entry for _, each in self.asked if each.entry]
        assert entries == list(range(1, len(entries) + 1))
        assert self.books.next_entry == len(entries) + 1


TestLedger = Ledger.TestCase
TestLedger.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
