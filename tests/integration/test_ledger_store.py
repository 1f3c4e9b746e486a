"""The ledger's tables: books come back as they went in, and wrong books are refused."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engagement.database import ledger_store
from engagement.database.connection import create_engine
from engagement.database.decider_store import DeciderStore
from engagement.database.ledger_queries import LedgerQueries
from engagement.database.settled_lookups import SettledLookups
from engagement.domain import ledger_requests as asks
from engagement.domain.ledger import (
    Account,
    Books,
    BrokenInvariantError,
    Changed,
    Decision,
    Wanted,
    decide,
    earnings,
    post,
    wallet,
    wanted,
)
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT, MoneyEnvelope
from engagement.errors import FencedError, PositionMovedError
from engagement.log.writer import LogWriter
from engagement.processors.ledger_processor import LedgerDecider
from engagement.processors.real_engines import RealEngines
from engagement.processors.transacted import TransactedProcessor
from engagement.settings import Settings
from tests.money import MoneyLog, new_id
from tests.unit.domain_parts import T0_US, S
from tests.unit.ledger_parts import FOX, HOST, PRICES, ask, deposit, gift, hold, passed, reversal
from tests.waiting import until

pytestmark = pytest.mark.engines

PARTITION = 700
"""One that no processor owns: the tables do not care."""


class Keeper:
    """Decides on books that are loaded and saved for every request, as after a restart."""

    def __init__(self, connection: Any, partition: int) -> None:
        self.connection, self.partition = connection, partition

    async def take(self, *asked: asks.MoneyAsked) -> list[Decision]:
        """All in one transaction."""
        async with self.connection.transaction():
            books = await self.load(wanted(asked))
            loaded = frozenset(books.accounts)
            decisions = []
            for each in asked:
                decision = decide(books, MoneyEnvelope("gw", [each], terms=PRICES), each)
                post(books, decision)
                decisions.append(decision)
            await self.save(books, loaded, *decisions)
        return decisions

    async def load(self, want: Wanted) -> Books:
        """This partition's."""
        books = await ledger_store.load(self.connection, {self.partition: want})
        return books[self.partition]

    async def save(self, books: Books, loaded: frozenset[str], *decisions: Decision) -> None:
        """What was decided on them."""
        await ledger_store.save(self.connection, [Changed(books, loaded, list(decisions))])


