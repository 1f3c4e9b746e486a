"""Workers, broker and database are killed or put to sleep in mid-flow; no coin is lost or doubled.

The proof is `engagement verify ledger`, and beside it a sum that knows nothing of the ledger: what
each wallet has left is what was put in, less ten coins for every gift that was sent.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.connection import create_engine
from engagement.database.ledger_queries import LedgerQueries
from engagement.domain import ledger_requests as asks
from engagement.domain import requests
from engagement.domain.ledger_requests import MoneyAsked, MoneyEnvelope
from engagement.errors import UnavailableError
from engagement.log.money_codec import encode_money_envelope
from engagement.log.topics import GIFT_REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from tests.conftest import process_environment
from tests.integration.ledger_bed import LedgerBed, running_bed
from tests.money import ROSE, new_id
from tests.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

WALLETS = 40
FUNDS = 1_000_000
_PAUSE_S = 0.02
"""Between two flushes of about ten gifts."""


class Flow:
    """Wallets that send roses, some 500 a second, every tenth one twice."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._random = random.Random(name)
        self._writer = LogWriter(settings.bootstrap_servers, client_id="tests")
        self.name = name
        self.sent: dict[str, set[str]] = {f"{name}-{number}": set() for number in range(WALLETS)}
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self._unsure: list[tuple[str, list[MoneyAsked]]] = []
        """Sent, and not acknowledged."""

    async def __aenter__(self) -> "Flow":
        await self._writer.start()
        for account in self.sent:
            deposit = asks.Deposit(id=new_id(), data=asks.DepositOrder(FUNDS))
            await self._put(account, [self._asked(account, deposit, role="service")])
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()
        await self._writer.stop()

    async def end(self) -> None:
        """Send nothing more."""
        self._ending = True
        if self._task is not None:
            await self._task

    async def again(self) -> None:
        """Send again what a broker that was killed may have lost; then go on."""
        await self.end()
        self._ending = False
        while self._unsure:
            account, flush = self._unsure[0]
            with contextlib.suppress(UnavailableError):
                await self._send(account, flush)
                self._unsure.pop(0)
            await asyncio.sleep(0.05)
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._ending:
            account = self._random.choice(list(self.sent))
            flush = []
            for _ in range(self._random.randint(1, 20)):
                gift = self._gift(account)
                flush.append(gift)
                if self._random.random() < 0.1:
                    flush.append(gift)
            self._unsure.append((account, flush))
            try:
                await self._send(account, flush)
            except UnavailableError:
                return
            self._unsure.pop()
            await asyncio.sleep(_PAUSE_S)

    async def _send(self, account: str, flush: list[MoneyAsked]) -> None:
        await self._put(account, flush)
        self.sent[account].update(gift.request.id for gift in flush)

    def _gift(self, account: str) -> MoneyAsked:
        room = f"{self.name}-room-{self._random.randrange(10)}"
        order = requests.GiftOrder(gift="rose")
        request = requests.GiftSend(id=new_id(), data=order)
        return self._asked(account, request, room=room, host="hana", terms=0)

    def _asked(self, account: str, request: asks.MoneyRequest, **more: object) -> MoneyAsked:
        known = {"actor": account, "role": "viewer", "at_us": time.time_ns() // 1000, **more}
        return MoneyAsked(account=account, request=request, **known)  # type: ignore[arg-type]

    async def _put(self, account: str, flush: list[MoneyAsked]) -> None:
        value = encode_money_envelope(MoneyEnvelope("tests", flush, terms=[ROSE]))
        partition = partition_of(account, self._settings.partitions)
        self._writer.append(GIFT_REQUESTS_TOPIC, partition, b"tests", value)
        await self._writer.acknowledged(GIFT_REQUESTS_TOPIC, partition)


@pytest.fixture(scope="module")
def bed() -> Iterator[LedgerBed]:
    with running_bed() as bed:
        yield bed


@pytest.fixture
async def database(bed: LedgerBed) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(bed.settings)
    yield engine
    bed.workers.stop_all()
    await engine.dispose()


async def decided(database: AsyncEngine) -> int:
    """Requests with an outcome."""
    try:
        async with database.connect() as connection:
            found = await connection.execute(text("SELECT count(*) FROM ledger_requests"))
            return int(found.scalar_one())
    except (DBAPIError, OSError):
        return 0  # It is starting up again.


async def goes_on(database: AsyncEngine, more: int = 200) -> None:
    """Wait until so many more requests are decided."""
    before = await decided(database)

    async def moved() -> bool:
        return await decided(database) >= before + more

    await until(moved, f"{more} more decisions", within_s=60)


async def balances(bed: LedgerBed, database: AsyncEngine, flow: Flow) -> None:
    """Everything decided and told: the sums are right, and the ledger is what was asked."""
    await flow.end()
    await bed.all_is_decided(database)
    queries = LedgerQueries(database)
    for account, gifts in flow.sent.items():
        assert (await queries.wallet(account)).coins == FUNDS - 10 * len(gifts), account
    found = await bed.verify(database)
    assert found.difference is None, found.difference
    assert found.rooms.sent == found.rooms.paid


async def test_workers_killed_in_mid_flow_lose_and_double_nothing(
    bed: LedgerBed, database: AsyncEngine
) -> None:
    bed.workers.start(0)
    bed.workers.start(1)
    async with Flow(bed.settings, "killed") as flow:
        for number in (0, 1, 0, 1, 0):
            await goes_on(database)
            bed.workers.kill(number)
            await goes_on(database)
            bed.workers.start(number)
        await goes_on(database)
        await balances(bed, database, flow)


async def test_a_killed_workers_partitions_are_claimed_whatever_its_lease_says(
    bed: LedgerBed, database: AsyncEngine
) -> None:
    """Its database session ended with it: nobody waits for the lease."""
    bed.workers.start(0)
    bed.workers.start(1)
    async with Flow(bed.settings, "claimed") as flow:
        await until(owners_are(database, 2), "two owners", within_s=60)
        bed.workers.kill(0)
        async with database.begin() as connection:
            await connection.execute(
                text("""
                    UPDATE decider_owners SET alive_until = now() + interval '1 hour'
                    WHERE name LIKE '%/worker-0/%'
                """)
            )
        await until(owners_are(database, 1), "one owner", within_s=60)
        await goes_on(database)
        await balances(bed, database, flow)


async def test_a_broker_killed_in_mid_flow_loses_and_doubles_nothing(
    bed: LedgerBed, database: AsyncEngine
) -> None:
    bed.workers.start(0)
    async with Flow(bed.settings, "broker") as flow:
        for _ in range(2):
            await goes_on(database)
            bed.kafka.kill()
            await asyncio.to_thread(bed.kafka.start)
            await flow.again()
        await goes_on(database)
        await balances(bed, database, flow)


async def test_a_database_killed_in_mid_flow_loses_and_doubles_nothing(
    bed: LedgerBed, database: AsyncEngine
) -> None:
    bed.workers.start(0)
    async with Flow(bed.settings, "database") as flow:
        for _ in range(2):
            await goes_on(database)
            async with database.connect() as connection:
                pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            os.kill(pid, signal.SIGKILL)  # The server takes it for a crash, and recovers.
        await goes_on(database)
        await balances(bed, database, flow)


def owners_are(database: AsyncEngine, count: int) -> Callable[[], object]:
    """A condition: so many processes own all partitions of the ledger."""

    async def owned() -> bool:
        statement = text("""
            SELECT count(DISTINCT owner), count(*) FILTER (WHERE owner IS NULL OR NOT EXISTS
                (SELECT FROM decider_owners WHERE token = owner)) AS free, count(*)
            FROM decider_positions WHERE topic = :topic
        """)
        async with database.connect() as connection:
            found = await connection.execute(statement, {"topic": GIFT_REQUESTS_TOPIC})
            owners, free, partitions = found.one()
        return (owners, free) == (count, 0) and partitions > 0

    return owned


class Sleeper:
    """A ledger loop in a process of its own, with what it said."""

    def __init__(self, settings: Settings, number: int, directory: Path) -> None:
        self.said = directory / f"ledger-{number}.log"
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.run_ledger"],
                env=process_environment(settings, ENGAGEMENT_WORKER_ID=str(number)),
                stdout=out,
                stderr=out,
            )

    @property
    def fenced(self) -> int:
        """How often it was refused because others had taken over."""
        return self.said.read_text().count("processor.fenced")

    def signal(self, what: signal.Signals) -> None:
        os.kill(self.process.pid, what)

    def stop(self) -> None:
        self.signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(20)


async def test_a_worker_that_slept_through_a_take_over_commits_nothing(
    bed: LedgerBed, database: AsyncEngine, tmp_path: Path
) -> None:
    sleepers = [Sleeper(bed.settings, number, tmp_path) for number in range(2)]
    try:
        async with Flow(bed.settings, "asleep") as flow:
            for turn in range(4):
                await until(owners_are(database, 2), "two owners", within_s=60)
                await goes_on(database, 50)
                sleeper = sleepers[turn % 2]
                before = sleeper.fenced
                sleeper.signal(signal.SIGSTOP)
                await until(owners_are(database, 1), "one owner", within_s=60)
                await goes_on(database, 50)
                sleeper.signal(signal.SIGCONT)

                async def fenced(sleeper: Sleeper = sleeper, before: int = before) -> bool:
                    return sleeper.fenced > before

                await until(fenced, "the fence", within_s=60)
            await flow.end()
            await bed.all_is_decided(database)
            bed.workers.start(0)  # For the rooms.
            await balances(bed, database, flow)
    finally:
        for sleeper in sleepers:
            sleeper.stop()
