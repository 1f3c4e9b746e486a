"""Deciding in SQL: read a topic, decide, commit effect and position and outbox in one transaction,
then tell.

The loop that the ledger and the battles share. A partition has one owner at a time, by a lease in
the database; every transaction first locks the positions and compares owner and offset, so an owner
that was taken for dead commits nothing, however late it wakes up. What is to be told leaves through
an outbox that is written in the same transaction, row by row in order: a row is sent when the one
before it is acknowledged, and after a crash whoever owns the partition begins with what is left.

Everything outside is a port, so that a simulation can stand in for it and crash between any two
awaits.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import structlog
from msgspec import Struct

from engagement.domain import limits
from engagement.errors import FencedError, PositionMovedError, UnavailableError
from engagement.processors import metrics
from engagement.processors.outbox import OutboxPublisher, OutboxRow, OutRecord

log = structlog.get_logger()

_FETCH_MS: Final = 50
"""How long a quiet topic is waited for before timers and leases are looked after."""
_REST_MS: Final = 10
"""How long the rest of what is there already may take."""


class AwayError(Exception):
    """An engine does not answer. The session is over; the next one begins where the last commit
    left off."""


class Record(Protocol):
    """A record of the source topic."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Span(Struct, frozen=True):
    """What a transaction moves a position over."""

    start: int
    """Where the database must be."""
    end: int
    """Where it is afterwards."""


class Transaction(Protocol):
    """One transaction, its positions locked and compared."""

    connection: Any
    """What the decider's own store works with."""

    async def keep(self, told: Mapping[int, Sequence[OutRecord]]) -> Mapping[int, OutboxRow]:
        """Put each partition's records into its outbox, as a row after all that are there."""
        ...

    async def forget(self, up_to: Mapping[int, int]) -> None:
        """Take rows out of the outbox of each partition that were acknowledged."""
        ...


class Session(Protocol):
    """One connection to the engines, from its start to its first failure.

    Everything raises AwayError when an engine does not answer, FencedError when others have taken
    this session for dead.
    """

    async def renew(self) -> Mapping[int, int]:
        """Stay alive, claim what is free; the position of every partition that is ours now."""
        ...

    async def release(self) -> None:
        """Give all partitions back, for others to claim at once."""
        ...

    async def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions, from these offsets on."""
        ...

    async def fetch(self, most: int, timeout_ms: int) -> Sequence[Record]:
        """The next records, each partition's in order; none when none came in time."""
        ...

    async def unpublished(self, partition: int) -> Sequence[OutboxRow]:
        """What is in the outbox of a partition, in order."""
        ...

    def transaction(self, spans: Mapping[int, Span]) -> AbstractAsyncContextManager[Transaction]:
        """Commits at its end, with the positions moved; rolls back when anything is raised.

        Raises FencedError or PositionMovedError, and has then written nothing.
        """
        ...

    def append(self, record: OutRecord) -> None:
        """Queue a record for the log; never blocks."""
        ...

    def acknowledged(self, topic: str, partition: int) -> Awaitable[object]:
        """Done when all appended so far is on the log; raises UnavailableError."""
        ...


class Engines(Protocol):
    """Where sessions come from, and what time it is."""

    def session(self, topic: str) -> AbstractAsyncContextManager[Session]:
        """Connect. Raises AwayError."""
        ...

    def monotonic_s(self) -> float:
        """A clock that only goes forward."""
        ...

    def now_us(self) -> int:
        """Unix time in µs."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


class Decider(Protocol):
    """What one topic's records do. Holds nothing that is not in its tables, but for caches."""

    topic: str

    async def apply(
        self, transaction: Transaction, by_partition: Mapping[int, Sequence[Record]]
    ) -> Mapping[int, Sequence[OutRecord]]:
        """Decide about each partition's records in order, inside the transaction; what is to be
        told of it, by partition.

        All partitions at once, so that SQL is asked once and not once a partition. What cannot be
        decoded is told to the dead letters. BrokenInvariantError passes through.
        """
        ...

    async def owned(self, transaction: Any, partition: int) -> None:
        """A partition is ours from now on: learn its timers. `transaction` only reads."""
        ...

    def committed(self, partition: int) -> None:
        """The last `apply` of this partition is durable."""
        ...

    def forget(self, partition: int) -> None:
        """The partition is not ours any more."""
        ...

    async def due(self, partition: int, now_us: int) -> list[OutRecord]:
        """Timers that have run out: requests for the own topic. Told again until they are decided,
        so they carry derived ids, and are few."""
        ...