@pytest.fixture
async def driver(engines: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(engines.dsn)
    yield connection
    await connection.close()


@pytest.fixture
def keeper(driver: asyncpg.Connection) -> Keeper:
    return Keeper(driver, PARTITION + uuid.uuid4().int % 1_000_000)


async def test_books_come_back_as_they_went_in_after_every_single_request(keeper: Keeper) -> None:
    """The same requests, on books that never leave memory and on books that always do."""
    ana, gifts, holds = new_id(), [new_id() for _ in range(3)], [new_id() for _ in range(2)]

    def send(number: int, count: int = 1) -> asks.MoneyAsked:
        tapped = gift(count=count, account=ana)
        return msgspec.structs.replace(
            tapped, request=msgspec.structs.replace(tapped.request, id=gifts[number])
        )

    def held(number: int, ttl_s: int) -> asks.MoneyAsked:
        order = asks.HoldOrder(coins=5, ttl_s=ttl_s, to="eva")
        return ask(asks.HoldPlace(id=holds[number], data=order), account=ana)

    post_it = asks.HoldPost(id=new_id(), data=asks.HoldTarget(hold=holds[0]))
    story = [
        ask(deposit(100), account=ana),
        send(0, 3),
        send(0, 3),
        send(1, 99),
        held(0, 60),
        held(1, 10),
        passed(T0_US + 10 * S),
        ask(post_it, account=ana),
        ask(reversal(gifts[0]), account=ana),
        ask(reversal(gifts[0]), account=ana),
        send(2),
    ]
    memory = Books(keeper.partition)
    for asked in story:
        decision = decide(memory, MoneyEnvelope("gw", [asked], terms=PRICES), asked)
        post(memory, decision)
        assert await keeper.take(asked) == [decision]
    want = wanted(story)
    want.holds.update((ana, each) for each in holds)
    stored = await keeper.load(want)
    touched = {name: each for name, each in stored.accounts.items() if each != Account()}
    assert touched == memory.accounts
    assert (stored.settled, stored.holds) == (memory.settled, memory.holds)
    assert stored.next_entry == memory.next_entry


async def test_only_due_holds_are_loaded_and_the_next_one_is_known(keeper: Keeper) -> None:
    ana = new_id()
    placed = [ask(hold(5, ttl_s=ttl_s), account=ana) for ttl_s in (30, 10, 20)]
    await keeper.take(ask(deposit(100), account=ana), *placed)
    connection, partition = keeper.connection, keeper.partition
    assert await ledger_store.next_hold_us(connection, partition) == T0_US + 10 * S
    due = await keeper.load(wanted([passed(T0_US + 20 * S)]))
    assert sorted(each.expires_us for each in due.holds.values()) == [
        T0_US + 10 * S, T0_US + 20 * S
    ]  # fmt: skip
    await keeper.take(passed(T0_US + 30 * S))
    assert await ledger_store.next_hold_us(connection, partition) is None


async def test_the_catalogue_keeps_its_newest_terms(keeper: Keeper, database: AsyncEngine) -> None:
    name = f"gift-{new_id()[:8]}"
    terms = msgspec.structs.replace(FOX.terms, gift=name)
    for coins in (7, 8):
        changed = msgspec.structs.replace(terms, coins=coins)
        request = asks.CatalogueChange(id=new_id(), data=changed)
        await keeper.take(ask(request, account=CATALOGUE_ACCOUNT, role="admin"))
    known = {each.terms.gift: each for each in await LedgerQueries(database).catalogue()}
    assert (known[name].version, known[name].terms.coins) == (2, 8)


async def test_an_account_that_was_not_loaded_is_not_overwritten(keeper: Keeper) -> None:
    ana = new_id()
    asked = ask(deposit(5), account=ana)
    books = Books(keeper.partition)
    decision = decide(books, MoneyEnvelope("gw", [asked]), asked)
    post(books, decision)
    with pytest.raises(BrokenInvariantError, match="without being loaded"):
        await keeper.save(books, frozenset(), decision)


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE ledger_accounts SET debits = credits + 1 WHERE account = $1",
        "UPDATE ledger_accounts SET held = credits + 1 WHERE account = $1",
        "UPDATE ledger_accounts SET held = -1 WHERE account = $1",
        "UPDATE ledger_accounts SET credits = -1, debits = -1 WHERE account = $1",
        "UPDATE ledger_totals SET debits = debits + 1 WHERE \"partition\" = $2 AND $1 <> ''",
        "UPDATE ledger_transfers SET coins = 0 WHERE \"partition\" = $2 AND $1 <> ''",
        "UPDATE ledger_transfers SET debit = credit WHERE \"partition\" = $2 AND $1 <> ''",
        "UPDATE ledger_holds SET status = 'lost' WHERE 'wallet:' || account = $1",
        "UPDATE ledger_holds SET coins = 0 WHERE 'wallet:' || account = $1",
    ],
)
async def test_the_database_itself_refuses_wrong_books(keeper: Keeper, wrong: str) -> None:
    ana = new_id()
    await keeper.take(ask(deposit(100), account=ana), ask(hold(5), account=ana))
    statement = wrong if "$2" in wrong else f"{wrong} AND $2::integer >= 0"
    with pytest.raises(asyncpg.CheckViolationError):
        await keeper.connection.execute(statement, wallet(ana), keeper.partition)


async def test_unbalanced_accounts_cannot_be_saved(keeper: Keeper) -> None:
    """Totals are summed in SQL, from what the accounts gained."""
    ana = new_id()
    await keeper.take(ask(deposit(100), account=ana))
    asked = gift(account=ana)
    books = await keeper.load(wanted([asked]))
    decision = decide(books, MoneyEnvelope("gw", [asked], terms=PRICES), asked)
    post(books, decision)
    books.accounts[earnings(HOST)].credits += 1
    with pytest.raises(asyncpg.CheckViolationError):
        async with keeper.connection.transaction():
            await keeper.save(books, frozenset(books.accounts), decision)


async def test_outcomes_are_found_again_after_the_kept_connection_has_died(
    keeper: Keeper, database: AsyncEngine
) -> None:
    ana = new_id()
    asked = ask(deposit(100), account=ana)
    await keeper.take(asked)
    key = (ana, asked.request.id)
    lookups = SettledLookups(database)
    assert list(await lookups.settled([key, (ana, new_id())])) == [key]
    for _ in range(2):
        assert lookups._kept is not None
        pooled = await lookups._kept.get_raw_connection()
        pid = pooled.driver_connection.get_server_pid()
        await keeper.connection.execute("SELECT pg_terminate_backend($1)", pid)
        found = await lookups.settled([key])
        assert found[key].status == "done"
    await lookups.close()


# --- the fence -----------------------------------------------------------------------------------


@asynccontextmanager
async def owner(engine: AsyncEngine, topic: str) -> AsyncIterator[tuple[DeciderStore, Any]]:
    """A session that shares the one partition of a topic."""
    async with engine.connect() as connection:
        store = DeciderStore(connection, topic, 1)
        await store.register("test")
        try:
            yield store, connection
        finally:
            await connection.invalidate()


