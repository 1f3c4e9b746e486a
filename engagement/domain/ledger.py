"""The ledger: double entry in integer coins, decided once, by a pure function of the log.

One partition's books have one owner at a time, who takes the requests of `live.gift-requests.v1`
in order: `decide` says what follows from a request, `post` books it. Ids never expire: the same
request again gets the stored outcome, another one under the same id is `id_reused`, and what was
refused stays refused. An account that several partitions credit (a host's earnings, the house) has
a sub-account in each of them, so no two owners ever write the same row.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct, field

from engagement.domain import ledger_requests as asks
from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms, PricedGift, host_share
from engagement.domain.ledger_events import TransferReason
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT, MoneyAsked, MoneyEnvelope
from engagement.domain.requests import GiftSend

HOUSE: Final = "house"
PURCHASES: Final = "purchases"
PROMOTIONS: Final = "promotions"

SettledStatus = Literal["paid", "done", "refused"]
HoldStatus = Literal["pending", "posted", "voided", "expired"]


def wallet(user: str) -> str:
    """The account of a user's spendable coins."""
    return "wallet:" + user


def earnings(host: str) -> str:
    """The account of what a host has earned."""
    return "earnings:" + host


class BrokenInvariantError(Exception):
    """The books are wrong: whoever sees this must stop, and loudly."""


class Account(Struct):
    """What was ever debited and credited; nothing is subtracted from either."""

    debits: int = 0
    credits: int = 0
    held: int = 0
    """Coins that pending holds set aside."""

    @property
    def balance(self) -> int:
        """Credits less debits; what comes from outside (`purchases`, `promotions`) is negative."""
        return self.credits - self.debits

    @property
    def spendable(self) -> int:
        """What may be debited now."""
        return self.balance - self.held


class Transfer(Struct, frozen=True):
    """One line of an entry."""

    debit: str
    credit: str
    coins: int
    reason: TransferReason


class Payment(Struct, frozen=True):
    """What a paid gift moved: kept with its outcome, so that it can be reversed."""

    room: str
    to: str
    gift: str
    count: int
    unit_price: int
    coins: int
    earned: int


class Hold(Struct, frozen=True):
    """Coins set aside."""

    hold: str
    """The id of the request that placed it."""
    account: str
    """The user."""
    to: str
    coins: int
    expires_us: int
    status: HoldStatus = "pending"


class Settled(Struct, frozen=True):
    """What became of a request, for ever."""

    fingerprint: bytes
    """Of its canonical body: the same id with another one is another request."""
    status: SettledStatus
    at_us: int
    code: str = ""
    """Why it was refused."""
    entry: int = 0
    """The ledger entry that it made; 0 when it made none."""
    payment: Payment | None = None
    reversed_by: int = 0
    """The entry that reversed it."""


RequestKey = tuple[str, str]
"""Account and request id: the scope in which an id is unique."""


class Books(Struct):
    """As much of a partition's ledger as the requests in hand need."""

    partition: int
    next_entry: int = 1
    accounts: dict[str, Account] = field(default_factory=dict)
    settled: dict[RequestKey, Settled] = field(default_factory=dict)
    holds: dict[RequestKey, Hold] = field(default_factory=dict)
    catalogue: dict[str, PricedGift] = field(default_factory=dict)
    """Only in the partition that decides about it."""


class Wanted(Struct):
    """What has to be in the books before these requests can be decided; with each hold the
    accounts on both sides, and with each payment the one that earned it."""

    accounts: set[str] = field(default_factory=set)
    settled: set[RequestKey] = field(default_factory=set)
    holds: set[RequestKey] = field(default_factory=set)
    holds_due_us: int = 0
    """All pending holds that end by then, and their accounts."""
    gifts: set[str] = field(default_factory=set)


