"""Loading the part of a partition's books that some requests need, and saving what changed."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.ledger import (
    Account,
    Books,
    BrokenInvariantError,
    Decision,
    Hold,
    RequestKey,
    Settled,
    Wanted,
    earnings,
    key_of,
    wallet,
)

_OPEN: Final = """
    INSERT INTO ledger_totals ("partition", next_entry, debits, credits) VALUES ($1, 1, 0, 0)
    ON CONFLICT DO NOTHING
"""
_NEXT_ENTRY: Final = """SELECT next_entry FROM ledger_totals WHERE "partition" = $1"""
_ACCOUNTS: Final = """
    SELECT account, debits, credits, held FROM ledger_accounts
    WHERE "partition" = $1 AND account = ANY($2)
"""
_SETTLED: Final = """
    SELECT known.account, known.request, fingerprint, outcome FROM ledger_requests AS known
    JOIN unnest($1::text[], $2::text[]) AS asked(account, request) USING (account, request)
"""
_HOLDS: Final = """
    SELECT known.account, known.hold, to_account, coins, expires_us, status
    FROM ledger_holds AS known
    JOIN unnest($1::text[], $2::text[]) AS asked(account, hold) USING (account, hold)
"""
_DUE_HOLDS: Final = """
    SELECT account, hold, to_account, coins, expires_us, status FROM ledger_holds
    WHERE "partition" = $1 AND status = 'pending' AND expires_us <= $2
"""
_NEXT_HOLD: Final = """
    SELECT min(expires_us) FROM ledger_holds WHERE "partition" = $1 AND status = 'pending'
"""
_BATTLES: Final = """SELECT room, battle FROM battle_rooms WHERE room = ANY($1)"""
_CATALOGUE: Final = """SELECT gift, version, terms FROM ledger_catalogue WHERE gift = ANY($1)"""

_SAVE_ACCOUNTS: Final = """
    WITH given AS (
        SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS row(account, debits, credits, held)
    ), gained AS (
        SELECT sum(given.debits - coalesce(known.debits, 0)) AS debits,
               sum(given.credits - coalesce(known.credits, 0)) AS credits
        FROM given LEFT JOIN ledger_accounts AS known
          ON known."partition" = $1 AND known.account = given.account
    ), totalled AS (
        UPDATE ledger_totals AS total
        SET debits = total.debits + gained.debits, credits = total.credits + gained.credits,
            next_entry = $6
        FROM gained WHERE total."partition" = $1
    )
    INSERT INTO ledger_accounts ("partition", account, debits, credits, held)
    SELECT $1, account, debits, credits, held FROM given
    ON CONFLICT ("partition", account) DO UPDATE
    SET debits = excluded.debits, credits = excluded.credits, held = excluded.held
"""
_SAVE_SETTLED: Final = """
    INSERT INTO ledger_requests ("partition", account, request, fingerprint, outcome)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[])
    ON CONFLICT (account, request) DO UPDATE SET outcome = excluded.outcome
    WHERE ledger_requests.fingerprint = excluded.fingerprint
"""
_SAVE_TRANSFERS: Final = """
    INSERT INTO ledger_transfers
        ("partition", entry, line, debit, credit, coins, reason, account, request)
    SELECT $1, * FROM unnest($2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bigint[],
                             $7::text[], $8::text[], $9::text[])
"""
_SAVE_HOLDS: Final = """
    INSERT INTO ledger_holds ("partition", account, hold, to_account, coins, expires_us, status)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                             $7::text[])
    ON CONFLICT (account, hold) DO UPDATE SET status = excluded.status
    WHERE ledger_holds.status = 'pending'
"""
_SAVE_CATALOGUE: Final = """
    INSERT INTO ledger_catalogue (gift, version, terms) VALUES ($1, $2, $3)
    ON CONFLICT (gift) DO UPDATE SET version = excluded.version, terms = excluded.terms
