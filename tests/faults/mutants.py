"""Bugs in the product's own code, planted while its processes start: the checker must find each.

A mutant patches a module just after it has been imported. Some also slow something down: that is
no bug (brokers are slow, processors stall), it only widens the window in which the bug shows. The
mutant `only_slow` has all of these delays and no bug: it must pass.

Nothing of the product is imported here; it is only touched when one of its processes imports it.
"""

import asyncio
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from msgspec import Struct

from .instance import Kind
from .money import mutants as money

Patch = Callable[[Any], None]

SLOW_FACTS_S = 1.5
"""Longer than the commit interval: what is committed too early stays unwritten long enough."""
SLOW_REQUESTS_S = 0.4
SLOW_ROWS_S = 0.5
GIFTS = 2_000


class Mutant(Struct, frozen=True):
    """One bug, the modules it is planted into, the kills that bring it out, and its signs."""

    patches: dict[str, Patch]
    signs: tuple[str, ...]
    """Any of these anomalies convicts it; none of any kind may be found where this is empty."""
    kills: tuple[Kind, ...] = ()
    gifts: int = 0


# --- delays: no bugs ------------------------------------------------------------------------------


def _slow_facts(module: Any) -> None:
    _slow_topics(module, ("live.room.v1", "live.activity.v1"), SLOW_FACTS_S)


def _slow_requests(module: Any) -> None:
    _slow_topics(module, ("live.requests.v1",), SLOW_REQUESTS_S)


def _slow_gifts(module: Any) -> None:
    _slow_topics(module, ("live.gift-requests.v1",), SLOW_REQUESTS_S)


def _slow_everything(module: Any) -> None:
    _slow_facts(module)
    _slow_requests(module)


def _slow_topics(module: Any, topics: Sequence[str], delay_s: float) -> None:
    send = module.LogWriter._send

    async def later(self: Any, lane: Any, topic: str, partition: int) -> None:
        if topic in topics:
            await asyncio.sleep(delay_s)
        await send(self, lane, topic, partition)

    module.LogWriter._send = later


# --- the worker -----------------------------------------------------------------------------------


def _commit_before_written(module: Any) -> None:
    acknowledge_after = module.OwnedPartition.acknowledge_after

    def at_once(self: Any, topics: Any, others: Any, done: Any) -> None:
        done()
        acknowledge_after(self, topics, others, lambda: None)

    module.OwnedPartition.acknowledge_after = at_once


def _no_duplicate_filter(module: Any) -> None:
    class Forgetful(module.SeenIds):  # type: ignore[misc]
        def get(self, key: str) -> None:
            return None

    module.SeenIds = Forgetful


def _no_seeding(module: Any) -> None:
    def recall(self: Any, fact: Any) -> None:
        self._evolve(self._room(fact.room), fact)

    module.RoomPartition.recall = recall
    module.RoomPartition.remember = lambda self, fact_id, actor: None
    module.RoomPartition.remember_fact = lambda self, fact_id, actor, refused="": None


def _open_windows_forgotten(module: Any) -> None:
    result = module.Fold.result

    def without_open_windows(self: Any) -> Any:
        recovered = result(self)
        for state in recovered.rooms.rooms.values():
            state.likes_counted, state.likes_newest = state.likes_total, None
            state.joined_counted, state.left_counted = state.joined_total, state.left_total
            state.viewers_newest = None
        return recovered

    module.Fold.result = without_open_windows


def _arrays_reversed(module: Any) -> None:
    take = module.RoomProcessor._take

    def reversed_take(self: Any, owned: Any, envelope: Any, facts: Any, poison: Any) -> None:
        envelope.requests.reverse()
        take(self, owned, envelope, facts, poison)

    module.RoomProcessor._take = reversed_take


def _mutes_ignored(module: Any) -> None:
    module.is_muted = lambda state, actor, at_us: False


def _long_texts_cut(module: Any) -> None:
    encode = module.encode_fact

    def cut(fact: Any) -> Any:
        return encode(fact).replace(b" la la la la la", b" la la la la")

    module.encode_fact = cut


def _dead_letters_dropped(module: Any) -> None:
    module.DeadLetters.put = lambda self, record, reason: None


# --- the gateway ----------------------------------------------------------------------------------


def _ack_before_the_log(module: Any) -> None:
    async def at_once(self: Any, timeout_s: float = 0) -> None:
        return None

    module.Submission.acknowledged = at_once


def _resume_misses_one(module: Any) -> None:
    missed = module.Channel.missed

    def all_but_the_first(self: Any, first: int, last: int) -> Any:
        return list(missed(self, first, last))[1:]

    module.Channel.missed = all_but_the_first


