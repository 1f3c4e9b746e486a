"""Bugs in what the product does about money, planted while its processes start."""

import math
from typing import Any

from msgspec.structs import replace

Patched = Any
"""A module of the product, just imported."""

UNTOLD_EVERY = 40
LATE_US = 2_000_000


# --- the ledger -----------------------------------------------------------------------------------


def refusals_forgotten(module: Patched) -> None:
    decide = module.decide

    def forgetful(books: Any, envelope: Any, asked: Any) -> Any:
        decision = decide(books, envelope, asked)
        return replace(decision, settled=None) if decision.code else decision

    module.decide = forgetful


def bodies_not_compared(module: Patched) -> None:
    module.fingerprint = lambda asked: b"all are the same"


def wallets_without_a_bottom(module: Patched) -> None:
    module.Account.spendable = property(lambda self: module.limits.COINS_MAX)


def share_rounded_up(module: Patched) -> None:
    module.host_share = lambda terms, coins: math.ceil(coins * terms.host_share_percent / 100)


def some_gifts_untold(module: Patched) -> None:
    tell, count = module.tell, 0

    def mostly(partition: int, decision: Any, battle: str = "") -> Any:
        nonlocal count
        told = tell(partition, decision, battle)
        if decision.payment is not None:
            count += 1
            if count % UNTOLD_EVERY == 0:
                told.room = None
        return told

    module.tell = mostly


def outbox_forgotten(module: Patched) -> None:
    keep = module.RealTransaction.keep

    async def kept_and_dropped(self: Any, told: Any) -> Any:
        rows = await keep(self, told)
        await self.forget({partition: row.number for partition, row in rows.items()})
        return rows

    module.RealTransaction.keep = kept_and_dropped


# --- rooms and battles ----------------------------------------------------------------------------


def entries_not_compared(module: Patched) -> None:
    module.is_known = lambda state, asked: False


def contributions_not_compared(module: Patched) -> None:
    def forget_entries(state: Any) -> None:
        state.entries.clear()

    _before_contributions(module, forget_entries)


def late_gifts_score(module: Patched) -> None:
    request = module.asks.BattleContribute
    contribute = module._DECISIONS[request]

    def later(state: Any, *more: Any) -> Any:
        deadline_us = state.deadline_us
        state.deadline_us += LATE_US
        try:
            yield from list(contribute(state, *more))
        finally:
            state.deadline_us = deadline_us

    module._DECISIONS[request] = later


def _before_contributions(module: Patched, change: Any) -> None:
    request = module.asks.BattleContribute
    contribute = module._DECISIONS[request]

    def changed(state: Any, *more: Any) -> Any:
        change(state)
        yield from contribute(state, *more)

    module._DECISIONS[request] = changed


def windows_ignored(module: Patched) -> None:
    module.multiplier_at = lambda since_us, windows: 1


def one_room_hears_no_end(module: Patched) -> None:
    add_room = module.BattleTelling._add_room

    def only_even(self: Any, room: str, fact: Any) -> None:
        if fact.kind != "battle.ended" or room[-1] in "02468":
            add_room(self, room, fact)

    module.BattleTelling._add_room = only_even


# --- the gateway and the projections --------------------------------------------------------------


def outcomes_always_good(module: Patched) -> None:
    module.outcome_of = lambda settled: module.Outcome("paid")


def wallets_shown_richer(module: Patched) -> None:
    wallet = module.LedgerQueries.wallet

    async def richer(self: Any, user: str) -> Any:
        shown = await wallet(self, user)
        return replace(shown, coins=shown.coins + 1)

    module.LedgerQueries.wallet = richer


def some_gifts_not_on_the_board(module: Patched) -> None:
    take, count = module.GiftsProjection.take, 0

    def mostly(self: Any, fact: Any) -> None:
        nonlocal count
        count += 1
        if count % UNTOLD_EVERY:
            take(self, fact)

    module.GiftsProjection.take = mostly
