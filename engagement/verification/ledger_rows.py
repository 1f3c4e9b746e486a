"""The ledger's tables against the books that the requests make: every row, byte for byte."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

import msgspec

from engagement.domain.catalogue import PricedGift
from engagement.domain.ledger import Decision
from engagement.verification.derivation import Derivation
from engagement.verification.difference import Difference, first

_PREFETCH_ROWS: Final = 5_000

_TRANSFERS: Final = """
    SELECT entry, line, debit, credit, coins, reason, account, request FROM ledger_transfers
    WHERE "partition" = $1 ORDER BY entry, line
"""
_TOTALS: Final = """
    SELECT next_entry, debits, credits FROM ledger_totals WHERE "partition" = $1
"""
_ACCOUNTS: Final = """
    SELECT account, debits, credits, held FROM ledger_accounts WHERE "partition" = $1
"""
_REQUESTS: Final = """
    SELECT account, request, fingerprint, outcome FROM ledger_requests WHERE "partition" = $1
"""
_HOLDS: Final = """
    SELECT account, hold, to_account, coins, expires_us, status FROM ledger_holds
    WHERE "partition" = $1
"""
_CATALOGUE: Final = "SELECT gift, version, terms FROM ledger_catalogue"
_STRAYS: Final = """
    SELECT name, "partition" FROM (
        SELECT 'ledger_accounts' AS name, "partition" FROM ledger_accounts
        UNION ALL SELECT 'ledger_requests', "partition" FROM ledger_requests
        UNION ALL SELECT 'ledger_transfers', "partition" FROM ledger_transfers
        UNION ALL SELECT 'ledger_holds', "partition" FROM ledger_holds
        UNION ALL SELECT 'ledger_totals', "partition" FROM ledger_totals
    ) AS row WHERE "partition" <> ALL($1::integer[]) LIMIT 1
