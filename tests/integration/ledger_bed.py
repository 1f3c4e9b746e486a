"""Engines of our own with workers on them: a whole ledger to be killed and tampered with."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.commands.migrate import upgrade_to_head
from engagement.database.embedded import EmbeddedPostgres, ensure_database
from engagement.domain import limits
from engagement.log import admin
from engagement.log.embedded import EmbeddedKafka
from engagement.log.reader import LogReader
from engagement.log.topics import GIFT_REQUESTS_TOPIC
from engagement.settings import Settings
from engagement.verification.ledger import Verified, verify_ledger
from tests.conftest import free_ports, open_directory
from tests.integration.room_workers import Workers
from tests.waiting import until


class LedgerBed:
    """Kafka, PostgreSQL and workers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kafka = EmbeddedKafka(settings)
        self.postgres = EmbeddedPostgres(settings)
        self.workers = Workers(settings)

    async def start(self) -> None:
        """Topics created, schema at head."""
        self.kafka.start()
        self.postgres.start()
        await admin.wait_for_broker(self.settings.bootstrap_servers)
        await admin.create_topics(self.settings)
        await asyncio.to_thread(ensure_database, self.settings)
        await asyncio.to_thread(upgrade_to_head, self.settings)

    def stop(self) -> None:
        """Leave nothing behind."""
        self.workers.stop_all()
        self.kafka.stop()
        self.postgres.stop()

    async def all_is_decided(self, database: AsyncEngine) -> None:
        """Wait until the ledger has decided all that is on the log now, and told it."""
        async with LogReader(self.settings.bootstrap_servers, GIFT_REQUESTS_TOPIC) as reader:
            ends = await reader.ends(await reader.partitions())

        async def decided() -> bool:
            positions = text("""
                SELECT "partition", next_offset FROM decider_positions WHERE topic = :topic
            """)
            async with database.connect() as connection:
                found = await connection.execute(positions, {"topic": GIFT_REQUESTS_TOPIC})
                at = {row.partition: row.next_offset for row in found}
            return all(at.get(partition, 0) >= end for partition, end in ends.items())

        await until(decided, "everything asked is decided", within_s=60)

    async def verify(self, database: AsyncEngine) -> Verified:
        """What `engagement verify ledger` finds; a worker that has just started gets its time."""
        with patch.object(limits, "VERIFY_WAIT_S", 60.0):
            return await verify_ledger(
                database, self.settings.bootstrap_servers, lambda done, total: None
            )


@contextmanager
def running_bed() -> Iterator[LedgerBed]:
    """A bed in a directory and on ports of its own."""
    root = open_directory()
    kafka_port, _, database_port, port, media_port = free_ports(5)
    settings = Settings(
        data_dir=root,
        kafka_port=kafka_port,
        database_port=database_port,
        port=port,
        media_port=media_port,
        auth="dev",
    )
    bed = LedgerBed(settings)
    try:
        asyncio.run(bed.start())
        yield bed
    finally:
        bed.stop()
        shutil.rmtree(root, ignore_errors=True)
