"""Real engines for the tests: one Kafka and one PostgreSQL for the whole run, on free ports."""

import asyncio
import os
import random
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engagement.database.embedded import EmbeddedPostgres, ensure_database
from engagement.log import admin
from engagement.log.embedded import EmbeddedKafka
from engagement.settings import Settings

if TYPE_CHECKING:
    from tests.faults.instance import Instance

FIRST_PORT = 15_000
LAST_PORT = 31_000
"""Below the ephemeral range: a client's own port must never be taken for a server's."""


def free_ports(count: int) -> list[int]:
    """So many consecutive ports that nobody listens on."""
    while True:
        first = random.randrange(FIRST_PORT, LAST_PORT, 10)
        sockets = []
        try:
            for port in range(first, first + count):
                probe = socket.socket()
                sockets.append(probe)
                probe.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()


def open_directory() -> Path:
    """A temporary directory that PostgreSQL can walk into when the tests run as root.

    Not pytest's own: it closes that to others whenever another run begins.
    """
    directory = Path(tempfile.mkdtemp(prefix="engagement-tests-"))
    directory.chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def engines() -> Iterator[Settings]:
    """Settings of a running broker and database: topics created, schema at head."""
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
    kafka, postgres = EmbeddedKafka(settings), EmbeddedPostgres(settings)
    kafka.start()
    postgres.start()
    try:
        asyncio.run(_ready(settings))
        yield settings
    finally:
        kafka.stop()
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)


async def _ready(settings: Settings) -> None:
    from engagement.commands.migrate import upgrade_to_head

    await admin.wait_for_broker(settings.bootstrap_servers)
    await admin.create_topics(settings)
    await asyncio.to_thread(ensure_database, settings)
    await asyncio.to_thread(upgrade_to_head, settings)


@pytest.fixture
def room() -> str:
    """A room that no other test knows."""
    return f"room-{uuid.uuid4().hex[:12]}"


def process_environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment that gives a child process these settings."""
    return {
        **os.environ,
        "ENGAGEMENT_DATA_DIR": str(settings.data_dir),
        "ENGAGEMENT_KAFKA_PORT": str(settings.kafka_port),
        "ENGAGEMENT_DATABASE_PORT": str(settings.database_port),
        "ENGAGEMENT_PORT": str(settings.port),
        "ENGAGEMENT_MEDIA_PORT": str(settings.media_port),
        "ENGAGEMENT_MEDIA_RTMP_PORT": "0",
        "ENGAGEMENT_MEDIA_SRT_PORT": "0",
        "ENGAGEMENT_AUTH": settings.auth,
        "ENGAGEMENT_WORKER_ID": settings.worker_id,
        "PYTHONPATH": str(Path(__file__).parent.parent),
        **more,
    }


@pytest.fixture(scope="session")
def instance() -> Iterator["Instance"]:
    """A whole running instance, as `engagement up` starts it: one gateway, two workers."""
    from tests.faults.instance import Instance, Ports

    root = open_directory()
    first, media, kafka, _, database = free_ports(5)
    running = Instance(root, Ports(gateway=first, media=media, kafka=kafka, database=database))
    asyncio.run(running.start(1))
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(root, ignore_errors=True)