class TransactedProcessor:
    """Decides about the records of one topic, together with any other processors of it."""

    def __init__(self, engines: Engines, decider: Decider) -> None:
        self._engines = engines
        self._decider = decider
        self._stopping = False
        self._positions: dict[int, int] = {}
        self._publishers: dict[int, OutboxPublisher] = {}
        self._renewed_at_s = 0.0

    @property
    def topic(self) -> str:
        """What it decides about."""
        return self._decider.topic

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that are ours now."""
        return frozenset(self._positions)

    def stop(self) -> None:
        """Finish what is in hand, give the partitions back, then return from `run`."""
        self._stopping = True

    def _is_stopping(self) -> bool:
        return self._stopping

    async def run(self) -> None:
        """Until `stop`. Whatever goes away is waited for; BrokenInvariantError is not survived."""
        pause_s = 0.0
        topic = self._decider.topic
        while not self._is_stopping():
            began_s = self._renewed_at_s = self._engines.monotonic_s()
            try:
                async with self._engines.session(topic) as session:
                    await self._session(session)
            except FencedError as error:
                metrics.FENCED.labels(topic).inc()
                log.warning("processor.fenced", topic=topic, reason=str(error))
            except (PositionMovedError, AwayError, UnavailableError) as error:
                if self._has_slept():
                    # Whoever took over has ended our database session, and our locks with it.
                    metrics.FENCED.labels(topic).inc()
                    log.warning("processor.fenced", topic=topic, reason=repr(error)[:500])
                else:
                    metrics.SESSIONS_ENDED.labels(topic, type(error).__name__).inc()
                    log.warning("processor.waits", topic=topic, error=repr(error)[:500])
            finally:
                await self._let_go()
            if self._is_stopping():
                return
            lasted_s = self._engines.monotonic_s() - began_s
            pause_s = 0.05 if lasted_s > limits.PROJECTOR_RETRY_S_MAX else pause_s * 2 + 0.05
            await self._engines.sleep(min(pause_s, limits.PROJECTOR_RETRY_S_MAX))

    def _has_slept(self) -> bool:
        """Whether the lease has run out since it was last renewed."""
        return self._engines.monotonic_s() - self._renewed_at_s > limits.PROJECTOR_LEASE_S

    async def _session(self, session: Session) -> None:
        renew_at_s = take_at_s = 0.0
        fetched = _Fetched()
        while not self._is_stopping():
            if self._engines.monotonic_s() >= renew_at_s:
                self._renewed_at_s = self._engines.monotonic_s()
                renew_at_s = self._renewed_at_s + limits.PROJECTOR_CLAIM_S
                if await self._own(session, await session.renew()):
                    fetched.clear()  # It is read again, from the positions.
            for publisher in self._publishers.values():
                publisher.check()
            await self._tick(session)
            if not self._positions:
                await self._engines.sleep(_FETCH_MS / 1000)
                continue
            if not fetched:
                pause_s = max(0.0, take_at_s - self._engines.monotonic_s())
                await self._engines.sleep(pause_s)
                fetched.put(await session.fetch(limits.DECIDED_RECORDS_MAX, _FETCH_MS))
                if fetched and pause_s:
                    # A consumer reads ahead once and no further until that is taken from it: what
                    # came during the pause is still with the broker.
                    fetched.put(await session.fetch(limits.DECIDED_RECORDS_MAX, _REST_MS))
            if fetched:
                take_at_s = self._engines.monotonic_s() + limits.DECIDE_MS / 1000
                await self._take(session, fetched.portion())
        await self._leave(session)

    async def _own(self, session: Session, positions: Mapping[int, int]) -> bool:
        """Own exactly these; whether that is a change."""
        if positions.keys() == self._positions.keys():
            return False
        for partition in self._positions.keys() - positions.keys():
            self._decider.forget(partition)
            await self._publishers.pop(partition).cancel()
            del self._positions[partition]
        fresh = sorted(positions.keys() - self._positions.keys())
        for partition in fresh:
            async with session.transaction({}) as transaction:
                await self._decider.owned(transaction, partition)
            rows = await session.unpublished(partition)
            self._publishers[partition] = OutboxPublisher(session, partition, rows)
            self._positions[partition] = positions[partition]
        await session.assign(self._positions)
        metrics.OWNED.labels(self._decider.topic).set(len(self._positions))
        log.info("processor.owns", topic=self._decider.topic, positions=dict(self._positions))
        return True

    async def _take(self, session: Session, by_partition: Mapping[int, Sequence[Record]]) -> None:
        spans = {
            partition: Span(self._positions[partition], of_it[-1].offset + 1)
            for partition, of_it in by_partition.items()
        }
        began_s = self._engines.monotonic_s()
        async with session.transaction(spans) as transaction:
            told = await self._decider.apply(transaction, by_partition)
            rows = await transaction.keep({each: of_it for each, of_it in told.items() if of_it})
            await transaction.forget(self._published(by_partition))
        metrics.DECIDE_SECONDS.labels(self._decider.topic).observe(
            self._engines.monotonic_s() - began_s
        )
        for partition, span in spans.items():
            self._positions[partition] = span.end
            self._decider.committed(partition)
            if partition in rows:
                await self._publishers[partition].put(rows[partition])

    def _published(self, partitions: Iterable[int]) -> dict[int, int]:
        """The newest acknowledged row of each of these partitions that has news."""
        newest = {each: self._publishers[each].take_published() for each in partitions}
        return {each: number for each, number in newest.items() if number is not None}

    async def _tick(self, session: Session) -> None:
        now_us = self._engines.now_us()
        for partition in self._positions:
            for record in await self._decider.due(partition, now_us):
                session.append(record)

    async def _leave(self, session: Session) -> None:
        """Tell what is committed, if the log takes it; then others may have the partitions."""
        with contextlib.suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(limits.WORKER_STOP_TIMEOUT_S):
                for publisher in self._publishers.values():
                    await publisher.settled()
        await session.release()

    async def _let_go(self) -> None:
        for partition, publisher in self._publishers.items():
            self._decider.forget(partition)
            await publisher.cancel()
        self._publishers.clear()
        self._positions.clear()
        metrics.OWNED.labels(self._decider.topic).set(0)


class _Fetched:
    """Records that were read and not yet decided about, by partition."""

    def __init__(self) -> None:
        self._records: dict[int, deque[Record]] = {}

    def __bool__(self) -> bool:
        return bool(self._records)

    def put(self, records: Sequence[Record]) -> None:
        """Add what was read."""
        for record in records:
            self._records.setdefault(record.partition, deque()).append(record)

    def clear(self) -> None:
        """Forget everything."""
        self._records.clear()

    def portion(self) -> dict[int, list[Record]]:
        """What one transaction decides about: the same share of every partition, at least one
        record, so that no partition waits for another one's backlog."""
        share = limits.DECIDED_BYTES_MAX // len(self._records)
        portion: dict[int, list[Record]] = {}
        # In order: two owners never lock positions crosswise.
        for partition, waiting in sorted(self._records.items()):
            of_it = portion[partition] = [waiting.popleft()]
            left = share - len(of_it[0].value or b"")
            while waiting and (left := left - len(waiting[0].value or b"")) >= 0:
                of_it.append(waiting.popleft())
            if not waiting:
                del self._records[partition]
        return portion
