"""Envelopes for the ledger: whole, bounded, with the terms and the anchor that held."""

import asyncio
import uuid

import pytest
from msgspec import UNSET

from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.ledger_requests import Deposit, DepositOrder
from engagement.domain.media_time import Anchor, RoomClock
from engagement.domain.requests import GiftOrder, GiftSend
from engagement.gateway.envelopes import EnvelopeWriter, Group
from engagement.gateway.flushes import Grid
from engagement.gateway.money_envelopes import MoneyAsk, MoneyWriter, partition_of_account
from engagement.log.topics import partition_of
from tests.unit.gateway_parts import FakeClocks, FakeLog

ROSE = PricedGift(3, GiftTerms(gift="rose", name="Rose", coins=5))
CAR = PricedGift(1, GiftTerms(gift="car", name="Car", coins=7_000))


def ask(account: str = "ben", priced: PricedGift = ROSE, at_us: int = 5_000_000) -> MoneyAsk:
    gift = GiftSend(id=str(uuid.uuid4()), data=GiftOrder(priced.terms.gift))
    return MoneyAsk(account, "viewer", at_us, gift, "kitchen", "ana", priced=priced)


class Desk:
    """Both writers on one grid."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.clocks = FakeClocks()
        grid = Grid(0.05, asyncio.get_running_loop())
        self.rooms = EnvelopeWriter(self.log, self.clocks, grid, gateway="g")
        self.money = MoneyWriter(self.log, self.clocks, grid, gateway="g", partitions=8)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_gifts_and_comments_leave_at_the_same_point_of_the_grid(desk: Desk) -> None:
    desk.money.put(ask())
    desk.rooms.put(3, Group("kitchen", "viewer", 1, []))
    assert (desk.log.money, desk.log.records) == ([], [])
    await asyncio.sleep(0)
    assert (len(desk.log.money), len(desk.log.records)) == (1, 1)


async def test_each_account_has_its_partition_and_its_order(desk: Desk) -> None:
    asks = [ask(account) for account in ("ben", "cy", "ben", "di", "cy")]
    for each in asks:
        desk.money.put(each)
    desk.money.flush()
    for (partition, _), envelope in zip(desk.log.money, desk.log.money_envelopes, strict=True):
        wanted = [a.request.id for a in asks if partition_of(a.account, 8) == partition]
        assert [each.request.id for each in envelope.asks] == wanted
    assert partition_of_account("ben", 8) == partition_of("ben", 8)


async def test_terms_are_written_once_however_often_they_are_used(desk: Desk) -> None:
    newer = PricedGift(4, ROSE.terms)
    for priced in (ROSE, CAR, ROSE, newer, ROSE):
        desk.money.put(ask(priced=priced))
    desk.money.flush()
    [envelope] = desk.log.money_envelopes
    assert envelope.terms == [ROSE, CAR, newer]
    assert [each.terms for each in envelope.asks] == [0, 1, 0, 2, 0]


async def test_a_gift_is_stamped_by_the_anchor_that_held_when_it_was_accepted(desk: Desk) -> None:
    clock = desk.clocks.clocks["kitchen"] = RoomClock()
    desk.money.put(ask(at_us=7_000_000))
    for name, at_us in (("old", 1_000_000), ("step", 6_000_000), ("late", 9_000_000)):
        anchor = Anchor(name, 1, 90_000, 0, 0.0, at_us / 1000, 0.0, 1.0, at_us)
        assert clock.observe(anchor, at_us)
    desk.money.flush()
    [envelope] = desk.log.money_envelopes
    [asked] = envelope.asks
    assert isinstance(asked.anchor, int)
    assert envelope.clock[asked.anchor].anchor.id == "step"


async def test_what_is_no_gift_has_neither_terms_nor_anchor(desk: Desk) -> None:
    deposit = Deposit(id=str(uuid.uuid4()), data=DepositOrder(10))
    desk.money.put(MoneyAsk("ben", "service", 1, deposit, actor="app"))
    desk.money.flush()
    [asked] = desk.log.money_envelopes[0].asks
    assert (asked.account, asked.actor, asked.anchor, asked.terms) == ("ben", "app", UNSET, UNSET)


async def test_an_envelope_that_is_too_large_is_split(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ENVELOPE_BYTES_MAX", 2_000)
    asks = [ask() for _ in range(40)]
    for each in asks:
        flush = desk.money.put(each)
    desk.money.flush()
    assert len(desk.log.money) > 1
    written = [asked.request.id for each in desk.log.money_envelopes for asked in each.asks]
    assert written == [each.request.id for each in asks]
    desk.log.acknowledge()
    await asyncio.sleep(0)
    assert flush.acked
