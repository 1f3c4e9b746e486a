"""The database of the simulation: transactions, row locks, sessions that end, and owners of
partitions with leases. Committed rows are in dictionaries; what a transaction writes is beside them
until it commits.

It enforces nothing but primary keys: wrong books must be found by whoever looks at them.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from engagement.domain import limits
from engagement.errors import FencedError, PositionMovedError
from engagement.processors.transacted import AwayError, Span
from tests.simulation.log import Network
from tests.simulation.loop import Process

Key = tuple[Any, ...]
_GONE: Final = object()
_PATIENCE_S: Final = 2 * limits.PROJECTOR_CLAIM_S


@dataclass(frozen=True)
class Position:
    """How far a partition of a topic is decided, and whose it is."""

    next_offset: int = 0
    owner: int = 0
    next_row: int = 1


@dataclass
class Owner:
    """A session that may own partitions."""

    token: int
    topic: str
    session: "Connection"
    alive_until_s: float


@dataclass(frozen=True)
class Commit:
    """What the journal has of a transaction that moved positions."""

    topic: str
    partition: int
    start: int
    end: int
    was_at: int
    """Where the position was when it was committed."""
    token: int
    owner: int
    """Whose the partition was."""


@dataclass
class _Lock:
    holder: "Tx"
    waiting: deque[tuple["Tx", asyncio.Future[None]]] = field(default_factory=deque)


class Database:
    """What is committed."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.tables: dict[str, dict[Key, Any]] = {}
        self.owners: dict[int, Owner] = {}
        self.journal: list[Commit] = []
        self.committed: Callable[[set[str]], object] = lambda tables: None
        """Told after every commit which tables have changed."""
        self.is_fenced = True
        """Only a planted bug turns it off."""
        self._locks: dict[Key, _Lock] = {}
        self._tokens = 0

    def table(self, name: str) -> dict[Key, Any]:
        """The committed rows of a table."""
        return self.tables.setdefault(name, {})

    def new_token(self) -> int:
        """Greater than every token before it."""
        self._tokens += 1
        return self._tokens

    def position(self, topic: str, partition: int) -> Position:
        """As it is committed."""
        found: Position = self.table("positions").get((topic, partition), Position())
        return found

    def is_locked(self, key: Key) -> bool:
        """Whether some transaction has this row."""
        return key in self._locks

    def lock(self, tx: "Tx", key: Key) -> asyncio.Future[None] | None:
        """Take a row, or get in line for it."""
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = _Lock(tx)
            return None
        if lock.holder is tx:
            return None
        waiting: asyncio.Future[None] = self.network.loop.create_future()
        lock.waiting.append((tx, waiting))
        return waiting

    def unlock(self, tx: "Tx") -> None:
        """Give all rows of a transaction to those who wait; nothing to those who have gone."""
        for key, lock in list(self._locks.items()):
            lock.waiting = deque(each for each in lock.waiting if each[0] is not tx)
            if lock.holder is not tx:
                continue
            if lock.waiting:
                lock.holder, waiting = lock.waiting.popleft()
                if not waiting.done():
                    waiting.set_result(None)
            else:
                del self._locks[key]


class Tx:
    """One transaction."""

    def __init__(self, session: "Connection") -> None:
        self.session = session
        self.token = 0
        self.moves: list[tuple[str, int, Span]] = []
        """Positions that it moves: topic, partition, from where to where."""
        self._database = session.database
        self._writes: dict[tuple[str, Key], Any] = {}
        self._waits: asyncio.Future[None] | None = None

    async def travel(self) -> None:
        """One round trip to the database."""
        await self.session.travel()

    def get(self, table: str, key: Key) -> Any:
        """A row: what this transaction has written, or what is committed by now; None: no row."""
        written = self._writes.get((table, key), self)
        if written is self:
            return self._database.table(table).get(key)
        return None if written is _GONE else written

    def rows(self, table: str) -> list[tuple[Key, Any]]:
        """All rows of a table."""
        keys = dict.fromkeys(self._database.table(table))
        keys.update(dict.fromkeys(key for name, key in self._writes if name == table))
        found = ((key, self.get(table, key)) for key in keys)
        return [(key, row) for key, row in found if row is not None]

    def put(self, table: str, key: Key, row: Any) -> None:
        """Insert or replace a row."""
        self._writes[table, key] = row

    def add(self, table: str, key: Key, row: Any) -> None:
        """Insert a row. Raises KeyError when there is one."""
        if self.get(table, key) is not None:
            raise KeyError(f"{table} has {key}")
        self.put(table, key, row)

    def delete(self, table: str, key: Key) -> None:
        """Delete a row, if there is one."""
        self._writes[table, key] = _GONE

    async def lock(self, *key: Any) -> None:
        """Wait until no other transaction has this row."""
        self._waits = self._database.lock(self, key)
        if self._waits is not None:
            await self._waits
        self.session.check()

    def commit(self) -> set[str]:
        """Make everything durable, at once; the tables that have changed."""
        for (table, key), row in self._writes.items():
            if row is _GONE:
                self._database.table(table).pop(key, None)
            else:
                self._database.table(table)[key] = row
        self._database.unlock(self)
        return {table for table, _ in self._writes}

    def roll_back(self, why: Exception) -> None:
        """Forget everything."""
        self._writes.clear()
        self._database.unlock(self)
        if self._waits is not None and not self._waits.done():
            self._waits.set_exception(why)
            self._waits.exception()