class Decision(Struct, frozen=True):
    """What follows from one request. `post` books it; `ledger_telling` tells it."""

    asked: MoneyAsked
    settled: Settled | None = None
    """To be stored under the request's key; None when nothing is (a repeat, an internal one)."""
    repeat_of: Settled | None = None
    """The stored outcome of a repeat."""
    code: str = ""
    """Why nothing was done; empty when something was."""
    entry: int = 0
    transfers: tuple[Transfer, ...] = ()
    payment: Payment | None = None
    terms: GiftTerms | None = None
    holds: tuple[Hold, ...] = ()
    """Holds as they are afterwards."""
    reverses: tuple[RequestKey, Settled] | None = None
    """The gift that was taken back, as it is afterwards."""
    catalogued: PricedGift | None = None


class _RefusedError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Changed(Struct, frozen=True):
    """Books of a partition, with the decisions that were posted to them."""

    books: Books
    loaded: frozenset[str]
    """The accounts that were in the books before."""
    decisions: list[Decision]


def key_of(asked: MoneyAsked) -> RequestKey:
    """The scope of a request's id."""
    return asked.account, asked.request.id


def fingerprint(asked: MoneyAsked) -> bytes:
    """Of what the client asked: not of when, nor of what the gateway added."""
    request = asked.request
    body = (str(request.__struct_config__.tag), asked.room, request.data)
    return hashlib.blake2b(
        msgspec.json.encode(body, order="deterministic"), digest_size=16
    ).digest()


def wanted(requests: Iterable[MoneyAsked]) -> Wanted:
    """Everything that deciding these may look at."""
    want = Wanted()
    for asked in requests:
        request = asked.request
        if isinstance(request, asks.TimePassed):
            want.holds_due_us = max(want.holds_due_us, request.data.at_us)
            continue
        if isinstance(request, asks.BattleMark):
            continue
        want.settled.add(key_of(asked))
        want.accounts.update((wallet(asked.account), HOUSE, PURCHASES, PROMOTIONS))
        if asked.host:
            want.accounts.add(earnings(asked.host))
        if isinstance(request, asks.HoldPost | asks.HoldVoid):
            want.holds.add((asked.account, request.data.hold))
        elif isinstance(request, asks.GiftReverse):
            want.settled.add((asked.account, request.data.gift))
        elif isinstance(request, asks.HoldPlace):
            want.accounts.add(earnings(request.data.to))
        elif isinstance(request, asks.CatalogueChange):
            want.gifts.add(request.data.gift)
    return want


