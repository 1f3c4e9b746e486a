"""What the SQL of the deciders' stores means, statement by statement, over the tables in memory.

`engagement.database.ledger_store` and `battle_store` run as they are: what they load and save is
under test. A statement that is not known here is a KeyError.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from engagement.database import battle_store as battles
from engagement.database import ledger_store as ledger
from tests.simulation.sql import Tx

Row = Mapping[str, Any]


class SqlConnection:
    """The part of an asyncpg connection that the stores use."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """The rows of a query."""
        await self.tx.travel()
        if statement == battles._ONE_AT_A_TIME:
            await self.tx.lock("advisory", *values)
            return ()
        return list(_MEANING[statement](self.tx, *values) or ())

    async def fetchval(self, statement: str, *values: Any) -> Any:
        """The first column of the first row; None without any."""
        rows = await self.fetch(statement, *values)
        return next(iter(rows[0].values())) if rows else None

    async def execute(self, statement: str, *values: Any) -> None:
        """Run a statement."""
        await self.fetch(statement, *values)


# --- ledger --------------------------------------------------------------------------------------


def _open(tx: Tx, partitions: list[int]) -> None:
    for partition in partitions:
        if tx.get("totals", (partition,)) is None:
            tx.put("totals", (partition,), (1, 0, 0))


def _next_entries(tx: Tx, partitions: list[int]) -> Iterable[Row]:
    for partition in partitions:
        found = tx.get("totals", (partition,))
        if found is not None:
            yield {"partition": partition, "next_entry": found[0]}


def _accounts(tx: Tx, partitions: list[int], names: list[str]) -> Iterable[Row]:
    for key in zip(partitions, names, strict=True):
        found = tx.get("accounts", key)
        if found is not None:
            yield {
                "partition": key[0], "account": key[1], "debits": found[0], "credits": found[1],
                "held": found[2],
            }  # fmt: skip


def _settled(tx: Tx, accounts: Sequence[str], requests: Sequence[str]) -> Iterable[Row]:
    for account, request in zip(accounts, requests, strict=True):
        found = tx.get("requests", (account, request))
        if found is not None:
            yield {
                "account": account, "request": request, "fingerprint": found[1],
                "outcome": found[2],
            }  # fmt: skip


_HOLD: Final = ("to_account", "coins", "expires_us", "status")


def _holds(tx: Tx, accounts: Sequence[str], holds: Sequence[str]) -> Iterable[Row]:
    for account, hold in zip(accounts, holds, strict=True):
        found = tx.get("holds", (account, hold))
        if found is not None:
            yield {
                "account": account, "hold": hold, **dict(zip(_HOLD, found[1:], strict=True))
            }  # fmt: skip


def _pending(tx: Tx, partition: int) -> Iterable[Row]:
    for (account, hold), row in tx.rows("holds"):
        if row[0] == partition and row[4] == "pending":
            yield {
                "account": account, "hold": hold, **dict(zip(_HOLD, row[1:], strict=True)),
                "partition": partition,
            }  # fmt: skip


def _due_holds(tx: Tx, partitions: list[int], untils_us: list[int]) -> Iterable[Row]:
    for partition, until_us in zip(partitions, untils_us, strict=True):
        yield from (row for row in _pending(tx, partition) if row["expires_us"] <= until_us)


def _next_hold(tx: Tx, partition: int) -> Iterable[Row]:
    return [{"min": min((row["expires_us"] for row in _pending(tx, partition)), default=None)}]


def _battles_of(tx: Tx, rooms: list[str]) -> Iterable[Row]:
    for room in rooms:
        battle = tx.get("battle_rooms", (room,))
        if battle is not None:
            yield {"room": room, "battle": battle}


def _catalogue(tx: Tx, gifts: list[str]) -> Iterable[Row]:
    for gift in gifts:
        found = tx.get("catalogue", (gift,))
        if found is not None:
            yield {"gift": gift, "version": found[0], "terms": found[1]}


def _save_accounts(
    tx: Tx,
    partitions: list[int],
    names: list[str],
    debits: Any,
    credits: Any,
    held: Any,
    saved: list[int],
    entries: list[int],
) -> None:
    rows: dict[int, list[Any]] = {}
    for partition, *row in zip(partitions, names, debits, credits, held, strict=True):
        rows.setdefault(partition, []).append(row)
    for partition, entry in zip(saved, entries, strict=True):
        _, all_debits, all_credits = tx.get("totals", (partition,))
        if partition not in rows:
            continue
        for name, *sides in rows[partition]:
            before = tx.get("accounts", (partition, name)) or (0, 0, 0)
            all_debits += sides[0] - before[0]
            all_credits += sides[1] - before[1]
            tx.put("accounts", (partition, name), tuple(sides))
        tx.put("totals", (partition,), (entry, all_debits, all_credits))


def _save_settled(tx: Tx, *columns: Any) -> None:
    for partition, account, request, fingerprint, outcome in zip(*columns, strict=True):
        found = tx.get("requests", (account, request))
        if found is None or found[1] == fingerprint:
            kept = partition if found is None else found[0]
            tx.put("requests", (account, request), (kept, fingerprint, outcome))


def _save_transfers(tx: Tx, *columns: Any) -> None:
    for partition, entry, line, *row in zip(*columns, strict=True):
        tx.add("transfers", (partition, entry, line), tuple(row))


def _save_holds(tx: Tx, *columns: Any) -> None:
    for partition, account, hold, *row in zip(*columns, strict=True):
        found = tx.get("holds", (account, hold))
        if found is None:
            tx.put("holds", (account, hold), (partition, *row))
        elif found[4] == "pending":
            tx.put("holds", (account, hold), (*found[:4], row[3]))


def _save_catalogue(tx: Tx, gift: str, version: int, terms: bytes) -> None:
    tx.put("catalogue", (gift,), (version, terms))


# --- battles -------------------------------------------------------------------------------------


def _battles(tx: Tx, names: list[str]) -> Iterable[Row]:
    for name in names:
        found = tx.get("battles", (name,))
        if found is not None:
            yield {"battle": name, "state": found[2]}


def _watched(tx: Tx, partition: int) -> Iterable[Row]:
    for _, (home, status, state) in tx.rows("battles"):
        if home == partition and status == "open":
            yield {"state": state}


def _save_battles(tx: Tx, *columns: Any) -> None:
    for name, home, status, state in zip(*columns, strict=True):
        found = tx.get("battles", (name,))
        tx.put("battles", (name,), (found[0] if found else home, status, state))


def _points(tx: Tx, *columns: Any) -> Iterable[Row]:
    for key in zip(*columns, strict=True):
        found = tx.get("battle_points", key)
        if found is not None:
            yield {"battle": key[0], "room": key[1], "actor": key[2], "points": found}


def _save_points(tx: Tx, *columns: Any) -> None:
    for *key, points in zip(*columns, strict=True):
        tx.put("battle_points", tuple(key), points)


def _take(tx: Tx, rooms: list[str], battle: str) -> Iterable[Row]:
    taken = []
    for room in rooms:
        if tx.get("battle_rooms", (room,)) is None:
            tx.put("battle_rooms", (room,), battle)
            taken.append({"room": room})
    return taken


def _free(tx: Tx, battle: str) -> None:
    for key, owner in tx.rows("battle_rooms"):
        if owner == battle:
            tx.delete("battle_rooms", key)


_MEANING: Final[dict[str, Callable[..., Iterable[Row] | None]]] = {
    ledger._OPEN: _open,
    ledger._NEXT_ENTRIES: _next_entries,
    ledger._ACCOUNTS: _accounts,
    ledger._SETTLED: _settled,
    ledger._HOLDS: _holds,
    ledger._DUE_HOLDS: _due_holds,
    ledger._NEXT_HOLD: _next_hold,
    ledger._BATTLES: _battles_of,
    ledger._CATALOGUE: _catalogue,
    ledger._SAVE_ACCOUNTS: _save_accounts,
    ledger._SAVE_SETTLED: _save_settled,
    ledger._SAVE_TRANSFERS: _save_transfers,
    ledger._SAVE_HOLDS: _save_holds,
    ledger._SAVE_CATALOGUE: _save_catalogue,
    battles._BATTLES: _battles,
    battles._WATCHED: _watched,
    battles._SAVE: _save_battles,
    battles._POINTS: _points,
    battles._SAVE_POINTS: _save_points,
    battles._TAKEN: _battles_of,
    battles._TAKE: _take,
    battles._FREE: _free,
}
