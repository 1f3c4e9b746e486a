"""Loading the part of partitions' books that some requests need, and saving what changed.

Each statement is about all partitions of a transaction: what is asked costs more than how much.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.ledger import (
    Account,
    Books,
    BrokenInvariantError,
    Changed,
    Decision,
    Hold,
    Settled,
    Wanted,
    earnings,
    key_of,
    wallet,
)

_OPEN: Final = """
    INSERT INTO ledger_totals ("partition", next_entry, debits, credits)
    SELECT unnest($1::integer[]), 1, 0, 0 ON CONFLICT DO NOTHING
"""
_NEXT_ENTRIES: Final = """
    SELECT "partition", next_entry FROM ledger_totals WHERE "partition" = ANY($1::integer[])
"""
_ACCOUNTS: Final = """
    SELECT known."partition", known.account, debits, credits, held FROM ledger_accounts AS known
    JOIN unnest($1::integer[], $2::text[]) AS asked("partition", account)
    USING ("partition", account)
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
    SELECT account, hold, to_account, coins, expires_us, status, "partition"
    FROM ledger_holds JOIN unnest($1::integer[], $2::bigint[]) AS asked("partition", until_us)
    USING ("partition")
    WHERE status = 'pending' AND expires_us <= until_us
"""
_NEXT_HOLD: Final = """
    SELECT min(expires_us) FROM ledger_holds WHERE "partition" = $1 AND status = 'pending'
"""
_BATTLES: Final = """SELECT room, battle FROM battle_rooms WHERE room = ANY($1)"""
_CATALOGUE: Final = """SELECT gift, version, terms FROM ledger_catalogue WHERE gift = ANY($1)"""

_SAVE_ACCOUNTS: Final = """
    WITH given AS (
        SELECT * FROM unnest($1::integer[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS row("partition", account, debits, credits, held)
    ), entries AS (
        SELECT * FROM unnest($6::integer[], $7::bigint[]) AS row("partition", next_entry)
    ), gained AS (
        SELECT given."partition",
               sum(given.debits - coalesce(known.debits, 0)) AS debits,
               sum(given.credits - coalesce(known.credits, 0)) AS credits
        FROM given LEFT JOIN ledger_accounts AS known
          ON known."partition" = given."partition" AND known.account = given.account
        GROUP BY given."partition"
    ), totalled AS (
        UPDATE ledger_totals AS total
        SET debits = total.debits + gained.debits, credits = total.credits + gained.credits,
            next_entry = entries.next_entry
        FROM gained JOIN entries USING ("partition")
        WHERE total."partition" = gained."partition"
    )
    INSERT INTO ledger_accounts ("partition", account, debits, credits, held)
    SELECT "partition", account, debits, credits, held FROM given
    ON CONFLICT ("partition", account) DO UPDATE
    SET debits = excluded.debits, credits = excluded.credits, held = excluded.held
"""
_SAVE_SETTLED: Final = """
    INSERT INTO ledger_requests ("partition", account, request, fingerprint, outcome)
    SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])
    ON CONFLICT (account, request) DO UPDATE SET outcome = excluded.outcome
    WHERE ledger_requests.fingerprint = excluded.fingerprint
"""
_SAVE_TRANSFERS: Final = """
    INSERT INTO ledger_transfers
        ("partition", entry, line, debit, credit, coins, reason, account, request)
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $4::text[], $5::text[],
                         $6::bigint[], $7::text[], $8::text[], $9::text[])
"""
_SAVE_HOLDS: Final = """
    INSERT INTO ledger_holds ("partition", account, hold, to_account, coins, expires_us, status)
    SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::bigint[],
                         $6::bigint[], $7::text[])
    ON CONFLICT (account, hold) DO UPDATE SET status = excluded.status
    WHERE ledger_holds.status = 'pending'
"""
_SAVE_CATALOGUE: Final = """
    INSERT INTO ledger_catalogue (gift, version, terms) VALUES ($1, $2, $3)
    ON CONFLICT (gift) DO UPDATE SET version = excluded.version, terms = excluded.terms