def decide(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    """What follows from a request. Changes nothing; raises nothing that a request can cause."""
    request = asked.request
    if isinstance(request, asks.TimePassed):
        return Decision(asked, holds=_expired(books, request.data.at_us))
    if isinstance(request, asks.BattleMark):
        return Decision(asked)
    mark = fingerprint(asked)
    known = books.settled.get(key_of(asked))
    if known is not None:
        if known.fingerprint != mark:
            return Decision(asked, code="id_reused")
        return Decision(asked, repeat_of=known)
    try:
        decided = _DECISIONS[type(request)](books, envelope, asked)
    except _RefusedError as refusal:
        settled = Settled(mark, "refused", asked.at_us, refusal.code)
        return Decision(asked, settled, code=refusal.code)
    paid = decided.payment is not None and decided.reverses is None
    settled = Settled(
        mark, "paid" if paid else "done", asked.at_us, entry=decided.entry,
        payment=decided.payment if paid else None,
    )  # fmt: skip
    return msgspec.structs.replace(decided, settled=settled)


def post(books: Books, decision: Decision) -> None:
    """Book a decision. Raises BrokenInvariantError, having changed the books: throw them away."""
    for hold in decision.holds:
        _post_hold(books, hold)
    names = {name for each in decision.transfers for name in (each.debit, each.credit)}
    debits, credits = _sides(books, names)
    for transfer in decision.transfers:
        if transfer.coins <= 0 or transfer.debit == transfer.credit:
            raise BrokenInvariantError(f"no transfer: {transfer}")
        _account(books, transfer.debit).debits += transfer.coins
        _account(books, transfer.credit).credits += transfer.coins
        if not is_allowed(transfer.debit, books.accounts[transfer.debit]):
            raise BrokenInvariantError(f"{transfer.debit} would be overdrawn by {transfer}")
    debits_now, credits_now = _sides(books, names)
    if debits_now - debits != credits_now - credits:
        raise BrokenInvariantError(
            f"{debits_now - debits} coins debited, {credits_now - credits} credited"
        )
    if decision.entry:
        if decision.entry != books.next_entry:
            raise BrokenInvariantError(f"entry {decision.entry}, expected {books.next_entry}")
        books.next_entry += 1
    if decision.settled is not None:
        books.settled[key_of(decision.asked)] = decision.settled
    if decision.reverses is not None:
        key, after = decision.reverses
        books.settled[key] = after
    if decision.catalogued is not None:
        books.catalogue[decision.catalogued.terms.gift] = decision.catalogued


def is_allowed(name: str, account: Account) -> bool:
    """Whether an account may be as it is: only what comes from outside may be negative."""
    return name in (PURCHASES, PROMOTIONS) or account.spendable >= 0 <= account.held


def _sides(books: Books, names: Iterable[str]) -> tuple[int, int]:
    """Σ debits and Σ credits of some accounts, as the books have them."""
    accounts = [books.accounts.get(name, _NOTHING) for name in names]
    return sum(each.debits for each in accounts), sum(each.credits for each in accounts)


def _account(books: Books, name: str) -> Account:
    return books.accounts.setdefault(name, Account())


def _post_hold(books: Books, hold: Hold) -> None:
    key = (hold.account, hold.hold)
    before = books.holds.get(key)
    account = _account(books, wallet(hold.account))
    if before is None and hold.status == "pending":
        account.held += hold.coins
    elif before is not None and before.status == "pending" and hold.status != "pending":
        account.held -= hold.coins
    else:
        raise BrokenInvariantError(f"a hold is resolved once: {before} to {hold}")
    books.holds[key] = hold
    if not is_allowed(wallet(hold.account), account) and hold.status != "posted":
        raise BrokenInvariantError(f"{hold.account} has less than is held: {hold}")


def _send(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    order: Any = asked.request.data
    if asked.terms is UNSET:
        raise _RefusedError("unknown_gift")
    terms = envelope.terms[asked.terms].terms
    if terms.gift != order.gift or not terms.offered:
        raise _RefusedError("unknown_gift")
    if order.to is not UNSET and order.to != asked.host:
        raise _RefusedError("unknown_recipient")
    if asked.account == asked.host:
        raise _RefusedError("self_gift")
    coins = terms.coins * order.count
    payer = wallet(asked.account)
    if coins > books.accounts.get(payer, _NOTHING).spendable:
        raise _RefusedError("insufficient_funds")
    earned = host_share(terms, coins)
    transfers: list[Transfer] = []
    for credit, share, reason in (
        (earnings(asked.host), earned, "gift"),
        (HOUSE, coins - earned, "house_share"),
    ):
        if share:
            transfers.append(Transfer(payer, credit, share, reason))  # type: ignore[arg-type]
            _check_room_for(books, credit, share)
    payment = Payment(asked.room, asked.host, terms.gift, order.count, terms.coins, coins, earned)
    return Decision(
        asked, entry=books.next_entry, transfers=tuple(transfers), payment=payment, terms=terms
    )


def _deposit(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    _check_role(asked, "service", "admin")
    order: Any = asked.request.data
    source = PURCHASES if order.source == "purchase" else PROMOTIONS
    credit = wallet(asked.account)
    _check_room_for(books, credit, order.coins)
    _check_room_for(books, source, order.coins)
    return Decision(
        asked,
        entry=books.next_entry,
        transfers=(Transfer(source, credit, order.coins, order.source),),
    )


def _hold(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    _check_role(asked, "service", "admin")
    order: Any = asked.request.data
    if order.to == asked.account:
        raise _RefusedError("self_transfer")
    if order.coins > books.accounts.get(wallet(asked.account), _NOTHING).spendable:
        raise _RefusedError("insufficient_funds")
    expires_us = asked.at_us + order.ttl_s * 1_000_000
    hold = Hold(asked.request.id, asked.account, order.to, order.coins, expires_us)
    return Decision(asked, holds=(hold,))


def _post_held(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    hold = _pending(books, asked)
    # The money of a hold stays in this partition: a sub-account of the receiver is credited.
    credit = earnings(hold.to) if hold.to else HOUSE
    _check_room_for(books, credit, hold.coins)
    return Decision(
        asked,
        entry=books.next_entry,
        transfers=(Transfer(wallet(hold.account), credit, hold.coins, "hold"),),
        holds=(msgspec.structs.replace(hold, status="posted"),),
    )


def _void(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    hold = _pending(books, asked)
    return Decision(asked, holds=(msgspec.structs.replace(hold, status="voided"),))


def _pending(books: Books, asked: MoneyAsked) -> Hold:
    _check_role(asked, "service", "admin")
    target: Any = asked.request.data
    hold = books.holds.get((asked.account, target.hold))
    if hold is None:
        raise _RefusedError("hold_not_found")
    if hold.status != "pending":
        raise _RefusedError(f"hold_{hold.status}")
    if asked.at_us >= hold.expires_us:
        # Its timer is on the way; it must not matter which of the two comes first.
        raise _RefusedError("hold_expired")
    return hold


def _expired(books: Books, now_us: int) -> tuple[Hold, ...]:
    due = [
        hold
        for hold in books.holds.values()
        if hold.status == "pending" and hold.expires_us <= now_us
    ]
    due.sort(key=lambda hold: (hold.expires_us, hold.account, hold.hold))
    return tuple(msgspec.structs.replace(hold, status="expired") for hold in due)


def _reverse(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    _check_role(asked, "service", "admin")
    target: Any = asked.request.data
    key = (asked.account, target.gift)
    gift = books.settled.get(key)
    if gift is None or gift.payment is None:
        raise _RefusedError("gift_not_found")
    if gift.reversed_by:
        raise _RefusedError("gift_already_reversed")
    payment, payer = gift.payment, wallet(asked.account)
    _check_room_for(books, payer, payment.coins)
    shares = ((earnings(payment.to), payment.earned), (HOUSE, payment.coins - payment.earned))
    return Decision(
        asked,
        entry=books.next_entry,
        transfers=tuple(
            Transfer(debit, payer, share, "reversal") for debit, share in shares if share
        ),
        payment=payment,
        reverses=(key, msgspec.structs.replace(gift, reversed_by=books.next_entry)),
    )


def _change_catalogue(books: Books, envelope: MoneyEnvelope, asked: MoneyAsked) -> Decision:
    _check_role(asked, "admin", "service")
    if asked.account != CATALOGUE_ACCOUNT:
        raise _RefusedError("forbidden")
    terms: Any = asked.request.data
    before = books.catalogue.get(terms.gift)
    if before is not None and before.terms == terms:
        return Decision(asked)
    version = 1 if before is None else before.version + 1
    return Decision(asked, catalogued=PricedGift(version, terms))


def _check_role(asked: MoneyAsked, *roles: str) -> None:
    if asked.role not in roles:
        raise _RefusedError("forbidden")


def _check_room_for(books: Books, name: str, coins: int) -> None:
    """Neither side of an account may outgrow what JSON readers can hold."""
    account = books.accounts.get(name, _NOTHING)
    if max(account.credits, account.debits) + coins > limits.COINS_MAX:
        raise _RefusedError("coins_overflow")


_NOTHING: Final = Account()

_DECISIONS: Final[dict[type, Callable[[Books, MoneyEnvelope, MoneyAsked], Decision]]] = {
    GiftSend: _send,
    asks.Deposit: _deposit,
    asks.HoldPlace: _hold,
    asks.HoldPost: _post_held,
    asks.HoldVoid: _void,
    asks.GiftReverse: _reverse,
    asks.CatalogueChange: _change_catalogue,
}
