"""The auditor's own ledger: what every request must have come to, by the order of the log."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.auditor import Evidence, read_facts

REQUESTS = "live.gift-requests.v1"
TOLD = "live.ledger.v1"
LATE_US = 3_000_000
"""So much later than its time a hold may end, on a process whose clock is right."""
Line = tuple[str, str, int, str]
"""Debit, credit, coins, reason."""


@dataclass
class Paid:
    """A gift that was paid."""

    account: str
    id: str
    room: str
    to: str
    gift: str
    count: int
    price: int
    coins: int
    earned: int
    at_us: int
    ledger: int
    entry: int
    offset: int
    """Of its request."""
    landed_us: int
    """When the broker took that."""
    reversed_by: int = 0

    @property
    def transfer(self) -> str:
        return f"{self.ledger}-{self.entry}"


@dataclass
class Outcome:
    """What became of a request for ever."""

    body: str
    status: str
    code: str = ""
    entry: int = 0
    paid: Paid | None = None


@dataclass
class Held:
    """Coins set aside."""

    to: str
    coins: int
    end_us: int
    status: str = "pending"


@dataclass
class Book:
    """One partition."""

    number: int
    sums: dict[str, list[int]] = field(default_factory=dict)
    """Account → debits, credits, held."""
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    holds: dict[tuple[str, str], Held] = field(default_factory=dict)
    catalogue: dict[str, tuple[int, Any]] = field(default_factory=dict)
    entries: int = 0
    told: list[tuple[Any, ...]] = field(default_factory=list)
    """What the ledger tells, in order."""
    paid: list[Paid] = field(default_factory=list)
    taken_back: list[tuple[str, Paid]] = field(default_factory=list)
    """Request that did it, and the gift."""
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Gifts: room, account, id, code."""
    marks: dict[str, int] = field(default_factory=dict)
    """Battle → the offset of its first barrier."""

    def sum(self, name: str) -> list[int]:
        return self.sums.setdefault(name, [0, 0, 0])

    def spendable(self, name: str) -> int:
        debits, credits, held = self.sum(name)
        return credits - debits - held


class _No(Exception):
    """A request is refused."""


def replay(evidence: Evidence) -> list[Book]:
    """Decide everything again."""
    rubbish = {(each["topic"], each["partition"], each["offset"]) for each in evidence.rubbish}
    books = []
    for number in range(evidence.partitions):
        book = Book(number)
        for record in evidence.records(REQUESTS, number):
            is_rubbish = (REQUESTS, number, record.offset) in rubbish
            for ask, terms in _asks(record.value, is_rubbish):
                if is_rubbish and not _can_be_decided(ask, evidence.homes, number):
                    continue
                _decide(book, ask, terms, record.offset, record.time_us)
        books.append(book)
    return books


def _asks(value: bytes, is_rubbish: bool) -> list[tuple[Any, Any]]:
    try:
        envelope = json.loads(value)
        return [(ask, envelope.get("terms", [])) for ask in envelope["asks"]]
    except (ValueError, KeyError, TypeError):
        assert is_rubbish, value
        return []


def _can_be_decided(ask: Any, homes: dict[str, int], number: int) -> bool:
    return homes[ask["account"]] == number and ask["request"]["data"]["coins"] > 0


def _decide(book: Book, ask: Any, terms: list[Any], offset: int, landed_us: int) -> None:
    request = ask["request"]
    kind, data = request["type"], request["data"]
    if kind == "battle.mark":
        book.marks.setdefault(data["battle"], offset)
        return
    if kind == "ledger.time_passed":
        _end_holds(book, data["at_us"])
        return
    key = (ask["account"], request["id"])
    body = json.dumps([kind, ask.get("room", ""), data], sort_keys=True)
    known = book.outcomes.get(key)
    if known is not None:
        if known.body != body:
            _refuse(book, ask, "id_reused", body)
        return
    try:
        outcome = _DO[kind](book, ask, terms)
    except _No as no:
        outcome = Outcome(body, "refused", str(no))
        _refuse(book, ask, str(no), body)
    outcome.body = body
    book.outcomes[key] = outcome
    if outcome.paid is not None:
        outcome.paid.offset, outcome.paid.landed_us = offset, landed_us
        book.paid.append(outcome.paid)


