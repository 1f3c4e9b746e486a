"""Requests about money and a little book-keeping for tests of the ledger."""

from collections.abc import Sequence
from typing import Any

from engagement.domain import ledger_requests as asks
from engagement.domain import requests
from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.ledger import Books, Decision, decide, post
from engagement.domain.ledger_requests import MoneyAsked, MoneyEnvelope
from tests.unit.domain_parts import T0_US, request_id

ANA, HOST, ROOM = "ana", "hana", "room"
ROSE = PricedGift(1, GiftTerms("rose", "Rose", 10, host_share_percent=45))
FOX = PricedGift(3, GiftTerms("fox", "Fox", 7, tier=3, animation="leap", combo=False))
GONE = PricedGift(2, GiftTerms("gone", "Gone", 1, offered=False))
PRICES = [ROSE, FOX, GONE]


def ask(request: Any, account: str = ANA, **more: Any) -> MoneyAsked:
    """A request as a gateway wrote it: of a service, unless the account itself asks."""
    known = {"actor": "shop", "role": "service", "at_us": T0_US, **more}
    return MoneyAsked(account=account, request=request, **known)


def deposit(coins: int = 100, number: int = -1, source: Any = "purchase") -> asks.Deposit:
    return asks.Deposit(id=request_id(number), data=asks.DepositOrder(coins, source))


def hold(coins: int = 40, number: int = -1, ttl_s: int = 60, to: str = "") -> asks.HoldPlace:
    return asks.HoldPlace(id=request_id(number), data=asks.HoldOrder(coins, ttl_s, to))


def reversal(gift: str, number: int = -1) -> asks.GiftReverse:
    data = asks.ReversalOrder(gift=gift, reason="a mistake")
    return asks.GiftReverse(id=request_id(number), data=data)


def passed(at_us: int) -> MoneyAsked:
    moment = asks.TimePassed(id=request_id(), data=asks.Moment(at_us))
    return MoneyAsked("", "ledger", "service", at_us, moment)


def gift(
    name: str = "rose", count: int = 1, *, number: int = -1, terms: int | None = None, **more: Any
) -> MoneyAsked:
    """A viewer's tap, priced by the gateway."""
    known = {"account": ANA, "room": ROOM, "host": HOST, **more}
    order = requests.GiftOrder(gift=name, count=count)
    if "to" in known:
        order = requests.GiftOrder(gift=name, count=count, to=known.pop("to"))
    priced = [each.terms.gift for each in PRICES]
    index = priced.index(name) if terms is None and name in priced else terms
    if index is not None:
        known["terms"] = index
    request = requests.GiftSend(id=request_id(number), data=order)
    return ask(request, actor=known["account"], role="viewer", **known)


def take(books: Books, *asked: MoneyAsked) -> list[Decision]:
    """Decide and book."""
    decisions = []
    for each in asked:
        decision = decide(books, MoneyEnvelope("gw", [each], terms=PRICES), each)
        post(books, decision)
        decisions.append(decision)
    return decisions


def funded(coins: int = 100) -> Books:
    """Books in which ana has bought coins."""
    books = Books(3)
    take(books, ask(deposit(coins)))
    return books


def balances(books: Books) -> dict[str, int]:
    """Of every account that was ever touched."""
    return {name: account.balance for name, account in books.accounts.items()}


def moved(decision: Decision) -> Sequence[tuple[str, str, int, str]]:
    """Its transfers as tuples."""
    return [(each.debit, each.credit, each.coins, each.reason) for each in decision.transfers]
