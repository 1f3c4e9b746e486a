"""The embedded broker: what it was given survives it, and nobody takes it for another's."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement import child_process
from engagement.errors import ConflictError
from engagement.log import admin, kafka_training
from engagement.log.embedded import EmbeddedKafka
from engagement.log.kafka_jars import find_jars
from engagement.log.topics import ROOM_TOPIC
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from tests.conftest import free_ports
from tests.integration.log_reader import LogReader

pytestmark = pytest.mark.engines


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, kafka_port=free_ports(2)[0], partitions=2)


@pytest.fixture
def kafka(settings: Settings) -> Iterator[EmbeddedKafka]:
    broker = EmbeddedKafka(settings)
    yield broker
    broker.stop()


async def write(settings: Settings, value: bytes) -> None:
    await admin.wait_for_broker(settings.bootstrap_servers)
    await admin.create_topics(settings)
    writer = LogWriter(settings.bootstrap_servers, client_id="test")
    await writer.start()
    writer.append(ROOM_TOPIC, 0, b"room", value)
    await writer.acknowledged(ROOM_TOPIC, 0)
    await writer.stop()


async def values(settings: Settings) -> list[bytes]:
    await admin.wait_for_broker(settings.bootstrap_servers)
    async with LogReader(settings, [ROOM_TOPIC], settings.partitions) as reader:
        return [record.value for record in await reader.to_the_end()]


async def test_what_was_acknowledged_survives_a_kill_and_a_stop(
    settings: Settings, kafka: EmbeddedKafka
) -> None:
    kafka.start()
    await write(settings, b"one")
    kafka.kill()
    kafka.start()
    assert await values(settings) == [b"one"]
    await write(settings, b"two")
    kafka.stop()
    kafka.start()
    assert await values(settings) == [b"one", b"two"]


async def test_a_second_broker_of_the_same_directory_is_refused_and_harms_nothing(
    settings: Settings, kafka: EmbeddedKafka
) -> None:
    kafka.start()
    await write(settings, b"one")
    with pytest.raises(ConflictError, match=f"pid {os.getpid()}") as refused:
        EmbeddedKafka(settings).start()
    assert refused.value.code == "data_dir_in_use"
    assert await values(settings) == [b"one"]


def test_a_port_that_somebody_has_is_told_at_once(settings: Settings, kafka: EmbeddedKafka) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.kafka_port)),
        pytest.raises(ConflictError, match="ENGAGEMENT_KAFKA_PORT"),
    ):
        kafka.start()


OWNER = """
import sys, time
from pathlib import Path
from engagement.log.embedded import EmbeddedKafka
from engagement.settings import Settings
from engagement import child_process
if sys.argv[3] == "orphans":
    child_process.die_with_parent = lambda *_: None
kafka = EmbeddedKafka(Settings(data_dir=Path(sys.argv[1]), kafka_port=int(sys.argv[2])))
print(kafka.start().pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("leaves", ["nothing", "orphans"])
async def test_a_killed_owner_blocks_nobody(
    settings: Settings, kafka: EmbeddedKafka, leaves: str
) -> None:
    """On Linux its broker dies with it; elsewhere the next owner ends what is left."""
    owner = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        [sys.executable, "-c", OWNER, settings.data_dir, str(settings.kafka_port), leaves],
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    left = int(await asyncio.to_thread(owner.stdout.readline))
    await write(settings, b"one")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    died = child_process.wait_until(lambda: not child_process.command_of(left), 2)
    assert died == (leaves == "nothing")
    kafka.start()
    assert await values(settings) == [b"one"]
    assert not child_process.command_of(left)


async def test_it_runs_from_a_directory_of_jars_without_a_network(
    settings: Settings, tmp_path: Path
) -> None:
    offline = tmp_path / "jars"
    offline.mkdir()
    for jar in find_jars(settings):
        (offline / jar.name).symlink_to(jar)
    kafka = EmbeddedKafka(
        settings.model_copy(update={"kafka_jars_dir": offline, "cache_dir": tmp_path / "cache"})
    )
    (tmp_path / "cache").mkdir()
    try:
        kafka.start()
        await write(settings, b"one")
        assert await values(settings) == [b"one"]
        assert not list((tmp_path / "cache").glob("kafka-4*"))
    finally:
        kafka.stop()


def test_a_training_that_fails_is_not_repeated_and_stops_nobody(
    settings: Settings, tmp_path: Path
) -> None:
    tried: list[Path] = []

    def fails(_settings: Settings, draft: Path) -> EmbeddedKafka:
        tried.append(draft)
        raise OSError("no space left on device")

    own = settings.model_copy(update={"cache_dir": tmp_path / "cache"})
    cache = kafka_training.cache_file(own, ["-Xmx256m"], [])
    for _ in range(2):
        kafka_training.ensure_trained(own, cache, lambda *_: None, fails)
    assert len(tried) == 1
    assert not cache.exists()