async def position_of(connection: AsyncConnection, topic: str) -> int:
    found = await connection.execute(
        text("SELECT next_offset FROM decider_positions WHERE topic = :topic"), {"topic": topic}
    )
    return int(found.scalar_one())


async def test_an_owner_that_was_taken_for_dead_commits_nothing(
    database: AsyncEngine,
) -> None:
    topic = f"topic-{new_id()}"
    async with owner(database, topic) as (first, first_connection):
        assert await first.renew() == {0: 0}
        async with first.transaction({0: (0, 5)}) as transaction:
            assert await transaction.keep({0: b"one"}) == {0: 1}
        async with first_connection.begin():
            await first_connection.execute(
                text("UPDATE decider_owners SET alive_until = now() - interval '1 minute'"
                     " WHERE topic = :topic"),
                {"topic": topic},
            )  # fmt: skip
        async with owner(database, topic) as (second, connection):
            assert await second.renew() == {0: 5}
            assert [number for number, _ in await second.unpublished(0)] == [1]
            with pytest.raises(FencedError):
                async with first.transaction({0: (5, 9)}) as transaction:
                    await transaction.keep({0: b"never"})
            with pytest.raises(FencedError):
                await first.renew()
            async with connection.begin():
                assert await position_of(connection, topic) == 5
            assert [number for number, _ in await second.unpublished(0)] == [1]


async def test_a_position_that_has_moved_is_not_written_over(database: AsyncEngine) -> None:
    topic = f"topic-{new_id()}"
    async with owner(database, topic) as (store, _):
        await store.renew()
        async with store.transaction({0: (0, 5)}):
            pass
        with pytest.raises(PositionMovedError):
            async with store.transaction({0: (0, 3)}):
                pass


async def test_a_transaction_that_fails_leaves_no_row_in_the_outbox(
    database: AsyncEngine,
) -> None:
    topic = f"topic-{new_id()}"
    async with owner(database, topic) as (store, _):
        await store.renew()
        with pytest.raises(RuntimeError):
            async with store.transaction({0: (0, 5)}) as transaction:
                await transaction.keep({0: b"never"})
                raise RuntimeError
        assert await store.unpublished(0) == []
        async with store.transaction({0: (0, 5)}) as transaction:
            assert await transaction.keep({0: b"first"}) == {0: 1}


async def test_two_owners_share_and_the_second_takes_over_at_once_when_the_first_has_ended(
    database: AsyncEngine,
) -> None:
    topic = f"topic-{new_id()}"
    async with owner(database, topic) as (first, _):
        assert list(await first.renew()) == [0]
        async with owner(database, topic) as (second, _):
            assert await second.renew() == {}
    async with owner(database, topic) as (third, _):

        async def claimed() -> bool:
            return list(await third.renew()) == [0]

        await until(claimed, "the claim", within_s=3)


async def test_books_that_the_database_refuses_stop_the_processor_loudly(
    engines: Settings, database: AsyncEngine
) -> None:
    """Somebody has changed a balance behind our back; the next gift of that wallet overdraws it."""
    ana = new_id()
    writer = LogWriter(engines.bootstrap_servers, client_id="tests")
    await writer.start()
    money = MoneyLog(writer, engines.partitions)
    engine = create_engine(engines, pool_size=1)

    class Wrong:
        """A store whose account rows are one coin off."""

        load = staticmethod(ledger_store.load)
        battles_of = staticmethod(ledger_store.battles_of)
        next_hold_us = staticmethod(ledger_store.next_hold_us)

        @staticmethod
        async def save(connection: Any, changed: Any) -> None:
            for each in changed:
                if wallet(ana) in each.books.accounts:
                    each.books.accounts[wallet(ana)].credits += 1
            await ledger_store.save(connection, changed)

    def processor(store: Any) -> TransactedProcessor:
        real = RealEngines(engines.bootstrap_servers, engine, name="tests")
        return TransactedProcessor(real, LedgerDecider(store, engines.partitions))

    wrong = asyncio.create_task(processor(Wrong).run())
    request = await money.deposit(ana, 5)
    with pytest.raises(BrokenInvariantError, match="ck_ledger_totals_balance"):
        await asyncio.wait_for(wrong, 30)
    queries = LedgerQueries(database)
    assert await queries.settled([(ana, request)]) == {}

    right = processor(ledger_store)
    running = asyncio.create_task(right.run())

    async def settled() -> bool:
        return bool(await queries.settled([(ana, request)]))

    await until(settled, "the deposit")
    right.stop()
    await running
    await writer.stop()
    await engine.dispose()
