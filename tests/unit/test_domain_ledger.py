"""What the ledger decides about each request, and what it refuses."""

from typing import Any

import msgspec
import pytest

from engagement.domain import ledger_requests as asks
from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms, catalogued, host_share, priced_of
from engagement.domain.ledger import (
    Account,
    Books,
    BrokenInvariantError,
    Decision,
    Hold,
    Settled,
    Transfer,
    decide,
    earnings,
    fingerprint,
    is_allowed,
    key_of,
    post,
    wallet,
    wanted,
)
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT
from tests.unit.domain_parts import T0_US, S, request_id
from tests.unit.ledger_parts import (
    ANA,
    FOX,
    HOST,
    ask,
    balances,
    deposit,
    funded,
    gift,
    hold,
    moved,
    passed,
    reversal,
    take,
)


def code(books: Books, request: Any) -> str:
    """Why a request is refused; it must have moved nothing."""
    before = balances(books)
    [decision] = take(books, request)
    assert balances(books) == before
    assert decision.transfers == ()
    assert decision.settled is not None
    assert decision.settled.status == "refused"
    assert decision.settled.code == decision.code
    return decision.code


# --- gifts ---------------------------------------------------------------------------------------


def test_a_gift_is_shared_between_host_and_house_to_the_coin() -> None:
    books = funded(100)
    [decision] = take(books, gift("fox", 3))
    assert moved(decision) == [
        (wallet(ANA), earnings(HOST), 10, "gift"),  # Half of 21, rounded down.
        (wallet(ANA), "house", 11, "house_share"),
    ]
    assert balances(books) == {
        "purchases": -100, wallet(ANA): 79, earnings(HOST): 10, "house": 11
    }  # fmt: skip
    assert decision.payment is not None
    assert (decision.payment.coins, decision.payment.earned) == (21, 10)
    assert decision.entry == 2


def test_a_share_of_nothing_is_no_transfer() -> None:
    books = funded()
    for percent, credits in ((0, ["house"]), (100, [earnings(HOST)])):
        terms = msgspec.structs.replace(FOX.terms, host_share_percent=percent)
        asked = gift("fox")
        envelope = asks.MoneyEnvelope(
            "gw", [asked], terms=[msgspec.structs.replace(FOX, terms=terms)]
        )
        asked = msgspec.structs.replace(asked, terms=0)
        decision = decide(books, envelope, asked)
        assert [transfer.credit for transfer in decision.transfers] == credits


