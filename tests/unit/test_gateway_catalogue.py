"""The catalogue: followed by version, offered from a file once, read within bounds."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms, PricedGift, catalogued
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT
from engagement.gateway.catalogue_follower import CatalogueFollower
from engagement.gateway.flushes import Flush, Grid
from engagement.gateway.gifts_file import read_gifts
from engagement.gateway.money_bodies import gift_view
from engagement.gateway.money_envelopes import MoneyAsk, MoneyWriter
from engagement.settings import ConfigurationError
from tests.unit.gateway_parts import FakeClocks, FakeLog, Record, fact_bytes, sell
from tests.waiting import until


def test_the_shipped_catalogue_has_three_tiers_from_one_coin_to_thirty_thousand() -> None:
    gifts = read_gifts(None)
    assert len(gifts) >= 12
    assert {terms.tier for terms in gifts} == {1, 2, 3}
    assert (min(t.coins for t in gifts), max(t.coins for t in gifts)) == (1, 30_000)
    assert all(terms.combo for terms in gifts if terms.tier == 1)
    assert all(terms.animation and terms.offered for terms in gifts)
    cheap = max(terms.coins for terms in gifts if terms.tier == 1)
    assert cheap < min(terms.coins for terms in gifts if terms.tier == 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gifts = 7", "gifts"),
        ("[[gifts]]\ngift = 'rose'", "name"),
        ("[[gifts]]\ngift = 'Rose!'\nname = 'R'\ncoins = 1", "pattern|regex"),
        ("[[gifts]]\ngift = 'rose'\nname = 'R'\ncoins = 0", "coins"),
        ("[[gifts]]\ngift = 'rose'\nname = 'R'\ncoins = 1.5", "coins"),
        ("[[gifts]]\ngift = 'rose'\nname = 'R'\ncoins = 1\nprice = 2", "price"),
        ("[[gifts]]\ngift = 'rose'\nname = 'R'\ncoins = 1\ntier = 4", "tier"),
        ("[[gifts]]\ngift = 'rose'\nname = 'R'\ncoins = 1\nhost_share_percent = 101", "share"),
        ('[[gifts]]\ngift = "rose"\nname = "R\\u0000"\ncoins = 1', "NUL"),
        ("[[gifts]]\ngift = 'r'\nname = 'R'\ncoins = 1\n" * 2, "twice"),
        ("gifts = [", "cannot be used"),
    ],
)
def test_a_file_that_is_wrong_stops_the_gateway_and_says_why(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "gifts.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        read_gifts(file)


def test_a_file_that_is_not_there_stops_the_gateway(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_gifts(tmp_path / "nowhere.toml")


def test_a_file_has_so_many_gifts_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GIFTS_IN_CATALOGUE_MAX", 2)
    file = tmp_path / "gifts.toml"
    gifts = [f"[[gifts]]\ngift = 'g{n}'\nname = 'G'\ncoins = 1\n" for n in range(3)]
    file.write_text("".join(gifts[:2]))
    assert len(read_gifts(file)) == 2
    file.write_text("".join(gifts))
    with pytest.raises(ConfigurationError, match="more than 2"):
        read_gifts(file)


def test_the_newest_version_stands_in_whatever_order_they_come() -> None:
    catalogue = CatalogueFollower()
    sell(catalogue, "rose", coins=7, version=2)
    sell(catalogue, "rose", coins=1, version=1)
    found = catalogue.find("rose")
    assert found is not None
    assert (found.version, found.terms.coins) == (2, 7)
    sell(catalogue, "rose", coins=7, version=3, offered=False)
    assert catalogue.find("rose") is None
    assert catalogue.known("rose") is not None
    assert catalogue.offered() == []


def test_what_is_offered_comes_smallest_first() -> None:
    catalogue = CatalogueFollower()
    for gift, coins in (("c", 5), ("b", 1), ("a", 5)):
        sell(catalogue, gift, coins)
    assert [gift_view(priced).gift for priced in catalogue.offered()] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "value",
    [
        b"{}",
        b"\xff",
        b"[" * 100_000,
        fact_bytes("kitchen"),
        fact_bytes("", "gift.catalogued", {"gift": "rose"}),
        fact_bytes(
            "",
            "gift.catalogued",
            msgspec.to_builtins(
                catalogued(PricedGift(1, GiftTerms(gift="rose", name="R", coins=-5)), "x")
            ),
        ),
    ],
)
def test_what_is_no_gift_changes_nothing(value: bytes) -> None:
    catalogue = CatalogueFollower()
    catalogue.handle(0, [Record(0, None), Record(1, value)])
    assert catalogue.offered() == []


def test_a_catalogue_has_so_many_gifts_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GIFTS_IN_CATALOGUE_MAX", 2)
    catalogue = CatalogueFollower()
    for number in range(3):
        sell(catalogue, f"g{number}")
    sell(catalogue, "g0", coins=9, version=2)
    assert [p.terms.gift for p in catalogue.offered()] == ["g1", "g0"]
    assert catalogue.full


ROSE = GiftTerms(gift="rose", name="Rose", coins=5, animation="rose")


def test_a_file_is_offered_under_ids_that_derive_from_its_terms() -> None:
    [first], [again] = CatalogueFollower([ROSE]).changes(), CatalogueFollower([ROSE]).changes()
    assert first.request.id == again.request.id
    assert (first.account, first.role) == (CATALOGUE_ACCOUNT, "service")
    dearer = msgspec.structs.replace(ROSE, coins=6)
    assert CatalogueFollower([dearer]).changes()[0].request.id != first.request.id


def test_what_is_so_already_is_not_offered() -> None:
    catalogue = CatalogueFollower([ROSE])
    assert catalogue.awaits("rose")
    sell(catalogue, "rose", coins=5)
    assert not catalogue.awaits("rose")
    assert not catalogue.awaits("dragon")
    assert catalogue.changes() == []


async def test_a_file_is_offered_until_the_log_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagement.gateway.catalogue_follower._RETRY_S", 0.0)
    log = FakeLog()
    grid = Grid(0.001, asyncio.get_running_loop())
    writer = MoneyWriter(log, FakeClocks(), grid, gateway="g", partitions=8)
    offered: list[Flush[MoneyAsk]] = []

    def put(ask: MoneyAsk) -> Flush[MoneyAsk]:
        offered.append(writer.put(ask))
        return offered[-1]

    offering = asyncio.create_task(CatalogueFollower([ROSE]).offer(put))

    async def waiting() -> bool:
        return bool(log.waiting)

    await until(waiting)
    log.fail()
    await until(waiting)
    log.acknowledge()
    await offering
    assert [flush.acked for flush in offered] == [False, True]
    ids = {asked.request.id for each in log.money_envelopes for asked in each.asks}
    assert len(ids) == 1


async def test_a_gift_of_the_file_is_waited_for_and_no_other() -> None:
    catalogue = CatalogueFollower([ROSE])
    await catalogue.until(["dragon"], 60)
    waiting = [asyncio.create_task(catalogue.until(["rose"], 60)) for _ in range(3)]
    await asyncio.sleep(0)
    sell(catalogue, "other")
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    sell(catalogue, "rose", coins=5)
    await asyncio.gather(*waiting)


async def test_a_gift_that_does_not_come_is_given_up() -> None:
    await CatalogueFollower([ROSE]).until(["rose"], 0.01)
