"""`engagement verify ledger`: what is right is proven, and whatever is wrong is named."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.commands.verify_ledger import verify_ledger
from engagement.database.battle_queries import BattleQueries
from engagement.database.connection import create_engine
from engagement.database.ledger_queries import LedgerQueries
from engagement.domain import battle_requests as battles
from engagement.domain import ledger_requests as asks
from engagement.domain.battle_events import ScoreWindow, Side
from engagement.domain.battle_requests import BattleAsked, BattleEnvelope
from engagement.domain.catalogue import GiftTerms
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT, MoneyAsked, MoneyEnvelope
from engagement.log.battle_codec import encode_battle_envelope
from engagement.log.money_codec import encode_money_envelope
from engagement.log.topics import BATTLE_REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter
from tests.integration.ledger_bed import LedgerBed, running_bed
from tests.integration.room_workers import now_us
from tests.integration.test_ledger_processor import mute_outbox, processor
from tests.money import MoneyLog, new_id
from tests.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

ANA, BOB, HOST = "ana", "bob", "hana"


class Story:
    """A little of everything that can be asked of a ledger, in an order that never changes."""

    def __init__(self, bed: LedgerBed, writer: LogWriter, database: AsyncEngine) -> None:
        self.bed, self.writer, self.database = bed, writer, database
        self.money = MoneyLog(writer, bed.settings.partitions)
        self.queries = LedgerQueries(database)

    async def told(self) -> None:
        await self.gifts()
        await self.holds()
        await self.catalogue()
        await self.poison()
        await self.battle()
        await self.bed.all_is_decided(self.database)

    async def gifts(self) -> None:
        money = self.money
        await money.deposit(ANA, 1000)
        await money.deposit(BOB, 55)
        await money.gift(ANA, "r1", host=HOST, count=3)
        refused = await money.gift(BOB, "r1", host=HOST, count=6)
        await money.deposit(BOB, 500)
        await money.gift(BOB, "r1", host=HOST, count=6, request_id=refused)
        repeated = await money.gift(BOB, "r2", host=ANA)
        await money.gift(BOB, "r2", host=ANA, request_id=repeated)
        for _ in range(2):  # The same reuse twice is told once.
            await money.gift(BOB, "r2", host=ANA, count=2, request_id=repeated)
        await money.gift(HOST, "r1", host=HOST)
        for _ in range(2):
            order = asks.ReversalOrder(gift=repeated, reason="a mistake")
            await self.service(BOB, asks.GiftReverse(id=new_id(), data=order))

    async def holds(self) -> None:
        for ttl_s, resolve in ((600, asks.HoldPost), (600, asks.HoldVoid), (1, None), (600, None)):
            hold = asks.HoldPlace(id=new_id(), data=asks.HoldOrder(40, ttl_s, to=HOST))
            await self.service(ANA, hold)
            if resolve is not None:
                for _ in range(2):
                    target = asks.HoldTarget(hold=hold.id)
                    await self.service(ANA, resolve(id=new_id(), data=target))

            async def expired(held: str = hold.id) -> bool:
                found = await self.queries.hold(ANA, held)
                return found is not None and found.status == "expired"

            if ttl_s == 1:
                await until(expired, "the hold's end")

    async def catalogue(self) -> None:
        for coins in (5, 5, 6):
            change = asks.CatalogueChange(id=new_id(), data=GiftTerms("fox", "Fox", coins))
            await self.service(CATALOGUE_ACCOUNT, change)

    async def poison(self) -> None:
        await self.money.put(ANA, b"{")
        good = MoneyAsked(
            ANA, "shop", "service", now_us(), asks.Deposit(id=new_id(), data=asks.DepositOrder(7))
        )
        envelope = encode_money_envelope(MoneyEnvelope("tests", [good]))
        await self.money.put(ANA, envelope.replace(b'"asks":[', b'"asks":[{"account":"x"},'))
        await self.money.put(BOB, envelope)  # Of a wallet that is in another partition.

    async def battle(self) -> None:
        sides = [Side("r1", HOST), Side("r2", ANA)]
        windows = [ScoreWindow(0, 1, 2)]
        invited = battles.Invitation(sides, 2, windows=windows)
        await self.ask_battle(HOST, battles.BattleInvite(id=new_id(), data=invited))
        answer = battles.SideAnswer(["r2"])
        await self.ask_battle(ANA, battles.BattleAccept(id=new_id(), data=answer))
        queries = BattleQueries(self.database)

        async def started() -> int:
            state = await queries.battle("fight")
            return 0 if state is None else state.started_us

        async def ended() -> bool:
            state = await queries.battle("fight")
            return state is not None and state.status == "ended"

        since_us = await until(started, "the battle's start")
        for room, host, after_us in (
            ("r1", HOST, 100_000),  # In the window: twofold.
            ("r2", ANA, 1_500_000),
            ("r2", ANA, 60_000_000),  # After the deadline.
        ):
            await self.money.gift(BOB, room, host=host, at_us=since_us + after_us)
        await until(ended, "the battle's end")

    async def service(self, account: str, request: Any) -> None:
        await self.money.ask(account, request, actor="shop", role="service")

    async def ask_battle(self, actor: str, request: Any) -> None:
        asked = BattleAsked("fight", actor, "host", now_us(), request)
        partition = partition_of("fight", self.bed.settings.partitions)
        value = encode_battle_envelope(BattleEnvelope("tests", [asked]))
        self.writer.append(BATTLE_REQUESTS_TOPIC, partition, b"tests", value)
        await self.writer.acknowledged(BATTLE_REQUESTS_TOPIC, partition)


@pytest.fixture(scope="module")
def bed() -> Iterator[LedgerBed]:
    """A ledger with a past; its worker has ended."""
    with running_bed() as bed:

        async def live() -> None:
            bed.workers.start(0)
            database = create_engine(bed.settings)
            writer = LogWriter(bed.settings.bootstrap_servers, client_id="tests")
            await writer.start()
            await Story(bed, writer, database).told()
            found = await bed.verify(database)  # Waits for what is under way.
            assert found.difference is None, found.difference
            await writer.stop()
            await database.dispose()
            assert await asyncio.to_thread(bed.workers.stop, 0) == 0

        asyncio.run(live())
        yield bed


@pytest.fixture
async def database(bed: LedgerBed) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(bed.settings)
    yield engine
    await engine.dispose()


async def test_every_coin_is_followed_from_the_wallet_to_the_battle(
    bed: LedgerBed, database: AsyncEngine
) -> None:
    found = await bed.verify(database)
    assert found.difference is None, found.difference
    rooms, battles = found.rooms, found.battles
    assert (rooms.gifts, rooms.paid, rooms.sent) == (5, 70, 70)
    assert (rooms.reversed, rooms.taken_back) == (10, 10)
    assert rooms.earned == 13 + 3 * 4  # 45 % of 30, three times of 10, each rounded down.
    assert (battles.ended, battles.scored, battles.points, battles.late) == (1, 20, 30, 10)
    assert found.poison == 3
    assert (await LedgerQueries(database).wallet(ANA)).coins == 1000 + 7 - 30 - 40 - 40


def test_the_command_says_so(bed: LedgerBed, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_ledger(bed.settings) == 0
    said = capsys.readouterr().out
    assert "equal" in said
    assert "70 coins for 5 gifts" in said


TAMPERED = [
    (
        "ledger_accounts",
        "UPDATE ledger_accounts SET credits = credits + :one WHERE account = 'wallet:ana'",
    ),
    (
        "ledger_accounts",
        "UPDATE ledger_accounts SET account = CASE account WHEN 'wallet:bob' THEN 'wallet:eve'"
        " WHEN 'wallet:eve' THEN 'wallet:bob' ELSE account END WHERE :one <> 0",
    ),
    (
        "ledger_transfers",
        "UPDATE ledger_transfers SET coins = coins + :one WHERE debit = 'wallet:bob'"
        " AND line = 2 AND request IN (SELECT max(request) FROM ledger_transfers"
        " WHERE debit = 'wallet:bob' AND line = 2)",
    ),
    (
        "ledger_transfers",
        "UPDATE ledger_transfers SET entry = entry + 1000 * :one"
        " WHERE debit = 'wallet:ana' AND reason = 'hold'",
    ),
    (
        "ledger_totals",
        "UPDATE ledger_totals SET debits = debits + :one, credits = credits + :one",
    ),
    (
        "ledger_requests",
        "UPDATE ledger_requests SET fingerprint = set_byte(fingerprint, 0,"
        " (get_byte(fingerprint, 0) + 256 + :one) % 256) WHERE account = 'ana'",
    ),
    (
        "ledger_requests",
        "UPDATE ledger_requests SET account = CASE account WHEN 'hana' THEN 'eve'"
        " WHEN 'eve' THEN 'hana' ELSE account END WHERE :one <> 0",
    ),
    (
        "ledger_holds",
        "UPDATE ledger_holds SET expires_us = expires_us + :one WHERE status = 'pending'",
    ),
    ("ledger_catalogue", "UPDATE ledger_catalogue SET version = version + :one"),
    (
        "decider_positions",
        "UPDATE decider_positions SET next_offset = next_offset + 10 * :one"
        " WHERE topic = 'live.gift-requests.v1'",
    ),
]


@pytest.mark.parametrize(
    ("table", "change"), TAMPERED, ids=[f"{n}-{each[0]}" for n, each in enumerate(TAMPERED)]
)
async def test_a_row_that_does_not_follow_from_the_requests_is_named(
    bed: LedgerBed, database: AsyncEngine, table: str, change: str
) -> None:
    async def apply(one: int) -> int:
        async with database.begin() as connection:
            return (await connection.execute(text(change), {"one": one})).rowcount

    assert await apply(1) > 0
    try:
        found = (await bed.verify(database)).difference
    finally:
        await apply(-1)
    assert found is not None
    assert found.where == table
    assert found.offset >= 0
    after = (await bed.verify(database)).difference
    assert after is None, after


async def test_what_is_decided_and_not_told_yet_is_in_the_outbox_or_missed(
    bed: LedgerBed, database: AsyncEngine
) -> None:
    """A worker that is killed between commit and telling leaves this behind."""
    writer = LogWriter(bed.settings.bootstrap_servers, client_id="tests")
    await writer.start()
    engine = create_engine(bed.settings, pool_size=1)
    silent = processor(bed.settings, engine)
    mute_outbox(silent)
    task = asyncio.create_task(silent.run())
    await MoneyLog(writer, bed.settings.partitions).deposit(ANA, 1)
    await bed.all_is_decided(database)
    task.cancel()
    await asyncio.wait({task})
    await engine.dispose()
    await writer.stop()

    found = (await bed.verify(database)).difference
    assert found is None, found
    async with database.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    lost = (await bed.verify(database)).difference
    assert lost is not None
    assert lost.where == "live.ledger.v1"
    assert "was not told" in lost.what