class Connection:
    """One database session."""

    def __init__(self, database: Database, process: Process) -> None:
        self.database = database
        self.is_open = True
        self._process = process
        self._tx: Tx | None = None
        process.at_death.append(self.close)

    def close(self) -> None:
        """The session ends, and whatever it had begun."""
        if self.is_open:
            self.is_open = False
            if self._tx is not None:
                self._tx.roll_back(AwayError("the session was closed"))
                self._tx = None

    def check(self) -> None:
        """Raise AwayError when the session has ended or the database does not answer."""
        network = self.database.network
        if self.is_open and network.loop.time() < network.database_away_until_s:
            self.close()
        if not self.is_open:
            raise AwayError("the database does not answer")

    async def travel(self) -> None:
        """One round trip; what is asked for happens at its end."""
        await self.database.network.pass_by()
        self.check()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        """A transaction that commits at its end."""
        await self.travel()
        tx = self._tx = Tx(self)
        try:
            yield tx
            await self._commit(tx)
        except BaseException as error:
            tx.roll_back(AwayError(repr(error)))
            raise
        finally:
            self._tx = None

    async def _commit(self, tx: Tx) -> None:
        network = self.database.network
        await self.travel()
        if network.is_lost():
            is_done = network.random.random() < 0.5
            if is_done:
                self._apply(tx)
            self.close()
            raise AwayError("nobody knows whether it was committed")
        self._apply(tx)
        await network.pass_by()
        self.check()

    def _apply(self, tx: Tx) -> None:
        self._tx = None
        before = [self.database.position(topic, partition) for topic, partition, _ in tx.moves]
        changed = tx.commit()
        for (topic, partition, span), was in zip(tx.moves, before, strict=True):
            self.database.journal.append(
                Commit(topic, partition, span.start, span.end, was.next_offset, tx.token, was.owner)
            )
        self.database.committed(changed)


