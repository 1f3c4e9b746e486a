"""Workers or the broker are killed around the deadline; the finals are as if nothing had been.

What must come out is worked out from what was sent: every gift is ten coins, every wallet is full,
so a battle's score is ten for each gift that was accepted between its start and its deadline.
"""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.connection import create_engine
from engagement.domain.battles import BattleState
from engagement.settings import Settings
from tests.integration.battle_stage import BattleStage, Fight, assert_rooms_agree
from tests.integration.ledger_bed import LedgerBed, running_bed
from tests.integration.room_workers import Workers
from tests.money import new_id

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

WALLETS = 16
SENDERS = 8
GIFT_COINS = 10
_PAUSE_S = 0.02


class Crowd:
    """Viewers who send roses into all these rooms, some fifty a second."""

    def __init__(self, stage: BattleStage, fights: list[Fight]) -> None:
        self._stage = stage
        self._targets = [
            (fight, room, host)
            for fight in fights
            for room, host in zip(fight.rooms, fight.hosts, strict=True)
        ]
        self._wallets = [new_id() for _ in range(WALLETS)]
        self._random = random.Random(7)
        self.sent: list[tuple[str, str, str, int]] = []
        """Battle, room, request id and accepted time in µs."""

    async def fill_wallets(self) -> None:
        for wallet in self._wallets:
            await self._stage.money.deposit(wallet, 1_000_000)

    async def send_until(self, ending: Callable[[], bool]) -> None:
        """Several at once: while the log is away each of them has a gift on its way."""
        await asyncio.gather(*(self._send_until(ending) for _ in range(SENDERS)))

    async def _send_until(self, ending: Callable[[], bool]) -> None:
        while not ending():
            fight, room, host = self._random.choice(self._targets)
            at_us = time.time_ns() // 1000
            wallet = self._random.choice(self._wallets)
            gift = await self._stage.money.gift(wallet, room, host=host, at_us=at_us)
            self.sent.append((fight.name, room, gift, at_us))
            await asyncio.sleep(_PAUSE_S * SENDERS)

    def score(self, fight: Fight, state: BattleState) -> dict[str, int]:
        """What the battle must have ended with."""
        totals = dict.fromkeys(fight.rooms, 0)
        for battle, room, _, at_us in self.sent:
            if battle == fight.name and state.started_us <= at_us <= state.deadline_us:
                totals[room] += GIFT_COINS
        return totals


@pytest.fixture
async def stage(engines: Settings, database: AsyncEngine) -> AsyncIterator[BattleStage]:
    async with BattleStage(engines, database) as running:
        running.workers = Workers(engines)
        running.workers.start(0)
        running.workers.start(1)
        yield running
        running.workers.stop_all()


async def fight_it_out(
    stage: BattleStage, duration_s: int, disturb: Callable[[float], Awaitable[None]]
) -> None:
    """Several battles at once, disturbed around their deadlines, then judged."""
    fights = [Fight(), Fight(), Fight(), Fight(3), Fight()]
    crowd = Crowd(stage, fights)
    await crowd.fill_wallets()
    states = [await stage.start(fight, duration_s) for fight in fights]
    last_s = max(state.deadline_us for state in states) / 1e6
    disturbing = asyncio.ensure_future(disturb(last_s))
    await crowd.send_until(lambda: time.time() > last_s + 2)
    await disturbing
    await stage.until_ended(fights)
    for fight, running in zip(fights, states, strict=True):
        assert_rooms_agree(stage, fight)
        ended = (await stage.until_told(fight.name, "battle.ended")).decode()
        expected = crowd.score(fight, running)
        assert ended.totals == expected, fight.name
        assert min(expected.values()) > 0, "too few gifts for this test to mean anything"
    gifts = {(room, gift) for _, room, gift, _ in crowd.sent}
    rooms = {room for room, _ in gifts}

    def shown() -> set[tuple[str, str]]:
        return {(room, f.id) for room in rooms for f in stage.facts(room) if f.type == "gift.sent"}

    await stage.until(lambda: shown() == gifts)


async def test_finals_are_right_although_workers_are_killed_around_the_deadline(
    stage: BattleStage,
) -> None:
    dice = random.Random(11)

    async def kill(last_s: float) -> None:
        await asyncio.sleep(max(0.0, last_s - 3 - time.time()))
        for victim in (0, 1, 0, 1, 0):
            await asyncio.sleep(dice.uniform(0.2, 1.4))
            stage.workers.kill(victim)
            stage.workers.start(victim)

    await fight_it_out(stage, 6, kill)


async def test_finals_are_right_although_all_workers_are_gone_at_the_deadline(
    stage: BattleStage,
) -> None:
    async def kill(last_s: float) -> None:
        await asyncio.sleep(max(0.0, last_s - 0.5 - time.time()))
        for victim in (0, 1):
            stage.workers.kill(victim)
        await asyncio.sleep(2)
        for victim in (0, 1):
            stage.workers.start(victim)

    await fight_it_out(stage, 5, kill)


async def test_a_worker_that_slept_over_the_deadline_adds_nothing_when_it_wakes(
    stage: BattleStage,
) -> None:
    async def sleep(last_s: float) -> None:
        await asyncio.sleep(max(0.0, last_s - 0.3 - time.time()))
        stage.workers.signal(0, signal.SIGSTOP)
        await asyncio.sleep(9)  # Longer than its lease.
        stage.workers.signal(0, signal.SIGCONT)
        await asyncio.sleep(2)

    await fight_it_out(stage, 5, sleep)


@pytest.fixture
def bed() -> Iterator[LedgerBed]:
    """Engines that may be killed."""
    with running_bed() as running:
        yield running


@pytest.fixture
async def own_stage(bed: LedgerBed) -> AsyncIterator[BattleStage]:
    database = create_engine(bed.settings)
    async with BattleStage(bed.settings, database) as running:
        bed.workers.start(0)
        yield running
    await database.dispose()


@pytest.mark.parametrize("before_s", [0.3, -0.1], ids=["before", "after"])
async def test_finals_are_right_although_the_broker_is_killed_at_the_deadline(
    own_stage: BattleStage, bed: LedgerBed, before_s: float
) -> None:
    """What was accepted in time and had to wait for the broker counts."""

    async def kill(last_s: float) -> None:
        await asyncio.sleep(max(0.0, last_s - before_s - time.time()))
        bed.kafka.kill()
        await asyncio.to_thread(bed.kafka.start)

    await fight_it_out(own_stage, 5, kill)