def _refuse(book: Book, ask: Any, code: str, body: str) -> None:
    """The same refusal is told once."""
    request, account = ask["request"], ask["account"]
    if request["type"] == "gift.send":
        data = request["data"]
        room, count = ask.get("room", ""), data.get("count", 1)
        told: tuple[Any, ...] = (
            "gift.refused", account, request["id"], data["gift"], count, code, room
        )  # fmt: skip
        refused = (room, account, request["id"], code)
        if refused not in book.refused:
            book.refused.append(refused)
    else:
        told = ("transfer.refused", account, request["id"], request["type"], code)
    if told not in book.told:
        book.told.append(told)


def _move(book: Book, ask: Any, lines: list[Line]) -> int:
    book.entries += 1
    lines = [line for line in lines if line[2]]
    for number, (debit, credit, coins, reason) in enumerate(lines, 1):
        book.sum(debit)[0] += coins
        book.sum(credit)[1] += coins
        name = f"{book.number}-{book.entries}.{number}"
        book.told.append(
            ("transfer.posted", ask["account"], name, debit, credit, coins, ask["request"]["id"],
             reason)
        )  # fmt: skip
    return book.entries


def _gift(book: Book, ask: Any, terms: list[Any]) -> Outcome:
    data, payer = ask["request"]["data"], "wallet:" + ask["account"]
    if "terms" not in ask:
        raise _No("unknown_gift")
    offer = terms[ask["terms"]]["terms"]
    if data.get("to", ask["host"]) != ask["host"]:
        raise _No("unknown_recipient")
    if ask["account"] == ask["host"]:
        raise _No("self_gift")
    count = data.get("count", 1)
    coins = offer["coins"] * count
    if coins > book.spendable(payer):
        raise _No("insufficient_funds")
    earned = (
        coins * offer["host_share_percent"] - coins * offer["host_share_percent"] % 100
    ) // 100
    entry = _move(
        book, ask,
        [(payer, "earnings:" + ask["host"], earned, "gift"),
         (payer, "house", coins - earned, "house_share")],
    )  # fmt: skip
    paid = Paid(
        ask["account"], ask["request"]["id"], ask["room"], ask["host"], data["gift"], count,
        offer["coins"], coins, earned, ask["at_us"], book.number, entry, 0, 0,
    )  # fmt: skip
    return Outcome("", "paid", entry=entry, paid=paid)


def _deposit(book: Book, ask: Any, terms: list[Any]) -> Outcome:
    data = ask["request"]["data"]
    source = {"purchase": "purchases", "promotion": "promotions"}[data["source"]]
    line = (source, "wallet:" + ask["account"], data["coins"], data["source"])
    return Outcome("", "done", entry=_move(book, ask, [line]))


def _place(book: Book, ask: Any, terms: list[Any]) -> Outcome:
    account, data = ask["account"], ask["request"]["data"]
    if data["to"] == account:
        raise _No("self_transfer")
    if data["coins"] > book.spendable("wallet:" + account):
        raise _No("insufficient_funds")
    end_us = ask["at_us"] + data["ttl_s"] * 1_000_000
    book.holds[account, ask["request"]["id"]] = Held(data["to"], data["coins"], end_us)
    book.sum("wallet:" + account)[2] += data["coins"]
    book.told.append(("hold.placed", account, ask["request"]["id"], data["to"], data["coins"]))
    return Outcome("", "done")


def _resolve(book: Book, account: str, hold: str, status: str) -> None:
    held = book.holds[account, hold]
    held.status = status
    book.sum("wallet:" + account)[2] -= held.coins
    book.told.append(("hold.resolved", account, hold, held.coins, status))


