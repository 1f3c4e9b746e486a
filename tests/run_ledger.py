"""The ledger's loop as a process of its own, for tests that kill it and put it to sleep."""

import asyncio
import signal

import uvloop

from engagement.database import ledger_store
from engagement.database.connection import BY_KEY, create_engine
from engagement.observability import configure_logging
from engagement.processors.ledger_processor import LedgerDecider
from engagement.processors.real_engines import RealEngines, process_name
from engagement.processors.transacted import TransactedProcessor
from engagement.settings import settings


async def main() -> None:
    """Until SIGTERM."""
    known = settings()
    configure_logging(known, f"ledger-{known.worker_id}")
    engine = create_engine(known, pool_size=1, **BY_KEY)
    engines = RealEngines(known.bootstrap_servers, engine, name=process_name(known.worker_id))
    processor = TransactedProcessor(engines, LedgerDecider(ledger_store, known.partitions))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, processor.stop)
    await processor.run()
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(main())
