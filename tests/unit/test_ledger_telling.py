"""What the ledger's decisions tell the world, rooms and battles."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from engagement.domain import ledger_requests as asks
from engagement.domain.events import LEDGER_TOPIC, TOPIC_OF_TYPE
from engagement.domain.ledger import Books
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT
from engagement.domain.ledger_telling import Told, tell
from engagement.domain.requests import GiftPaid, GiftTakenBack, GiftUnpaid
from engagement.log.codec import encode_subject_fact
from tests.unit.domain_parts import T0_US, S, request_id
from tests.unit.ledger_parts import (
    ANA,
    FOX,
    ROOM,
    ask,
    deposit,
    funded,
    gift,
    hold,
    passed,
    reversal,
    take,
)

PARTITION = 3


def told(books: Books, asked: Any, battle: str = "") -> Told:
    """What is told of one request."""
    [decision] = take(books, asked)
    return tell(PARTITION, decision, battle)


def kinds(what: Told) -> list[str]:
    return [fact.kind for fact in what.facts]


def test_a_paid_gift_is_told_by_line_and_to_its_room() -> None:
    what = told(funded(), gift(count=3, number=1, session="gw/1", traceparent="t"))
    data = [fact.data for fact in what.facts]
    assert [(each.transfer, each.debit, each.credit, each.coins) for each in data] == [
        ("3-2.1", "wallet:ana", "earnings:hana", 13),
        ("3-2.2", "wallet:ana", "house", 17),
    ]
    assert {(each.room, each.gift, each.count) for each in data} == {(ROOM, "rose", 3)}
    assert {fact.subject for fact in what.facts} == {ANA}
    assert what.room is not None
    assert (what.room.room, what.room.actor, what.room.session) == (ROOM, ANA, "gw/1")
    paid = what.room.request
    assert isinstance(paid, GiftPaid)
    assert paid.id == request_id(1)
    assert (paid.data.ledger, paid.data.entry, paid.data.coins) == (PARTITION, 2, 30)
    assert paid.data.animation == "rose"
    assert paid.data.battle is UNSET
    assert what.battle is None


def test_a_gift_to_a_room_in_a_battle_is_told_to_the_battle() -> None:
    what = told(funded(), gift("fox", number=1), battle="fight")
    assert what.battle is not None
    assert (what.battle.battle, what.battle.at_us) == ("fight", T0_US)
    contribution = what.battle.request.data
    assert (contribution.gift, contribution.room, contribution.coins, contribution.entry) == (
        request_id(1), ROOM, 7, 2,
    )  # fmt: skip
    assert what.room is not None
    assert isinstance(what.room.request, GiftPaid)
    assert what.room.request.data.battle == "fight"
    assert what.room.request.data.animation == "leap"
    assert not what.room.request.data.combos


def test_an_unpaid_gift_is_told_to_the_world_and_to_its_sender_and_not_to_the_battle() -> None:
    what = told(funded(5), gift(number=1), battle="fight")
    assert kinds(what) == ["gift.refused"]
    assert what.facts[0].data.code == "insufficient_funds"
    assert what.room is not None
    assert isinstance(what.room.request, GiftUnpaid)
    assert what.room.request.data.code == "insufficient_funds"
    assert what.battle is None


def test_a_repeat_tells_nothing_and_a_reused_id_tells_its_sender() -> None:
    books = funded()
    tapped = gift(number=1)
    told(books, tapped)
    assert told(books, tapped, battle="fight") == Told()
    reused = told(books, gift(number=1, count=2))
    assert kinds(reused) == ["gift.refused"]
    assert reused.facts[0].data.code == "id_reused"
    assert reused.room is not None


def test_a_reused_id_is_the_same_fact_again_and_another_body_another() -> None:
    books = funded()
    told(books, gift(number=1))
    two, later, three = (
        told(books, gift(number=1, count=count, at_us=at_us)).facts[0].id
        for count, at_us in ((2, T0_US), (2, T0_US + S), (3, T0_US))
    )
    assert two == later != three


def test_a_reversal_names_what_it_reverses_and_tells_the_gifts_room() -> None:
    books = funded()
    told(books, gift(number=1))
    what = told(books, ask(reversal(request_id(1), number=2)))
    assert {fact.data.reverses for fact in what.facts} == {"3-2"}
    assert {fact.data.reason for fact in what.facts} == {"reversal"}
    assert what.room is not None
    assert what.room.room == ROOM
    assert isinstance(what.room.request, GiftTakenBack)
    assert (what.room.request.data.gift, what.room.request.data.entry) == (request_id(1), 3)


def test_holds_are_told_when_they_begin_and_when_they_end() -> None:
    books = funded()
    placed = told(books, ask(hold(40, number=1, ttl_s=10, to="eva")))
    assert kinds(placed) == ["hold.placed"]
    assert placed.room is None
    assert placed.facts[0].data.expires.startswith("2023-11-14T22:13:30")
    target = asks.HoldTarget(request_id(1))
    posted = told(books, ask(asks.HoldPost(id=request_id(), data=target)))
    assert kinds(posted) == ["transfer.posted", "hold.resolved"]
    refused = told(books, ask(asks.HoldVoid(id=request_id(), data=target)))
    assert kinds(refused) == ["transfer.refused"]
    assert refused.facts[0].data.request_type == "hold.void"


def test_a_hold_that_time_has_ended_is_told_to_its_account() -> None:
    books = funded()
    told(books, ask(hold(40, number=1, ttl_s=10)))
    what = told(books, passed(T0_US + 10 * S))
    assert kinds(what) == ["hold.resolved"]
    assert (what.facts[0].subject, what.facts[0].data.outcome) == (ANA, "expired")


def test_a_changed_price_is_told_under_its_gift() -> None:
    books = Books(PARTITION)
    request = asks.CatalogueChange(id=request_id(), data=FOX.terms)
    what = told(books, ask(request, account=CATALOGUE_ACCOUNT, actor="admin", role="admin"))
    assert kinds(what) == ["gift.catalogued"]
    fact = what.facts[0]
    assert (fact.collection, fact.subject, fact.data.version) == ("gifts", "fox", 1)
    again = asks.CatalogueChange(id=request_id(), data=FOX.terms)
    assert told(books, ask(again, account=CATALOGUE_ACCOUNT, role="admin")) == Told()


def test_a_barrier_passes_the_ledger_in_order_and_touches_nothing() -> None:
    books = funded()
    before = msgspec.structs.asdict(books)
    mark = asks.BattleMark(id=request_id(), data=asks.MarkedBattle("fight", 2, 8))
    what = told(books, ask(mark, account=""))
    assert msgspec.structs.asdict(books) == before
    assert what.facts == [] and what.room is None and what.battle is not None
    data = what.battle.request.data
    assert (data.ledger, data.partitions, data.barrier) == (PARTITION, 8, 2)


def test_what_names_no_room_tells_none() -> None:
    assert told(funded(5), gift(room="")).room is None


@pytest.mark.parametrize(
    "asked", [ask(deposit(5, number=1)), gift(number=2), gift("none", number=3)]
)
def test_the_same_decision_tells_the_same_bytes(asked: Any) -> None:
    first, second = (
        [encode_subject_fact(fact) for fact in told(funded(), asked).facts] for _ in range(2)
    )
    assert first == second != []
    for value in first:
        event = json.loads(value)
        assert TOPIC_OF_TYPE[event["type"]] == LEDGER_TOPIC
        assert event["source"] == "/accounts/ana"
        assert event["causationid"] == asked.request.id
