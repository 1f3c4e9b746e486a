"""What gateways read of the ledger: wallets, outcomes, the catalogue. Never a decision."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.ledger_store import settled_of
from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.ledger import Hold, RequestKey, Settled, earnings, wallet

_ACCOUNT: Final = text("""
    SELECT coalesce(sum(debits), 0)::bigint AS debits, coalesce(sum(credits), 0)::bigint AS credits,
           coalesce(sum(held), 0)::bigint AS held
    FROM ledger_accounts WHERE account = :account
""")
_SETTLED: Final = text("""
    SELECT known.account, known.request, outcome FROM ledger_requests AS known
    JOIN unnest(:accounts, :requests) AS asked(account, request) USING (account, request)
""").bindparams(bindparam("accounts", type_=ARRAY(Text)), bindparam("requests", type_=ARRAY(Text)))
_HOLD: Final = text("""
    SELECT account, hold, to_account, coins, expires_us, status FROM ledger_holds
    WHERE account = :account AND hold = :hold
""")
_PRICED: Final = text(
    "SELECT version, terms FROM ledger_catalogue WHERE gift = ANY(:gifts)"
).bindparams(bindparam("gifts", type_=ARRAY(Text)))
_CATALOGUE: Final = text("SELECT version, terms FROM ledger_catalogue ORDER BY gift")


class Wallet(Struct, frozen=True):
    """A user's coins."""

    account: str
    coins: int
    """Spendable: without what is held."""
    held: int


class LedgerQueries:
    """Reads over any connection of the pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def wallet(self, user: str) -> Wallet:
        """A user's coins; a wallet that never was is empty."""
        row = await self._account(wallet(user))
        return Wallet(user, row.credits - row.debits - row.held, row.held)

    async def earnings(self, host: str) -> int:
        """What a host has earned, reversals taken off, over all partitions."""
        row = await self._account(earnings(host))
        balance: int = row.credits - row.debits
        return balance

    async def settled(self, keys: Sequence[RequestKey]) -> dict[RequestKey, Settled]:
        """The stored outcomes among these requests, by (account, request id)."""
        if not keys:
            return {}
        accounts, requests = zip(*keys, strict=True)
        async with self._engine.connect() as connection:
            found = await connection.execute(
                _SETTLED, {"accounts": list(accounts), "requests": list(requests)}
            )
            return {(row.account, row.request): settled_of(row._mapping) for row in found}

    async def hold(self, user: str, hold: str) -> Hold | None:
        """A hold as it is now."""
        async with self._engine.connect() as connection:
            found = await connection.execute(_HOLD, {"account": user, "hold": hold})
            row = found.one_or_none()
        if row is None:
            return None
        return Hold(row.hold, row.account, row.to_account, row.coins, row.expires_us, row.status)

    async def catalogue(self) -> list[PricedGift]:
        """The newest terms of every gift, those that are not offered any more included."""
        async with self._engine.connect() as connection:
            return [_priced(row) for row in await connection.execute(_CATALOGUE)]

    async def priced(self, gifts: Sequence[str]) -> list[PricedGift]:
        """The newest terms of those of these gifts that were ever offered."""
        async with self._engine.connect() as connection:
            found = await connection.execute(_PRICED, {"gifts": list(gifts)})
            return [_priced(row) for row in found]

    async def _account(self, name: str) -> Any:
        async with self._engine.connect() as connection:
            return (await connection.execute(_ACCOUNT, {"account": name})).one()


def _priced(row: Any) -> PricedGift:
    return PricedGift(row.version, msgspec.json.decode(row.terms, type=GiftTerms))