"""

_OUTCOMES: Final = msgspec.json.Decoder(Settled)
_TERMS: Final = msgspec.json.Decoder(GiftTerms)


async def load(connection: Any, partition: int, want: Wanted) -> Books:
    """The books as far as these requests need them. `connection` is in the transaction."""
    next_entry = await connection.fetchval(_NEXT_ENTRY, partition)
    if next_entry is None:
        await connection.execute(_OPEN, partition)
        next_entry = 1
    books = Books(partition, next_entry)
    await _load_settled(connection, books, want.settled)
    if want.holds:
        accounts, holds = zip(*want.holds, strict=True)
        _take_holds(books, await connection.fetch(_HOLDS, accounts, holds))
    if want.holds_due_us:
        _take_holds(books, await connection.fetch(_DUE_HOLDS, partition, want.holds_due_us))
    names = set(want.accounts)
    for hold in books.holds.values():
        names |= {wallet(hold.account), earnings(hold.to)}
    for settled in books.settled.values():
        if settled.payment is not None:
            names.add(earnings(settled.payment.to))
    await _load_accounts(connection, books, names)
    if want.gifts:
        for row in await connection.fetch(_CATALOGUE, list(want.gifts)):
            books.catalogue[row["gift"]] = PricedGift(row["version"], _TERMS.decode(row["terms"]))
    return books


async def battles_of(connection: Any, rooms: Iterable[str]) -> dict[str, str]:
    """Which battle has taken each of these rooms, committed."""
    wanted = list(rooms)
    if not wanted:
        return {}
    return {row["room"]: row["battle"] for row in await connection.fetch(_BATTLES, wanted)}


async def next_hold_us(connection: Any, partition: int) -> int | None:
    """When the next pending hold of a partition ends; None when none is pending."""
    found: int | None = await connection.fetchval(_NEXT_HOLD, partition)
    return found


async def save(
    connection: Any, books: Books, loaded: frozenset[str], decisions: Sequence[Decision]
) -> None:
    """Write what the decisions, which are in the books, have changed.

    `loaded`: the accounts that were in the books before. Raises BrokenInvariantError when another
    one has changed: its row would be overwritten with what is not known.
    """
    unknown = touched_accounts(decisions) - loaded
    if unknown:
        raise BrokenInvariantError(f"changed without being loaded: {sorted(unknown)[:5]}")
    await _save_accounts(connection, books, decisions)
    await _save_settled(connection, books, decisions)
    await _save_transfers(connection, books.partition, decisions)
    await _save_holds(connection, books, decisions)
    for decision in decisions:
        if decision.catalogued is not None:
            priced = decision.catalogued
            await connection.execute(
                _SAVE_CATALOGUE,
                priced.terms.gift,
                priced.version,
                msgspec.json.encode(priced.terms),
            )


def touched_accounts(decisions: Iterable[Decision]) -> set[str]:
    """Accounts whose rows the decisions change."""
    touched: set[str] = set()
    for decision in decisions:
        for transfer in decision.transfers:
            touched.update((transfer.debit, transfer.credit))
        touched.update(wallet(hold.account) for hold in decision.holds)
    return touched


def settled_of(row: Any) -> Settled:
    """An outcome as it is kept."""
    return _OUTCOMES.decode(row["outcome"])


async def _load_accounts(connection: Any, books: Books, names: Iterable[str]) -> None:
    books.accounts = {name: Account() for name in names}
    for row in await connection.fetch(_ACCOUNTS, books.partition, list(books.accounts)):
        books.accounts[row["account"]] = Account(row["debits"], row["credits"], row["held"])


async def _load_settled(connection: Any, books: Books, keys: Iterable[RequestKey]) -> None:
    asked = list(keys)
    if not asked:
        return
    accounts, requests = zip(*asked, strict=True)
    for row in await connection.fetch(_SETTLED, accounts, requests):
        books.settled[row["account"], row["request"]] = settled_of(row)


def _take_holds(books: Books, rows: Iterable[Any]) -> None:
    for row in rows:
        account, name = row["account"], row["hold"]
        books.holds[account, name] = Hold(
            name, account, row["to_account"], row["coins"], row["expires_us"], row["status"]
        )


async def _save_accounts(connection: Any, books: Books, decisions: Sequence[Decision]) -> None:
    names = sorted(touched_accounts(decisions))
    if not names:
        return
    accounts = [books.accounts[name] for name in names]
    await connection.execute(
        _SAVE_ACCOUNTS,
        books.partition,
        names,
        [account.debits for account in accounts],
        [account.credits for account in accounts],
        [account.held for account in accounts],
        books.next_entry,
    )


async def _save_settled(connection: Any, books: Books, decisions: Sequence[Decision]) -> None:
    changed = {key_of(each.asked) for each in decisions if each.settled is not None}
    changed |= {each.reverses[0] for each in decisions if each.reverses is not None}
    if not changed:
        return
    keys = sorted(changed)
    rows = [books.settled[key] for key in keys]
    await connection.execute(
        _SAVE_SETTLED,
        books.partition,
        [account for account, _ in keys],
        [request for _, request in keys],
        [row.fingerprint for row in rows],
        [msgspec.json.encode(row) for row in rows],
    )


async def _save_transfers(connection: Any, partition: int, decisions: Sequence[Decision]) -> None:
    rows = [
        (
            each.entry, line, transfer.debit, transfer.credit, transfer.coins, transfer.reason,
            each.asked.account, each.asked.request.id,
        )
        for each in decisions
        for line, transfer in enumerate(each.transfers, start=1)
    ]  # fmt: skip
    if rows:
        await connection.execute(_SAVE_TRANSFERS, partition, *map(list, zip(*rows, strict=True)))


async def _save_holds(connection: Any, books: Books, decisions: Sequence[Decision]) -> None:
    keys = sorted({(hold.account, hold.hold) for each in decisions for hold in each.holds})
    if not keys:
        return
    holds = [books.holds[key] for key in keys]
    await connection.execute(
        _SAVE_HOLDS,
        books.partition,
        [hold.account for hold in holds],
        [hold.hold for hold in holds],
        [hold.to for hold in holds],
        [hold.coins for hold in holds],
        [hold.expires_us for hold in holds],
        [hold.status for hold in holds],
    )