"""

_Row = tuple[Any, ...]


class TransferCheck:
    """Goes along the transfers of a partition as the decisions come, in a stream."""

    def __init__(self, driver: Any, partition: int) -> None:
        self._rows = _rows(driver, _TRANSFERS, partition)
        self._partition = partition
        self._coins = 0
        self._entries = 0

    async def take(self, offset: int, decision: Decision) -> Difference | None:
        """Compare the lines of one entry."""
        for line, transfer in enumerate(decision.transfers, start=1):
            expected = (
                decision.entry, line, transfer.debit, transfer.credit, transfer.coins,
                transfer.reason, decision.asked.account, decision.asked.request.id,
            )  # fmt: skip
            row = await anext(self._rows, None)
            if row != expected:
                return self._different(offset, row, expected)
            self._coins += transfer.coins
        self._entries += bool(decision.entry)
        return None

    async def end(self, driver: Any, last_offset: int) -> Difference | None:
        """No line may be left, and the totals must be the sums of all lines."""
        row = await anext(self._rows, None)
        if row is not None:
            return self._different(-1, row, None)
        found = await driver.fetchrow(_TOTALS, self._partition)
        expected = (self._entries + 1, self._coins, self._coins)
        # A partition of which nothing was ever asked has no totals.
        totals = (1, 0, 0) if found is None else tuple(found)
        if totals != expected:
            what = f"next entry, debits and credits are {totals}, the requests say {expected}"
            return Difference("ledger_totals", self._partition, last_offset, what)
        return None

    def _different(self, offset: int, row: _Row | None, expected: _Row | None) -> Difference:
        return Difference("ledger_transfers", self._partition, offset, describe(row, expected))


async def compare_books(driver: Any, derivation: Derivation) -> Difference | None:
    """The first row of accounts, outcomes and holds that is not as the requests make it."""
    books, partition = derivation.books, derivation.books.partition
    accounts = {
        name: (account.debits, account.credits, account.held)
        for name, account in books.accounts.items()
    }
    holds = {
        key: (hold.to, hold.coins, hold.expires_us, hold.status)
        for key, hold in books.holds.items()
    }
    return first(
        [
            await _compare(
                "ledger_accounts", partition, accounts, derivation.offset_of_account,
                ((row[0], row[1:]) async for row in _rows(driver, _ACCOUNTS, partition)),
            ),
            await _compare_outcomes(driver, derivation),
            await _compare(
                "ledger_holds", partition, holds, derivation.offset_of_hold,
                ((row[:2], row[2:]) async for row in _rows(driver, _HOLDS, partition)),
            ),
        ]
    )  # fmt: skip


async def _compare_outcomes(driver: Any, derivation: Derivation) -> Difference | None:
    settled, partition = derivation.books.settled, derivation.books.partition
    offsets, seen, wrong = derivation.offset_of_request, 0, []
    # Not by a table of encoded outcomes: they are many.
    async for account, request, mark, outcome in _rows(driver, _REQUESTS, partition):
        known = settled.get((account, request))
        expected = None if known is None else (known.fingerprint, msgspec.json.encode(known))
        seen += known is not None
        if expected != (mark, outcome):
            offset = offsets.get((account, request), -1)
            what = f"{account} {request}: {describe((mark, outcome), expected)}"
            wrong.append(Difference("ledger_requests", partition, offset, what))
    if seen < len(settled):
        wrong.append(await _missing_outcome(driver, derivation))
    return first(wrong)


async def _missing_outcome(driver: Any, derivation: Derivation) -> Difference:
    left = dict(derivation.offset_of_request)
    async for account, request, _, _ in _rows(driver, _REQUESTS, derivation.books.partition):
        left.pop((account, request), None)
    key, offset = min(left.items(), key=lambda item: item[1])
    what = f"{key[0]} {key[1]}: {describe(None, (derivation.books.settled[key],))}"
    return Difference("ledger_requests", derivation.books.partition, offset, what)


async def _compare(
    table: str,
    partition: int,
    expected: dict[Any, _Row],
    offsets: Mapping[Any, int],
    rows: AsyncIterator[tuple[Any, _Row]],
) -> Difference | None:
    wrong: list[Difference] = []

    def differ(key: Any, row: _Row | None, should: _Row | None) -> None:
        name = key if isinstance(key, str) else " ".join(key)
        what = f"{name}: {describe(row, should)}"
        wrong.append(Difference(table, partition, offsets.get(key, -1), what))

    async for key, row in rows:
        should = expected.pop(key, None)
        if row != should:
            differ(key, row, should)
    for key, should in expected.items():
        differ(key, None, should)
    return first(wrong)


async def compare_catalogue(
    driver: Any, partition: int, catalogue: Mapping[str, PricedGift], offsets: Mapping[str, int]
) -> Difference | None:
    """The catalogue, which one partition decides about."""
    expected: dict[Any, _Row] = {
        gift: (priced.version, msgspec.json.encode(priced.terms))
        for gift, priced in catalogue.items()
    }
    rows = ((row[0], tuple(row)[1:]) for row in await driver.fetch(_CATALOGUE))
    return await _compare("ledger_catalogue", partition, expected, offsets, _each(rows))


async def strays(driver: Any, partitions: Iterable[int]) -> Difference | None:
    """A row of a partition that does not exist."""
    row = await driver.fetchrow(_STRAYS, list(partitions))
    if row is None:
        return None
    return Difference(row["name"], row["partition"], -1, "there is no such partition")


async def _each(rows: Iterable[tuple[Any, _Row]]) -> AsyncIterator[tuple[Any, _Row]]:
    for row in rows:
        yield row


async def _rows(driver: Any, statement: str, *parameters: Any) -> AsyncIterator[_Row]:
    """All rows of a statement, a few thousand at a time."""
    cursor = await (await driver.prepare(statement)).cursor(*parameters)
    while rows := await cursor.fetch(_PREFETCH_ROWS):
        for row in rows:
            yield tuple(row)


def describe(row: _Row | None, expected: _Row | None) -> str:
    """What is wrong, for people."""
    if row is None:
        return f"is missing, the requests say {expected!r:.300}"
    if expected is None:
        return f"follows from no request: {row!r:.300}"
    return f"is {row!r:.300}, the requests say {expected!r:.300}"
