"""Looking stored outcomes up: one query for all who ask, none while the database is away."""

import asyncio

import pytest

from engagement.domain import limits
from engagement.domain.ledger import Settled
from engagement.errors import UnavailableError
from engagement.gateway.settlements import Settlements
from tests.unit.gateway_parts import FakeLedger
from tests.waiting import until

PAID = Settled(b"mark", "paid", 1)


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def settlements(ledger: FakeLedger) -> Settlements:
    return Settlements(ledger)


async def test_what_was_decided_is_found_and_nothing_else(
    settlements: Settlements, ledger: FakeLedger
) -> None:
    ledger.stored["ben", "1"] = PAID
    found = await settlements.find([("ben", "1"), ("ben", "2"), ("cy", "1")])
    assert found is not None
    assert found.get(("ben", "1")) is PAID
    assert {("ben", "2"), ("cy", "1")}.isdisjoint(found)


async def test_nothing_is_asked_about_nothing(settlements: Settlements, ledger: FakeLedger) -> None:
    assert await settlements.find([]) == {}
    assert ledger.queries == []


async def test_all_who_ask_while_a_query_is_under_way_share_the_next(
    settlements: Settlements, ledger: FakeLedger
) -> None:
    ledger.answers = asyncio.Event()
    first = asyncio.create_task(settlements.find([("ben", "0")]))

    async def asked() -> bool:
        return bool(ledger.queries)

    await until(asked)
    ledger.stored["ben", "7"] = PAID
    others = [asyncio.create_task(settlements.find([("ben", str(n))])) for n in range(1, 50)]
    await asyncio.sleep(0)
    ledger.answers.set()
    await asyncio.gather(first, *others)
    assert [len(keys) for keys in ledger.queries] == [1, 49]
    found = others[6].result()
    assert found is not None
    assert found["ben", "7"] is PAID


async def test_a_sender_who_gives_up_harms_nobody_else(
    settlements: Settlements, ledger: FakeLedger
) -> None:
    ledger.answers = asyncio.Event()
    gives_up = asyncio.create_task(settlements.find([("ben", "1")]))
    stays = asyncio.create_task(settlements.find([("cy", "1")]))
    await asyncio.sleep(0)
    gives_up.cancel()
    ledger.answers.set()
    assert await stays == {}


async def test_a_database_that_is_away_is_asked_once_a_while(
    settlements: Settlements, ledger: FakeLedger
) -> None:
    ledger.away = True
    for _ in range(5):
        assert await settlements.find([("ben", "1")]) is None
    assert len(ledger.queries) == 1
    with pytest.raises(UnavailableError):
        await settlements.must_find([("ben", "1")])


async def test_a_database_that_came_back_is_asked_again(
    settlements: Settlements, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETTLED_AWAY_S", 0.0)
    ledger.away = True
    assert await settlements.find([("ben", "1")]) is None
    ledger.away = False
    assert await settlements.find([("ben", "1")]) == {}


async def test_a_database_that_hangs_is_not_waited_for(
    settlements: Settlements, ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETTLED_TIMEOUT_S", 0.01)
    ledger.answers = asyncio.Event()
    assert await settlements.find([("ben", "1")]) is None


async def test_who_asks_when_it_ends_is_answered(
    settlements: Settlements, ledger: FakeLedger
) -> None:
    ledger.answers = asyncio.Event()
    first = asyncio.create_task(settlements.find([("ben", "1")]))

    async def asked() -> bool:
        return bool(ledger.queries)

    await until(asked)
    second = asyncio.create_task(settlements.find([("ben", "2")]))
    await asyncio.sleep(0)
    await settlements.stop()
    assert (await first, await second) == (None, None)