def _pending(book: Book, ask: Any) -> Held:
    held = book.holds.get((ask["account"], ask["request"]["data"]["hold"]))
    if held is None:
        raise _No("hold_not_found")
    if held.status != "pending":
        raise _No("hold_" + held.status)
    if ask["at_us"] >= held.end_us:
        raise _No("hold_expired")
    return held


def _post(book: Book, ask: Any, terms: list[Any]) -> Outcome:
    held = _pending(book, ask)
    credit = "earnings:" + held.to if held.to else "house"
    entry = _move(book, ask, [("wallet:" + ask["account"], credit, held.coins, "hold")])
    _resolve(book, ask["account"], ask["request"]["data"]["hold"], "posted")
    return Outcome("", "done", entry=entry)


def _void(book: Book, ask: Any, terms: list[Any]) -> Outcome:
    _pending(book, ask)
    _resolve(book, ask["account"], ask["request"]["data"]["hold"], "voided")
    return Outcome("", "done")


def _end_holds(book: Book, now_us: int) -> None:
    due = [
        (held.end_us, *key)
        for key, held in book.holds.items()
        if held.status == "pending" and held.end_us <= now_us
    ]
    for _, account, hold in sorted(due):
        _resolve(book, account, hold, "expired")


def _take_back(book: Book, ask: Any, terms: list[Any]) -> Outcome:
    known = book.outcomes.get((ask["account"], ask["request"]["data"]["gift"]))
    if known is None or known.paid is None:
        raise _No("gift_not_found")
    paid = known.paid
    if paid.reversed_by:
        raise _No("gift_already_reversed")
    payer = "wallet:" + ask["account"]
    lines = [
        ("earnings:" + paid.to, payer, paid.earned, "reversal"),
        ("house", payer, paid.coins - paid.earned, "reversal"),
    ]
    paid.reversed_by = _move(book, ask, lines)
    book.taken_back.append((ask["request"]["id"], paid))
    return Outcome("", "done", entry=paid.reversed_by)


def _price(book: Book, ask: Any, terms: list[Any]) -> Outcome:
    offer = ask["request"]["data"]
    version, before = book.catalogue.get(offer["gift"], (0, None))
    if before != offer:
        book.catalogue[offer["gift"]] = (version + 1, offer)
    return Outcome("", "done")


_DO = {
    "gift.send": _gift,
    "wallet.deposit": _deposit,
    "hold.place": _place,
    "hold.post": _post,
    "hold.void": _void,
    "gift.reverse": _take_back,
    "catalogue.change": _price,
}


# --- against what is there -----------------------------------------------------------------------


def compare(evidence: Evidence, books: list[Book]) -> None:
    """The tables and the topic of the ledger against the auditor's books."""
    for book in books:
        _compare_tables(evidence, book)
        _compare_told(evidence, book)
    _compare_catalogue(evidence, books)
    _compare_acts(evidence, books)
    _compare_sums(evidence, books)


def _compare_tables(evidence: Evidence, book: Book) -> None:
    kept = {
        name: list(row)
        for (partition, name), row in evidence.tables.get("accounts", {}).items()
        if partition == book.number
    }
    for name in sorted(kept.keys() | book.sums.keys()):
        ours, theirs = book.sums.get(name, [0, 0, 0]), kept.get(name, [0, 0, 0])
        if ours != theirs:
            evidence.complain(f"{name} in {book.number} is {theirs}, must be {ours}")
    outcomes = {
        key: json.loads(row[2])
        for key, row in evidence.tables.get("requests", {}).items()
        if row[0] == book.number
    }
    for key in sorted(outcomes.keys() | book.outcomes.keys()):
        mine, their = book.outcomes.get(key), outcomes.get(key)
        if (
            mine is None
            or their is None
            or (mine.status, mine.code, mine.entry)
            != (their["status"], their["code"], their["entry"])
        ):
            evidence.complain(f"the outcome of {key} is {their}, must be {mine}")
    holds = evidence.tables.get("holds", {})
    for key in {key for key, row in holds.items() if row[0] == book.number} | book.holds.keys():
        held = book.holds.get(key)
        status = None if held is None else held.status
        if key not in holds or holds[key][4] != status:
            evidence.complain(f"hold {key} is {holds.get(key)}, must be {status}")
        if (
            held is not None
            and held.status == "pending"
            and held.end_us < evidence.end_us - LATE_US
        ):
            evidence.complain(f"hold {key} has run out and never ends: {held}")