def _leaves_untold(module: Any) -> None:
    module.Presence.leave = lambda self, who: None


def _every_200th_event_dropped(module: Any) -> None:
    publish = module.Hub.publish
    count = 0

    def mostly(self: Any, channel: Any, event: Any) -> None:
        nonlocal count
        count += 1
        if count % 200:
            publish(self, channel, event)

    module.Hub.publish = mostly


# --- the projector and its readers ----------------------------------------------------------------


def _position_before_rows(module: Any) -> None:
    lock, move = module.ProjectionStore._lock, module.ProjectionStore._move
    write = module.ProjectionStore._write

    async def move_first(self: Any, batch: Any, *, careful: bool) -> int:
        async with self._connection.begin():
            await lock(self, batch.spans)
            await move(self, batch.spans)
        await asyncio.sleep(SLOW_ROWS_S)
        rows: int = await write(self, batch, careful=careful)
        return rows

    async def only_begin(self: Any, spans: Any) -> None:
        await self._connection.execute(module.select(1))

    async def stay(self: Any, spans: Any) -> None:
        return None

    module.ProjectionStore._write = move_first
    module.ProjectionStore._lock, module.ProjectionStore._move = only_begin, stay


def _poison_takes_its_batch(module: Any) -> None:
    fold = module.Batch.fold

    def fold_nothing_but_poison(self: Any, records: Any, reader: Any, positions: Any) -> None:
        every = list(records)
        poisoned = [record for record in every if b"poison-" in (record.value or b"")]
        fold(self, poisoned or every, reader, positions)
        for record in every:
            self.pass_over(record, positions[record.partition])

    module.Batch.fold = fold_nothing_but_poison


def _page_misses_one(module: Any) -> None:
    timeline = module.RoomQueries.timeline

    async def after_one_more(self: Any, room: str, **options: Any) -> Any:
        page = await timeline(self, room, **options)
        if options.get("after") is not None and page.items:
            return module.Page(page.items[1:], page.next)
        return page

    module.RoomQueries.timeline = after_one_more