"""

Row = tuple[Any, ...]

_OUTCOMES: Final = msgspec.json.Decoder(Settled)
_TERMS: Final = msgspec.json.Decoder(GiftTerms)


async def load(connection: Any, want: Mapping[int, Wanted]) -> dict[int, Books]:
    """The books of each partition as far as these requests need them, inside the transaction."""
    entries = await _next_entries(connection, list(want))
    books = {partition: Books(partition, entries[partition]) for partition in want}
    await _load_settled(connection, books, want)
    await _load_holds(connection, books, want)
    await _load_accounts(connection, books, want)
    gifts = {gift for each in want.values() for gift in each.gifts}
    if gifts:
        for row in await connection.fetch(_CATALOGUE, list(gifts)):
            priced = PricedGift(row["version"], _TERMS.decode(row["terms"]))
            for partition, each in want.items():
                if row["gift"] in each.gifts:
                    books[partition].catalogue[row["gift"]] = priced
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


async def save(connection: Any, changed: Sequence[Changed]) -> None:
    """Write what the decisions, which are in the books, have changed.

    Raises BrokenInvariantError when an account has changed that was not loaded: its row would be
    overwritten with what is not known.
    """
    for each in changed:
        unknown = touched_accounts(each.decisions) - each.loaded
        if unknown:
            raise BrokenInvariantError(f"changed without being loaded: {sorted(unknown)[:5]}")
    await _save_accounts(connection, changed)
    await _insert(connection, _SAVE_SETTLED, _settled_rows(changed))
    await _insert(connection, _SAVE_TRANSFERS, _transfer_rows(changed))
    await _insert(connection, _SAVE_HOLDS, _hold_rows(changed))
    for each in changed:
        for decision in each.decisions:
            if decision.catalogued is not None:
                priced = decision.catalogued
                terms = msgspec.json.encode(priced.terms)
                await connection.execute(_SAVE_CATALOGUE, priced.terms.gift, priced.version, terms)


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


async def _next_entries(connection: Any, partitions: list[int]) -> dict[int, int]:
    rows = await connection.fetch(_NEXT_ENTRIES, partitions)
    known = {row["partition"]: row["next_entry"] for row in rows}
    fresh = [partition for partition in partitions if partition not in known]
    if fresh:
        await connection.execute(_OPEN, fresh)
    return known | dict.fromkeys(fresh, 1)


async def _load_settled(
    connection: Any, books: Mapping[int, Books], want: Mapping[int, Wanted]
) -> None:
    homes = {key: partition for partition, each in want.items() for key in each.settled}
    if not homes:
        return
    accounts, requests = zip(*homes, strict=True)
    for row in await connection.fetch(_SETTLED, accounts, requests):
        key = row["account"], row["request"]
        books[homes[key]].settled[key] = settled_of(row)


async def _load_holds(
    connection: Any, books: Mapping[int, Books], want: Mapping[int, Wanted]
) -> None:
    homes = {key: partition for partition, each in want.items() for key in each.holds}
    if homes:
        accounts, holds = zip(*homes, strict=True)
        for row in await connection.fetch(_HOLDS, accounts, holds):
            _take_hold(books[homes[row["account"], row["hold"]]], row)
    due = {partition: each.holds_due_us for partition, each in want.items() if each.holds_due_us}
    if due:
        for row in await connection.fetch(_DUE_HOLDS, list(due), list(due.values())):
            _take_hold(books[row["partition"]], row)


def _take_hold(books: Books, row: Any) -> None:
    account, name = row["account"], row["hold"]
    books.holds[account, name] = Hold(
        name, account, row["to_account"], row["coins"], row["expires_us"], row["status"]
    )


async def _load_accounts(
    connection: Any, books: Mapping[int, Books], want: Mapping[int, Wanted]
) -> None:
    for partition, of_it in books.items():
        names = set(want[partition].accounts)
        for hold in of_it.holds.values():
            names |= {wallet(hold.account), earnings(hold.to)}
        for settled in of_it.settled.values():
            if settled.payment is not None:
                names.add(earnings(settled.payment.to))
        of_it.accounts = {name: Account() for name in names}
    asked = [(partition, name) for partition, of_it in books.items() for name in of_it.accounts]
    if not asked:
        return
    for row in await connection.fetch(_ACCOUNTS, *map(list, zip(*asked, strict=True))):
        known = Account(row["debits"], row["credits"], row["held"])
        books[row["partition"]].accounts[row["account"]] = known


async def _save_accounts(connection: Any, changed: Sequence[Changed]) -> None:
    rows = [
        (each.books.partition, name, account.debits, account.credits, account.held)
        for each in changed
        for name in sorted(touched_accounts(each.decisions))
        for account in (each.books.accounts[name],)
    ]
    if not rows:
        return
    entries = [(each.books.partition, each.books.next_entry) for each in changed]
    await connection.execute(
        _SAVE_ACCOUNTS,
        *map(list, zip(*rows, strict=True)),
        *map(list, zip(*entries, strict=True)),
    )


def _settled_rows(changed: Sequence[Changed]) -> Iterator[Row]:
    for of_it in changed:
        keys = {key_of(each.asked) for each in of_it.decisions if each.settled is not None}
        keys |= {each.reverses[0] for each in of_it.decisions if each.reverses is not None}
        for key in sorted(keys):
            settled = of_it.books.settled[key]
            encoded = msgspec.json.encode(settled)
            yield of_it.books.partition, *key, settled.fingerprint, encoded


def _transfer_rows(changed: Sequence[Changed]) -> Iterator[Row]:
    for of_it in changed:
        for each in of_it.decisions:
            for line, transfer in enumerate(each.transfers, start=1):
                yield (
                    of_it.books.partition, each.entry, line, transfer.debit, transfer.credit,
                    transfer.coins, transfer.reason, *key_of(each.asked),
                )  # fmt: skip


def _hold_rows(changed: Sequence[Changed]) -> Iterator[Row]:
    for of_it in changed:
        keys = {(hold.account, hold.hold) for each in of_it.decisions for hold in each.holds}
        for key in sorted(keys):
            hold = of_it.books.holds[key]
            yield of_it.books.partition, *key, hold.to, hold.coins, hold.expires_us, hold.status


async def _insert(connection: Any, statement: str, rows: Iterable[Row]) -> None:
    """Run a statement that takes columns, if there is any row."""
    columns = list(zip(*rows, strict=True))
    if columns:
        await connection.execute(statement, *map(list, columns))
