"""What a worker decides in SQL, beside its rooms: the ledger.

They share the worker's event loop and nothing else: an engine that goes away ends their sessions,
not the rooms'.
"""

import asyncio

from engagement.database import ledger_store
from engagement.database.connection import create_engine
from engagement.processors.ledger_processor import LedgerDecider
from engagement.processors.real_engines import RealEngines, process_name
from engagement.processors.transacted import TransactedProcessor
from engagement.settings import Settings


class Deciders:
    """The transacted processors of one worker."""

    def __init__(self, settings: Settings) -> None:
        # One connection each, for as long as the session lasts.
        self._engine = create_engine(settings, pool_size=2, plan_cache_mode="auto")
        engines = RealEngines(
            settings.bootstrap_servers, self._engine, name=process_name(settings.worker_id)
        )
        self._processors = [
            TransactedProcessor(engines, LedgerDecider(ledger_store, settings.partitions)),
        ]
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until `stop`. Raises BrokenInvariantError: the process must not survive it."""
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as group:
            for processor in self._processors:
                group.create_task(processor.run())

    async def stop(self) -> None:
        """Finish what is in hand and give the partitions back."""
        for processor in self._processors:
            processor.stop()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=3)
        await self._engine.dispose()