WRITER = "engagement.log.writer"
LEDGER = "engagement.domain.ledger"
BATTLES = "engagement.domain.battle_decisions"
MUTANTS: dict[str, Mutant] = {
    "only_slow": Mutant(
        {WRITER: _slow_everything},
        signs=(),
        kills=("worker", "gateway", "worker", "projector"),
    ),
    "commit_before_written": Mutant(
        {
            WRITER: _slow_facts,
            "engagement.processors.owned_partition": _commit_before_written,
        },
        signs=("lost",),
        kills=("worker", "worker", "worker"),
    ),
    "no_duplicate_filter": Mutant(
        {"engagement.domain.room_partition": _no_duplicate_filter},
        signs=("unequal_repeat", "wrong_total"),
    ),
    "no_seeding": Mutant(
        {"engagement.domain.room_partition": _no_seeding},
        signs=("unequal_repeat", "wrong_total"),
        kills=("worker", "worker", "worker"),
    ),
    "open_windows_forgotten": Mutant(
        {WRITER: _slow_facts, "engagement.processors.recovery": _open_windows_forgotten},
        signs=("wrong_total",),
        kills=("worker", "worker", "worker"),
    ),
    "arrays_reversed": Mutant(
        {"engagement.processors.room_processor": _arrays_reversed},
        signs=("batch_reordered", "order_inverted"),
    ),
    "mutes_ignored": Mutant(
        {"engagement.domain.rooms": _mutes_ignored},
        signs=("refused_is_in",),
    ),
    "long_texts_cut": Mutant(
        {"engagement.log.codec": _long_texts_cut},
        signs=("wrong_body",),
    ),
    "dead_letters_dropped": Mutant(
        {"engagement.log.dead_letters": _dead_letters_dropped},
        signs=("poison_lost",),
    ),
    "ack_before_the_log": Mutant(
        {WRITER: _slow_requests, "engagement.gateway.intake": _ack_before_the_log},
        signs=("lost",),
        kills=("gateway", "gateway", "gateway"),
    ),
    "resume_misses_one": Mutant(
        {"engagement.gateway.hub": _resume_misses_one},
        signs=("viewer_gap",),
    ),
    "leaves_untold": Mutant(
        {"engagement.gateway.presence": _leaves_untold},
        signs=("wrong_total",),
    ),
    "every_200th_event_dropped": Mutant(
        {"engagement.gateway.hub": _every_200th_event_dropped},
        signs=("viewer_gap",),
    ),
    "position_before_rows": Mutant(
        {"projections.store": _position_before_rows},
        signs=("row_missing",),
        kills=("projector", "projector", "projector"),
    ),
    "poison_takes_its_batch": Mutant(
        {"projections.room_facts": _poison_takes_its_batch},
        signs=("row_missing",),
    ),
    "page_misses_one": Mutant(
        {"projections.queries": _page_misses_one},
        signs=("timeline_gap", "lost_in_timeline"),
    ),
    "only_slow_with_money": Mutant(
        {WRITER: _slow_everything},
        signs=(),
        kills=("worker", "gateway", "worker", "projector"),
        gifts=GIFTS,
    ),
    "gift_ack_before_the_log": Mutant(
        {WRITER: _slow_gifts, "engagement.gateway.intake": _ack_before_the_log},
        signs=("gift_lost",),
        kills=("gateway", "gateway", "gateway"),
        gifts=GIFTS,
    ),
    "refusals_forgotten": Mutant(
        {LEDGER: money.refusals_forgotten},
        signs=("gift_paid_and_refused", "told_refused"),
        gifts=GIFTS,
    ),
    "bodies_not_compared": Mutant(
        {LEDGER: money.bodies_not_compared}, signs=("altered_taken",), gifts=GIFTS
    ),
    "wallets_without_a_bottom": Mutant(
        {LEDGER: money.wallets_without_a_bottom},
        signs=("overdrawn", "gift_lost"),
        gifts=GIFTS,
    ),
    "share_rounded_up": Mutant(
        {"engagement.domain.catalogue": money.share_rounded_up},
        signs=("gift_changed",),
        gifts=GIFTS,
    ),
    "some_gifts_untold": Mutant(
        {"engagement.domain.ledger_telling": money.some_gifts_untold},
        signs=("paid_not_sent",),
        gifts=GIFTS,
    ),
    "outbox_forgotten": Mutant(
        {WRITER: _slow_requests, "engagement.processors.real_engines": money.outbox_forgotten},
        signs=("paid_not_sent",),
        kills=("worker", "worker", "worker"),
        gifts=GIFTS,
    ),
    "entries_not_compared": Mutant(
        {WRITER: _slow_requests, "engagement.domain.gifts": money.entries_not_compared},
        signs=("gift_doubled", "entry_sent_twice", "unequal_repeat"),
        kills=("worker", "worker", "worker"),
        gifts=GIFTS,
    ),
    "contributions_not_compared": Mutant(
        {WRITER: _slow_requests, BATTLES: money.contributions_not_compared},
        signs=("scored_twice", "wrong_score", "wrong_sum", "unequal_repeat"),
        kills=("worker", "worker", "worker"),
        gifts=GIFTS,
    ),
    "late_gifts_score": Mutant(
        {BATTLES: money.late_gifts_score}, signs=("wrong_score",), gifts=GIFTS
    ),
    "windows_ignored": Mutant(
        {"engagement.domain.battle_rules": money.windows_ignored},
        signs=("wrong_score",),
        gifts=GIFTS,
    ),
    "one_room_hears_no_end": Mutant(
        {"engagement.processors.battle_telling": money.one_room_hears_no_end},
        signs=("room_end",),
        gifts=GIFTS,
    ),
    "outcomes_always_good": Mutant(
        {"engagement.gateway.outcomes": money.outcomes_always_good},
        signs=("told_paid",),
        gifts=GIFTS,
    ),
    "wallets_shown_richer": Mutant(
        {"engagement.database.ledger_queries": money.wallets_shown_richer},
        signs=("wrong_wallet",),
        gifts=GIFTS,
    ),
    "some_gifts_not_on_the_board": Mutant(
        {"projections.gifts": money.some_gifts_not_on_the_board},
        signs=("wrong_leaders",),
        gifts=GIFTS,
    ),
}


def plant(name: str) -> None:
    """Have the mutant's patches applied to their modules when these are imported."""
    sys.meta_path.insert(0, _Planter(dict(MUTANTS[name].patches)))


class _Planter(importlib.abc.MetaPathFinder):
    """Finds what everybody else finds, and patches what was asked for after it has run."""

    def __init__(self, patches: dict[str, Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = self._patches.pop(fullname, None)
        if patch is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            raise ImportError(f"the mutant's module {fullname} does not exist")
        run_module = spec.loader.exec_module

        def run_and_patch(module: ModuleType) -> None:
            run_module(module)
            patch(module)

        spec.loader.exec_module = run_and_patch  # type: ignore[method-assign]
        return spec