def _compare_told(evidence: Evidence, book: Book) -> None:
    """The first of each id, in order, must be what the auditor would have told, in order."""
    told = [_told_of(fact) for fact in read_facts(evidence, TOLD, book.number)]
    if told == book.told:
        return
    lost, made_up = Counter(book.told) - Counter(told), Counter(told) - Counter(book.told)
    for each in lost:
        evidence.complain(f"the ledger has not told {each}")
    for each in made_up:
        evidence.complain(f"the ledger has told {each}")
    if not lost and not made_up:
        first = next(pair for pair in zip(told, book.told, strict=True) if pair[0] != pair[1])
        evidence.complain(f"told out of order: {first[0]} where {first[1]} comes first")


def _told_of(fact: Any) -> tuple[Any, ...]:
    data = fact.data
    fields = {
        "transfer.posted": ("transfer", "debit", "credit", "coins", "request", "reason"),
        "transfer.refused": ("request", "request_type", "code"),
        "gift.refused": ("request", "gift", "count", "code", "room"),
        "hold.placed": ("hold", "to", "coins"),
        "hold.resolved": ("hold", "coins", "outcome"),
    }[fact.type]
    return (fact.type, fact.about, *(data[name] for name in fields))


def _compare_catalogue(evidence: Evidence, books: list[Book]) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    for number in range(evidence.partitions):
        for fact in read_facts(evidence, "live.catalogue.v1", number):
            told.setdefault(fact.about, []).append((fact.data["version"], fact.data["coins"]))
    for book in books:
        for gift, (version, offer) in book.catalogue.items():
            versions = [number for number, _ in told.get(gift, [])]
            if versions != list(range(1, version + 1)) or told[gift][-1][1] != offer["coins"]:
                evidence.complain(f"{gift} is told as {told.get(gift)}, must be {version}: {offer}")


def _compare_acts(evidence: Evidence, books: list[Book]) -> None:
    """What was acknowledged has an outcome."""
    known = {key for book in books for key in book.outcomes}
    for act in evidence.acts:
        key = (act["account"], act["id"])
        if act["account"] and act["acknowledged"] and key not in known:
            evidence.complain(f"acknowledged, and not on the log: {act}")


def _compare_sums(evidence: Evidence, books: list[Book]) -> None:
    """Debits = gifts = earnings and house, over everything, by the tables alone."""
    rows = evidence.tables.get("accounts", {})
    total = {name: [0, 0] for _, name in rows}
    for (_, name), (debits, credits, _) in rows.items():
        total[name][0] += debits
        total[name][1] += credits
    paid = sum(gift.coins for book in books for gift in book.paid)
    earned = sum(gift.earned for book in books for gift in book.paid)
    posted = sum(
        held.coins for book in books for held in book.holds.values() if held.status == "posted"
    )
    spent = sum(sides[0] for name, sides in total.items() if name.startswith("wallet:"))
    got = sum(sides[1] for name, sides in total.items() if name.startswith("earnings:"))
    house = total.get("house", [0, 0])[1]
    if spent != paid + posted or got + house != spent:
        evidence.complain(f"spent {spent}, paid {paid} + {posted}, got {got} + {house}")
    if got < earned:
        evidence.complain(f"hosts have {got}, have earned {earned}")