def test_the_last_coin_can_be_spent_and_not_one_more() -> None:
    books = funded(20)
    assert take(books, gift(count=2))[0].code == ""
    assert code(books, gift()) == "insufficient_funds"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (gift("unheard-of"), "unknown_gift"),
        (gift("fox", terms=0), "unknown_gift"),  # The gateway priced something else.
        (gift("gone"), "unknown_gift"),
        (gift(to="bob"), "unknown_recipient"),
        (gift(host=ANA), "self_gift"),
        (gift(account="poor"), "insufficient_funds"),
        (gift(count=limits.GIFT_COUNT_MAX), "insufficient_funds"),
        (ask(deposit(), role="viewer"), "forbidden"),
        (ask(deposit(), role="host"), "forbidden"),
        (ask(hold(), role="viewer"), "forbidden"),
        (ask(hold(to=ANA)), "self_transfer"),
        (ask(hold(101)), "insufficient_funds"),
        (
            ask(asks.HoldPost(id=request_id(), data=asks.HoldTarget(request_id(9)))),
            "hold_not_found",
        ),
        (
            ask(asks.HoldPost(id=request_id(), data=asks.HoldTarget(request_id(9))), role="viewer"),
            "forbidden",
        ),
        (ask(reversal(request_id(9))), "gift_not_found"),
        (ask(reversal(request_id(9)), role="moderator"), "forbidden"),
        (
            ask(asks.CatalogueChange(id=request_id(), data=FOX.terms), role="viewer"),
            "forbidden",
        ),
        (ask(asks.CatalogueChange(id=request_id(), data=FOX.terms)), "forbidden"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name_and_moves_nothing(asked: Any, why: str) -> None:
    assert code(funded(), asked) == why


def test_a_recipient_who_is_the_host_may_be_named() -> None:
    assert take(funded(), gift(to=HOST))[0].code == ""


# --- ids -----------------------------------------------------------------------------------------


def test_a_repeat_gets_the_stored_outcome_and_moves_nothing() -> None:
    books = funded()
    tapped = gift(number=1)
    first, again = take(books, tapped, msgspec.structs.replace(tapped, at_us=T0_US + S))
    assert again.repeat_of == first.settled
    assert again.settled is None
    assert balances(books)[wallet(ANA)] == 90


def test_another_body_under_the_same_id_is_told_apart_and_does_not_change_the_outcome() -> None:
    books = funded()
    take(books, gift(number=1))
    for other in (gift(number=1, count=2), gift("fox", number=1), gift(number=1, room="other")):
        [decision] = take(books, other)
        assert decision.code == "id_reused"
        assert decision.settled is None
    assert take(books, gift(number=1))[0].repeat_of is not None
    assert balances(books)[wallet(ANA)] == 90


def test_the_same_id_of_another_account_is_another_request() -> None:
    books = funded()
    take(books, ask(deposit(100), account="bob"))
    ana, bob = take(books, gift(number=1), gift(number=1, account="bob"))
    assert (ana.code, bob.code) == ("", "")
    assert bob.settled != ana.settled


def test_a_refused_id_stays_refused_after_a_top_up() -> None:
    books = funded(5)
    tapped = gift(number=1)
    assert code(books, tapped) == "insufficient_funds"
    take(books, ask(deposit(1000)))
    [again] = take(books, tapped)
    assert again.repeat_of is not None
    assert again.repeat_of.code == "insufficient_funds"
    assert balances(books)[wallet(ANA)] == 1005


def test_a_fingerprint_is_of_what_was_asked_not_of_when_or_by_which_gateway() -> None:
    tapped = gift(number=1)
    same = msgspec.structs.replace(tapped, at_us=1, terms=2, session="gw/9", traceparent="x")
    assert fingerprint(same) == fingerprint(tapped)
    assert fingerprint(gift(number=1, count=2)) != fingerprint(tapped)


# --- deposits and bounds -------------------------------------------------------------------------


def test_deposits_come_from_where_they_say() -> None:
    books = Books(0)
    take(books, ask(deposit(70)), ask(deposit(30, source="promotion"), role="admin"))
    assert balances(books) == {wallet(ANA): 100, "purchases": -70, "promotions": -30}


@pytest.mark.parametrize("full", [wallet(ANA), "purchases"])
def test_a_deposit_that_no_reader_could_hold_is_refused(full: str) -> None:
    books = funded(1)
    account = books.accounts[full]
    account.debits = account.credits = limits.COINS_MAX
    assert code(books, ask(deposit(1))) == "coins_overflow"


@pytest.mark.parametrize("full", [earnings(HOST), "house"])
def test_a_gift_that_would_overflow_a_receiver_is_refused(full: str) -> None:
    books = funded()
    books.accounts[full] = Account(limits.COINS_MAX, limits.COINS_MAX)
    assert code(books, gift()) == "coins_overflow"


# --- holds ---------------------------------------------------------------------------------------


def resolve(kind: Any, number: int, **more: Any) -> Any:
    return ask(kind(id=request_id(), data=asks.HoldTarget(request_id(number))), **more)


def test_held_coins_cannot_be_spent_and_go_where_they_were_held_for() -> None:
    books = funded(100)
    take(books, ask(hold(60, number=1, to="eva")))
    assert books.accounts[wallet(ANA)].spendable == 40
    assert code(books, gift(count=5)) == "insufficient_funds"
    [posted] = take(books, resolve(asks.HoldPost, 1))
    assert moved(posted) == [(wallet(ANA), earnings("eva"), 60, "hold")]
    assert books.accounts[wallet(ANA)].held == 0
    assert code(books, resolve(asks.HoldVoid, 1)) == "hold_posted"


def test_a_hold_for_nobody_is_the_houses() -> None:
    books = funded(100)
    take(books, ask(hold(60, number=1)))
    [posted] = take(books, resolve(asks.HoldPost, 1))
    assert moved(posted) == [(wallet(ANA), "house", 60, "hold")]


def test_a_voided_hold_frees_its_coins_once() -> None:
    books = funded(100)
    take(books, ask(hold(60, number=1)), resolve(asks.HoldVoid, 1))
    assert books.accounts[wallet(ANA)].spendable == 100
    assert code(books, resolve(asks.HoldPost, 1)) == "hold_voided"


def test_a_posted_hold_that_would_overflow_its_receiver_is_refused() -> None:
    books = funded(100)
    take(books, ask(hold(60, number=1)))
    books.accounts["house"] = Account(limits.COINS_MAX, limits.COINS_MAX)
    assert code(books, resolve(asks.HoldPost, 1)) == "coins_overflow"


def test_time_ends_the_holds_that_are_due_in_their_order_and_no_others() -> None:
    books = funded(100)
    for number, ttl_s in ((3, 20), (2, 10), (1, 20), (4, 30)):
        take(books, ask(hold(10, number=number, ttl_s=ttl_s)))
    [early] = take(books, passed(T0_US + 10 * S - 1))
    assert early.holds == ()
    [due] = take(books, passed(T0_US + 20 * S))
    assert [each.hold for each in due.holds] == [request_id(2), request_id(1), request_id(3)]
    assert {each.status for each in due.holds} == {"expired"}
    assert books.accounts[wallet(ANA)].spendable == 90
    assert take(books, passed(T0_US + 20 * S))[0].holds == ()


def test_it_does_not_matter_whether_the_timer_or_the_shop_comes_first() -> None:
    for timer in ([], [passed(T0_US + 10 * S)]):
        books = funded(100)
        take(books, ask(hold(10, number=1, ttl_s=10)), *timer)
        late = resolve(asks.HoldPost, 1, at_us=T0_US + 10 * S)
        assert code(books, late) == "hold_expired"


# --- reversals -----------------------------------------------------------------------------------


def test_a_reversal_gives_back_exactly_what_was_taken_once() -> None:
    books = funded(100)
    before = balances(books)
    take(books, gift(count=3, number=1))
    [back] = take(books, ask(reversal(request_id(1), number=2)))
    assert moved(back) == [
        (earnings(HOST), wallet(ANA), 13, "reversal"),
        ("house", wallet(ANA), 17, "reversal"),
    ]
    after = balances(books)
    assert {name: after[name] for name in before} == before
    assert after[earnings(HOST)] == after["house"] == 0
    assert books.settled[ANA, request_id(1)].reversed_by == back.entry
    assert code(books, ask(reversal(request_id(1), number=3))) == "gift_already_reversed"
    [again] = take(books, ask(reversal(request_id(1), number=2)))
    assert again.repeat_of is not None


def test_what_was_refused_cannot_be_reversed() -> None:
    books = funded(5)
    take(books, gift(number=1))
    assert code(books, ask(reversal(request_id(1)))) == "gift_not_found"


# --- catalogue -----------------------------------------------------------------------------------


def change(terms: GiftTerms, **more: Any) -> Any:
    request = asks.CatalogueChange(id=request_id(), data=terms)
    return ask(request, account=CATALOGUE_ACCOUNT, **{"role": "admin", **more})


def test_a_changed_price_is_a_new_version_and_the_same_price_is_none() -> None:
    books = Books(0)
    dear = msgspec.structs.replace(FOX.terms, coins=9)
    first, same, other = take(books, change(FOX.terms), change(FOX.terms), change(dear))
    assert first.catalogued is not None and first.catalogued.version == 1
    assert same.catalogued is None and same.settled is not None
    assert other.catalogued is not None and other.catalogued.version == 2
    assert books.catalogue["fox"].terms == dear


def test_an_announced_price_is_read_back_as_it_was() -> None:
    assert priced_of(catalogued(FOX, "admin")) == FOX
    assert host_share(FOX.terms, 7) == 3


# --- what the books must hold --------------------------------------------------------------------


def test_everything_a_decision_looks_at_is_wanted() -> None:
    target = asks.HoldTarget(request_id(5))
    want = wanted(
        [
            gift(number=1),
            resolve(asks.HoldPost, 5),
            ask(asks.HoldVoid(id=request_id(), data=target), account="bob"),
            ask(reversal(request_id(6), number=7)),
            ask(hold(to="eva")),
            change(FOX.terms),
            passed(T0_US),
            passed(T0_US - 1),
            ask(asks.BattleMark(id=request_id(), data=asks.MarkedBattle("b", 1, 8)), account=""),
        ]
    )
    assert {(ANA, request_id(1)), (ANA, request_id(7)), (ANA, request_id(6))} <= want.settled
    assert want.holds == {(ANA, request_id(5)), ("bob", request_id(5))}
    assert want.gifts == {"fox"}
    assert want.holds_due_us == T0_US
    known = {wallet(ANA), wallet("bob"), earnings(HOST), earnings("eva"), "house", "purchases"}
    assert known <= want.accounts


# --- what must never be --------------------------------------------------------------------------


def broken(books: Books, **decided: Any) -> str:
    with pytest.raises(BrokenInvariantError) as wrong:
        post(books, Decision(gift(), **decided))
    return str(wrong.value)


def test_books_that_would_be_wrong_are_not_written() -> None:
    books = funded(10)
    overdraft = Transfer(wallet(ANA), "house", 11, "gift")
    assert "overdrawn" in broken(books, entry=2, transfers=(overdraft,))
    for coins, credit in ((0, "house"), (-1, "house"), (1, wallet(ANA))):
        nothing = Transfer(wallet(ANA), credit, coins, "gift")
        assert "no transfer" in broken(funded(), entry=2, transfers=(nothing,))
    one = Transfer(wallet(ANA), "house", 1, "gift")
    assert "entry 7, expected 2" in broken(funded(), entry=7, transfers=(one,))


def test_a_credit_that_does_not_arrive_is_noticed() -> None:
    class Leaky(dict[str, Account]):
        """Loses what the house is credited with."""

        def setdefault(self, name: str, account: Account | None = None) -> Account:
            if name == "house":
                return Account()
            return super().setdefault(name, account or Account())

    books = funded()
    books.accounts = Leaky(books.accounts)
    with pytest.raises(BrokenInvariantError, match="10 coins debited, 4 credited"):
        take(books, gift())


def test_a_hold_is_resolved_once_and_never_holds_more_than_there_is() -> None:
    pending = Hold("h", ANA, "", 60, T0_US)
    books = funded(100)
    voided = msgspec.structs.replace(pending, status="voided")
    assert "resolved once" in broken(books, holds=(voided,))
    post(books, Decision(gift(), holds=(pending,)))
    assert "resolved once" in broken(books, holds=(pending,))
    more = msgspec.structs.replace(pending, hold="h2")
    assert "less than is held" in broken(books, holds=(more,))


def test_only_what_comes_from_outside_may_be_negative() -> None:
    negative, overheld = Account(debits=1), Account(credits=5, held=6)
    assert is_allowed("purchases", negative) and is_allowed("promotions", negative)
    for name in (wallet(ANA), earnings(HOST), "house"):
        assert not is_allowed(name, negative)
        assert not is_allowed(name, overheld)
        assert not is_allowed(name, Account(held=-1))


def test_the_outcome_of_a_request_is_kept_under_its_account_and_id() -> None:
    books = funded()
    tapped = gift(number=1)
    [decision] = take(books, tapped)
    assert key_of(tapped) == (ANA, request_id(1))
    kept = books.settled[key_of(tapped)]
    assert kept == decision.settled
    assert msgspec.json.decode(msgspec.json.encode(kept), type=Settled) == kept