class DeciderSession:
    """A session that owns partitions of a topic: `database.claims` and `database.decider_store`,
    written once more from what they promise (ADR 0004 and 0009)."""

    def __init__(self, connection: Connection, topic: str, partitions: int) -> None:
        self._connection = connection
        self._database = connection.database
        self._topic = topic
        self._partitions = range(partitions)
        self.token = 0

    async def register(self) -> None:
        """Take part."""
        await self._connection.travel()
        self.token = self._database.new_token()
        self._database.owners[self.token] = Owner(
            self.token, self._topic, self._connection, self._lease_end_s()
        )

    async def renew(self) -> dict[int, int]:
        """Stay alive, give away what is too much, claim what is free up to a fair share."""
        await self._connection.travel()
        me = self._database.owners.get(self.token)
        if me is None:
            raise FencedError(f"owner {self.token} was taken for dead")
        me.alive_until_s = self._lease_end_s()
        await self._connection.travel()
        self._share()
        owned = self._mine()
        await self._connection.travel()
        self._bury()
        return owned

    async def release(self) -> None:
        """Others may claim everything at once."""
        await self._connection.travel()
        self._give(self._mine())
        self._database.owners.pop(self.token, None)

    async def unpublished(self, partition: int) -> list[tuple[int, Any]]:
        """The rows of the outbox, in order."""
        await self._connection.travel()
        rows = self._database.table("outbox").items()
        mine = (self._topic, partition)
        return sorted((key[2], row) for key, row in rows if key[:2] == mine)

    @asynccontextmanager
    async def transaction(self, spans: Mapping[int, Span]) -> AsyncIterator["DeciderTx"]:
        """Lock and compare the positions; at the end move them and commit."""
        async with self._connection.begin() as tx:
            tx.token = self.token
            for partition in sorted(spans):
                await tx.travel()
                await tx.lock("positions", self._topic, partition)
            if self._database.is_fenced:
                self._compare(spans)
            yield DeciderTx(tx, self._topic)
            await tx.travel()
            for partition, span in spans.items():
                self._move(tx, partition, span)

    def _compare(self, spans: Mapping[int, Span]) -> None:
        for partition, span in spans.items():
            position = self._database.position(self._topic, partition)
            if position.owner != self.token:
                raise FencedError(f"{partition} belongs to {position.owner}, not {self.token}")
            if position.next_offset != span.start:
                raise PositionMovedError(f"at {position.next_offset}, not at {span.start}")

    def _move(self, tx: Tx, partition: int, span: Span) -> None:
        key = (self._topic, partition)
        at: Position = tx.get("positions", key) or Position()
        tx.put("positions", key, Position(span.end, at.owner, at.next_row))
        tx.moves.append((*key, span))

    def _lease_end_s(self) -> float:
        return self._database.network.loop.time() + limits.PROJECTOR_LEASE_S

    def _is_alive(self, owner: Owner | None) -> bool:
        if owner is None or owner.token == self.token:
            return owner is not None
        now_s = self._database.network.loop.time()
        return owner.alive_until_s >= now_s and owner.session.is_open

    def _mine(self) -> dict[int, int]:
        positions = {each: self._database.position(self._topic, each) for each in self._partitions}
        return {
            partition: at.next_offset
            for partition, at in positions.items()
            if at.owner == self.token
        }

    def _share(self) -> None:
        owners = self._database.owners
        alive = sum(self._is_alive(each) for each in owners.values() if each.topic == self._topic)
        share = math.ceil(len(self._partitions) / max(1, alive))
        mine = sorted(self._mine())
        if len(mine) > share:
            self._give(mine[share:])
        for partition in self._partitions:
            at = self._database.position(self._topic, partition)
            is_free = not self._is_alive(owners.get(at.owner))
            if len(self._mine()) < share and is_free and not self._is_locked(partition):
                self._set_owner(partition, self.token)

    def _is_locked(self, partition: int) -> bool:
        return self._database.is_locked(("positions", self._topic, partition))

    def _give(self, partitions: Iterable[int]) -> None:
        for partition in list(partitions):
            if self._database.position(self._topic, partition).owner == self.token:
                self._set_owner(partition, 0)

    def _set_owner(self, partition: int, owner: int) -> None:
        at = self._database.position(self._topic, partition)
        row = Position(at.next_offset, owner, at.next_row)
        self._database.table("positions")[self._topic, partition] = row

    def _bury(self) -> None:
        now_s = self._database.network.loop.time()
        for owner in list(self._database.owners.values()):
            if owner.topic != self._topic or self._is_alive(owner):
                continue
            owns = any(
                self._database.position(self._topic, each).owner == owner.token
                for each in self._partitions
            )
            if not owns:
                del self._database.owners[owner.token]
            elif owner.alive_until_s < now_s - _PATIENCE_S:
                owner.session.close()


class DeciderTx:
    """A transaction of a decider; its outbox."""

    def __init__(self, tx: Tx, topic: str) -> None:
        self.tx = tx
        self._topic = topic

    async def keep(self, partition: int, records: Sequence[Any]) -> int:
        """Put a row into the outbox; its number."""
        await self.tx.travel()
        key = (self._topic, partition)
        at: Position = self.tx.get("positions", key) or Position()
        self.tx.put("positions", key, Position(at.next_offset, at.owner, at.next_row + 1))
        self.tx.add("outbox", (*key, at.next_row), tuple(records))
        return at.next_row

    async def forget(self, partition: int, up_to: int) -> None:
        """Take rows out of the outbox."""
        await self.tx.travel()
        for key, _ in self.tx.rows("outbox"):
            if key[:2] == (self._topic, partition) and key[2] <= up_to:
                self.tx.delete("outbox", key)
