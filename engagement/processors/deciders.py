"""What a worker decides in SQL, beside its rooms: the ledger and the battles.

They share the worker's event loop and nothing else: an engine that goes away ends their sessions,
not the rooms'.
"""

import asyncio

import structlog

from engagement.database import battle_store, ledger_store
from engagement.database.battle_queries import BattleQueries
from engagement.database.connection import BY_KEY, create_engine
from engagement.domain import limits
from engagement.domain.events import CLOCK_TOPIC
from engagement.domain.ledger import BrokenInvariantError
from engagement.log.room_clocks import RoomClocks
from engagement.log.tail import Followed, Tail
from engagement.processors import metrics
from engagement.processors.battle_processor import BattleDecider
from engagement.processors.battle_timers import BattleTimers
from engagement.processors.ledger_processor import LedgerDecider
from engagement.processors.real_engines import RealEngines, process_name
from engagement.processors.transacted import TransactedProcessor
from engagement.settings import Settings

log = structlog.get_logger()


class Deciders:
    """The transacted processors of one worker."""

    def __init__(self, settings: Settings) -> None:
        # One connection each, for as long as the session lasts, and one for the timers' looks.
        self._engine = create_engine(settings, pool_size=3, **BY_KEY)
        engines = RealEngines(
            settings.bootstrap_servers, self._engine, name=process_name(settings.worker_id)
        )
        clocks = RoomClocks()
        self._tail = Tail(
            settings.bootstrap_servers,
            [Followed(CLOCK_TOPIC, clocks.handle, limits.CLOCK_RECORDS_PER_PARTITION)],
            settings.partitions,
            client_id=f"battles-{settings.worker_id}",
        )
        timers = BattleTimers(clocks.clock, BattleQueries(self._engine).closed_rooms)
        battles = BattleDecider(
            battle_store, timers, clocks.clock, engines.now_us, settings.partitions
        )
        self._ledger = TransactedProcessor(
            engines, LedgerDecider(ledger_store, settings.partitions)
        )
        self._battles = TransactedProcessor(engines, battles)
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until `stop`. Raises BrokenInvariantError: the process must not survive it."""
        self._running = asyncio.current_task()
        following = asyncio.create_task(self._tail.run(), name="clock-tail")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_run_again_and_again(self._ledger))
                group.create_task(self._run_battles())
        finally:
            following.cancel()

    async def stop(self) -> None:
        """Finish what is in hand and give the partitions back."""
        self._stopping.set()
        self._ledger.stop()
        self._battles.stop()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=3)
        await self._engine.dispose()

    async def _run_battles(self) -> None:
        """Begin when the rooms' clocks are known: what battles tell is stamped by them."""
        known = asyncio.create_task(self._tail.caught_up.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((known, stopping), return_when=asyncio.FIRST_COMPLETED)
        known.cancel()
        stopping.cancel()
        await _run_again_and_again(self._battles)


async def _run_again_and_again(processor: TransactedProcessor) -> None:
    """A mistake of ours ends a session, not the process: rooms must not suffer from it.

    Nothing was committed, so the next session begins where this one did; the metric and the log
    tell of it until somebody has mended it.
    """
    while True:
        try:
            await processor.run()
            return
        except BrokenInvariantError:
            raise
        except Exception as error:
            metrics.SESSIONS_ENDED.labels(processor.topic, type(error).__name__).inc()
            log.exception("decider.failed", topic=processor.topic)
            await asyncio.sleep(limits.PROJECTOR_RETRY_S_MAX)
