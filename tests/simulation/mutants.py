"""Bugs of the product, planted before a world begins: the auditor must find each.

A mutant replaces a name of the product's own modules, in a process that does nothing else.
"""

from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

from msgspec.structs import replace

from engagement.database import battle_store, ledger_store
from engagement.domain import battle_decisions, gifts, ledger, room_partition
from engagement.domain import battle_requests as battle_asks
from engagement.domain import ledger_requests as asks
from engagement.domain.battle_batch import BattleBatch
from engagement.log.topics import DEAD_LETTER_TOPIC
from engagement.processors import ledger_processor, transacted
from engagement.processors.ledger_processor import LedgerDecider
from engagement.processors.outbox import OutboxPublisher
from engagement.processors.owned_partition import OwnedPartition
from tests.simulation import statements
from tests.simulation.sql import Database, DeciderSession

WORLDS: Final = 60
"""A bug that this many worlds do not show is one that the simulation cannot find."""


def plant(name: str) -> None:
    """Plant a bug in this process, for as long as it lives. Raises KeyError for no such bug."""
    MUTANTS[name]()


def _set(target: Any, name: str, value: Any) -> None:
    patch.object(target, name, value).start()


def _around(target: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put something around a function."""
    _set(target, name, make(getattr(target, name)))


def _ledger_decides(kind: type, make: Callable[[Any], Any]) -> None:
    patch.dict(ledger._DECISIONS, {kind: make(ledger._DECISIONS[kind])}).start()


def _battle_decides(kind: type, make: Callable[[Any], Any]) -> None:
    patch.dict(battle_decisions._DECISIONS, {kind: make(battle_decisions._DECISIONS[kind])}).start()


# --- who decides, and where from -----------------------------------------------------------------


def _anybody_commits() -> None:
    init = Database.__init__

    def unfenced(self: Database, *args: Any) -> None:
        init(self, *args)
        self.is_fenced = False

    _set(Database, "__init__", unfenced)


def _position_is_not_moved() -> None:
    _set(DeciderSession, "_move", lambda self, tx, partition, span: None)


def _rows_are_forgotten_when_put() -> None:
    put = OutboxPublisher.put

    async def hasty(self: Any, row: Any) -> None:
        await put(self, row)
        self._published = row.number

    _set(OutboxPublisher, "put", hasty)


def _rows_of_the_last_owner_are_left() -> None:
    made = transacted.OutboxPublisher
    _set(transacted, "OutboxPublisher", lambda log, partition, rows: made(log, partition, []))


def _rows_of_the_last_owner_go_backwards() -> None:
    made = transacted.OutboxPublisher
    _set(
        transacted,
        "OutboxPublisher",
        lambda log, partition, rows: made(log, partition, list(rows)[::-1]),
    )


def _dead_letters_are_dropped() -> None:
    def records(of_it: Any) -> Any:
        return lambda self: [each for each in of_it(self) if each.topic != DEAD_LETTER_TOPIC]

    _around(ledger_processor._Telling, "records", records)


# --- money ---------------------------------------------------------------------------------------


def _ids_are_forgotten() -> None:
    patch.dict(statements._MEANING, {ledger_store._SAVE_SETTLED: lambda tx, *rows: None}).start()


def _bodies_are_not_compared() -> None:
    _set(ledger, "fingerprint", lambda asked: b"x")


def _refusals_are_forgotten() -> None:
    def forgetful(decide: Any) -> Any:
        def decided(*of_it: Any) -> Any:
            decision = decide(*of_it)
            return replace(decision, settled=None) if decision.code else decision

        return decided

    _around(ledger_processor, "decide", forgetful)


def _held_coins_are_spent() -> None:
    _set(ledger.Account, "spendable", ledger.Account.balance)


def _hosts_get_all() -> None:
    _set(ledger, "host_share", lambda terms, coins: coins)


def _one_is_paid_for_many() -> None:
    def cheap(send: Any) -> Any:
        def sent(books: Any, envelope: Any, asked: Any) -> Any:
            one = replace(asked.request, data=replace(asked.request.data, count=1))
            return send(books, envelope, replace(asked, request=one))

        return sent

    _ledger_decides(asks.GiftSend, cheap)


def _self_gifts_are_paid() -> None:
    def generous(send: Any) -> Any:
        def sent(books: Any, envelope: Any, asked: Any) -> Any:
            if asked.account != asked.host:
                return send(books, envelope, asked)
            decision = send(books, envelope, replace(asked, account=asked.account + " "))
            return replace(decision, asked=asked)

        return sent

    _ledger_decides(asks.GiftSend, generous)


def _gifts_are_reversed_twice() -> None:
    def again(reverse: Any) -> Any:
        def reversed_(books: Any, envelope: Any, asked: Any) -> Any:
            for key, settled in books.settled.items():
                books.settled[key] = replace(settled, reversed_by=0)
            return reverse(books, envelope, asked)

        return reversed_

    _ledger_decides(asks.GiftReverse, again)


def _holds_never_end() -> None:
    async def nothing(self: Any, partition: int, now_us: int) -> list[Any]:
        return []

    _set(LedgerDecider, "due", nothing)


def _ended_holds_are_posted() -> None:
    def late(post: Any) -> Any:
        def posted(books: Any, envelope: Any, asked: Any) -> Any:
            return post(books, envelope, replace(asked, at_us=0))

        return posted

    _ledger_decides(asks.HoldPost, late)


# --- battles -------------------------------------------------------------------------------------


def _gifts_count_again() -> None:
    def again(contribute: Any) -> Any:
        def contributed(state: Any, *of_it: Any) -> Any:
            state.entries.clear()
            return contribute(state, *of_it)

        return contributed

    _battle_decides(battle_asks.BattleContribute, again)


def _late_gifts_count() -> None:
    def late(contribute: Any) -> Any:
        def contributed(state: Any, asked: Any, *of_it: Any) -> Any:
            in_time_us = max(state.started_us, min(asked.at_us, state.deadline_us))
            return contribute(state, replace(asked, at_us=in_time_us), *of_it)

        return contributed

    _battle_decides(battle_asks.BattleContribute, late)


def _one_partition_ends_a_battle() -> None:
    def hasty(marked: Any) -> Any:
        def decided(state: Any, asked: Any, *of_it: Any) -> Any:
            mark = replace(asked.request.data, partitions=1)
            return marked(state, replace(asked, request=replace(asked.request, data=mark)), *of_it)

        return decided

    _battle_decides(battle_asks.BattleMarked, hasty)


def _rooms_are_free_for_all() -> None:
    _set(BattleBatch, "_busy", lambda self, asked: frozenset())


def _points_begin_anew() -> None:
    async def none(connection: Any, keys: Any) -> dict[Any, int]:
        return {}

    _set(battle_store, "points", none)


# --- rooms ---------------------------------------------------------------------------------------


def _gifts_are_shown_again() -> None:
    _set(gifts, "is_known", lambda state, asked: False)


def _combos_count_from_one() -> None:
    _set(gifts, "_continues", lambda combo, at_us, name: False)


def _combos_never_end() -> None:
    _set(gifts, "due_combos", lambda state, now_us: [])


def _committed_before_written() -> None:
    def hasty(self: Any, topics: Any, others: Any, done: Any) -> None:
        done()

    _set(OwnedPartition, "acknowledge_after", hasty)


def _nothing_is_recalled() -> None:
    _set(room_partition.RoomPartition, "recall", lambda self, fact: None)


MUTANTS: Final[dict[str, Callable[[], None]]] = {
    name.removeprefix("_"): made
    for made in (
        _anybody_commits,
        _position_is_not_moved,
        _rows_are_forgotten_when_put,
        _rows_of_the_last_owner_are_left,
        _rows_of_the_last_owner_go_backwards,
        _dead_letters_are_dropped,
        _ids_are_forgotten,
        _bodies_are_not_compared,
        _refusals_are_forgotten,
        _held_coins_are_spent,
        _hosts_get_all,
        _one_is_paid_for_many,
        _self_gifts_are_paid,
        _gifts_are_reversed_twice,
        _holds_never_end,
        _ended_holds_are_posted,
        _gifts_count_again,
        _late_gifts_count,
        _one_partition_ends_a_battle,
        _rooms_are_free_for_all,
        _points_begin_anew,
        _gifts_are_shown_again,
        _combos_count_from_one,
        _combos_never_end,
        _committed_before_written,
        _nothing_is_recalled,
    )
    for name in (made.__name__,)
}
