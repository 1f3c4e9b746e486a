"""The ledger on real Kafka and real PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database import ledger_store
from engagement.database.connection import create_engine
from engagement.database.ledger_queries import LedgerQueries
from engagement.domain import ledger_requests as asks
from engagement.domain.events import LEDGER_TOPIC
from engagement.domain.ledger import Settled
from engagement.log.topics import DEAD_LETTER_TOPIC, REQUESTS_TOPIC
from engagement.log.writer import LogWriter
from engagement.processors.ledger_processor import LedgerDecider
from engagement.processors.real_engines import RealEngines
from engagement.processors.transacted import TransactedProcessor
from engagement.settings import Settings
from tests.integration.log_reader import LogReader
from tests.money import MoneyLog, new_id
from tests.waiting import until

pytestmark = pytest.mark.engines


@pytest.fixture
async def money(engines: Settings) -> AsyncIterator[MoneyLog]:
    writer = LogWriter(engines.bootstrap_servers, client_id="tests")
    await writer.start()
    yield MoneyLog(writer, engines.partitions)
    await writer.stop()


@pytest.fixture
async def ledger(engines: Settings) -> AsyncIterator[TransactedProcessor]:
    engine = create_engine(engines, pool_size=1)
    running = processor(engines, engine)
    task = asyncio.create_task(running.run())
    yield running
    running.stop()
    await task
    await engine.dispose()


def processor(engines: Settings, engine: AsyncEngine) -> TransactedProcessor:
    real = RealEngines(engines.bootstrap_servers, engine, name="tests")
    return TransactedProcessor(real, LedgerDecider(ledger_store, engines.partitions))


@pytest.fixture
def queries(database: AsyncEngine) -> LedgerQueries:
    return LedgerQueries(database)


async def outcome(queries: LedgerQueries, account: str, request: str) -> Settled:
    async def settled() -> Settled | None:
        return (await queries.settled([(account, request)])).get((account, request))

    found = await until(settled, f"an outcome of {request}")
    assert found is not None
    return found


async def test_a_gift_is_paid_from_the_wallet_to_the_host_and_the_house(
    ledger: TransactedProcessor, money: MoneyLog, queries: LedgerQueries, room: str
) -> None:
    ana, host = new_id(), new_id()
    await money.deposit(ana, 100)
    gift = await money.gift(ana, room, count=3, host=host)
    settled = await outcome(queries, ana, gift)
    assert settled.status == "paid"
    assert (await queries.wallet(ana)).coins == 70
    assert await queries.earnings(host) == 13  # 45 % of 30, rounded down; the house has 17


async def test_a_refused_gift_stays_refused_after_a_top_up(
    ledger: TransactedProcessor, money: MoneyLog, queries: LedgerQueries, room: str
) -> None:
    ana = new_id()
    gift = await money.gift(ana, room)
    refused = await outcome(queries, ana, gift)
    assert (refused.status, refused.code) == ("refused", "insufficient_funds")
    topped_up = await money.deposit(ana, 1000)
    await outcome(queries, ana, topped_up)
    await money.gift(ana, room, request_id=gift)
    again = await money.gift(ana, room)
    assert (await outcome(queries, ana, again)).status == "paid"
    assert (await outcome(queries, ana, gift)).status == "refused"
    assert (await queries.wallet(ana)).coins == 990


async def test_the_same_request_again_moves_nothing_again(
    ledger: TransactedProcessor, money: MoneyLog, queries: LedgerQueries, room: str
) -> None:
    ana = new_id()
    deposit = await money.deposit(ana, 100)
    await money.deposit(ana, 100, request_id=deposit)
    gift = await money.gift(ana, room)
    for _ in range(3):
        await money.gift(ana, room, request_id=gift)
    last = await money.gift(ana, room, count=2)
    await outcome(queries, ana, last)
    assert (await queries.wallet(ana)).coins == 70


async def test_a_hold_sets_coins_aside_and_ends_by_itself(
    ledger: TransactedProcessor, money: MoneyLog, queries: LedgerQueries
) -> None:
    ana = new_id()
    await money.deposit(ana, 100)
    order = asks.HoldOrder(coins=60, ttl_s=1)
    hold = asks.HoldPlace(id=new_id(), data=order)
    await money.ask(ana, hold, actor="shop", role="service")
    await outcome(queries, ana, hold.id)
    wallet = await queries.wallet(ana)
    assert (wallet.coins, wallet.held) == (40, 60)

    async def expired() -> bool:
        found = await queries.hold(ana, hold.id)
        return found is not None and found.status == "expired"

    await until(expired, "the hold's end")
    wallet = await queries.wallet(ana)
    assert (wallet.coins, wallet.held) == (100, 0)


async def test_what_cannot_be_read_is_set_aside_and_the_flow_goes_on(
    ledger: TransactedProcessor,
    money: MoneyLog,
    queries: LedgerQueries,
    engines: Settings,
) -> None:
    ana = new_id()
    await money.put(ana, b"not an envelope " + ana.encode())
    deposit = await money.deposit(ana, 5)
    await outcome(queries, ana, deposit)

    async def letter() -> bool:
        letters = await read_topic(engines, DEAD_LETTER_TOPIC, 1)
        return any(ana.encode() in (each.value or b"") for each in letters)

    await until(letter, "the dead letter")


async def test_what_was_committed_and_not_told_is_told_by_the_next_owner(
    money: MoneyLog, queries: LedgerQueries, engines: Settings, room: str
) -> None:
    ana = new_id()
    engine = create_engine(engines, pool_size=1)
    first = processor(engines, engine)
    mute_outbox(first)
    task = asyncio.create_task(first.run())
    await money.deposit(ana, 50)
    gift = await money.gift(ana, room)
    await outcome(queries, ana, gift)
    task.cancel()  # It dies between its commit and its telling.
    await asyncio.wait({task})
    await engine.dispose()
    assert await told_about(engines, LEDGER_TOPIC, ana) == []

    engine = create_engine(engines, pool_size=1)
    second = processor(engines, engine)
    task = asyncio.create_task(second.run())

    async def told() -> list[Any]:
        return await told_about(engines, LEDGER_TOPIC, ana)

    facts = await until(told, "the transfers")
    reasons = [json.loads(each.value)["data"]["reason"] for each in facts]
    assert reasons[:3] == ["purchase", "gift", "house_share"]
    rooms = await read_topic(engines, REQUESTS_TOPIC, engines.partitions)
    assert any(gift.encode() in each.value and b"gift.paid" in each.value for each in rooms)
    second.stop()
    await task
    await engine.dispose()


async def told_about(engines: Settings, topic: str, account: str) -> list[Any]:
    records = await read_topic(engines, topic, engines.partitions)
    return [each for each in records if each.key == account.encode()]


async def read_topic(engines: Settings, topic: str, partitions: int) -> list[Any]:
    async with LogReader(engines, [topic], partitions) as reader:
        return await reader.to_the_end()


def mute_outbox(processor: TransactedProcessor) -> None:
    """Its sends never leave."""
    session = processor._session

    async def muted(real: Any) -> None:
        real.append = lambda record: None
        real.acknowledged = lambda topic, partition: asyncio.Event().wait()
        await session(real)

    processor._session = muted  # type: ignore[method-assign]
