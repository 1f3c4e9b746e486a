"""The log writer on a real broker: order, acknowledgements, and a broker that is killed."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement.domain import limits
from engagement.errors import TooLargeError, UnavailableError
from engagement.log import admin
from engagement.log.embedded import EmbeddedKafka
from engagement.log.writer import RECORD_OVERHEAD_BYTES, LogWriter
from engagement.settings import Settings
from tests.conftest import free_ports
from tests.integration.log_reader import LogReader, new_topic

pytestmark = pytest.mark.engines

PARTITIONS = 3


@pytest.fixture
async def topic(engines: Settings) -> str:
    return await new_topic(engines, f"test.writer.{uuid.uuid4().hex[:8]}", PARTITIONS)


@pytest.fixture
async def writer(engines: Settings) -> AsyncIterator[LogWriter]:
    writer = LogWriter(engines.bootstrap_servers, client_id="test")
    await writer.start()
    yield writer
    await writer.stop()


async def values(settings: Settings, topic: str) -> dict[int, list[bytes]]:
    """What is on the log, by partition."""
    async with LogReader(settings, [topic], PARTITIONS) as reader:
        found: dict[int, list[bytes]] = {partition: [] for partition in range(PARTITIONS)}
        for record in await reader.to_the_end():
            found[record.partition].append(record.value)
    return found


async def test_records_are_on_the_log_in_the_order_in_which_they_were_appended(
    engines: Settings, topic: str, writer: LogWriter
) -> None:
    appended: dict[int, list[bytes]] = {partition: [] for partition in range(PARTITIONS)}
    for number in range(6_000):
        partition, value = number % PARTITIONS, b"%06d" % number * (number % 200)
        writer.append(topic, partition, b"key", value)
        appended[partition].append(value)
        if number % 500 == 0:
            await asyncio.sleep(0)
    assert writer.pending_bytes() > 0
    for partition in range(PARTITIONS):
        assert await writer.acknowledged(topic, partition) == 1_999
    assert writer.pending_bytes() == 0
    assert await values(engines, topic) == appended


async def test_an_acknowledgement_names_the_last_record_before_it_was_asked_for(
    topic: str, writer: LogWriter
) -> None:
    """It named the last of the batch: a checkpoint then claimed facts that it did not hold."""
    writer.append(topic, 0, None, b"first")
    first = writer.acknowledged(topic, 0)
    for _ in range(5):
        writer.append(topic, 0, None, b"later")
    assert (await first, await writer.acknowledged(topic, 0)) == (0, 5)
    assert await writer.acknowledged(topic, 0) == 5
    assert await writer.acknowledged(topic, 1) == -1


async def test_a_cancelled_acknowledgement_cancels_nobody_elses(
    topic: str, writer: LogWriter
) -> None:
    writer.append(topic, 0, None, b"value")
    impatient, patient = writer.acknowledged(topic, 0), writer.acknowledged(topic, 0)
    impatient.cancel()
    assert await patient == 0


async def test_headers_keys_and_tombstones_arrive(
    engines: Settings, topic: str, writer: LogWriter
) -> None:
    writer.append(topic, 0, b"key", None, (("name", b"content"),))
    await writer.acknowledged(topic, 0)
    async with LogReader(engines, [topic], PARTITIONS) as reader:
        [record] = await reader.to_the_end()
    assert (record.key, record.value, record.headers) == (b"key", None, (("name", b"content"),))
    assert abs(record.timestamp / 1000 - time.time()) < 60


async def test_a_record_that_no_broker_takes_is_refused_and_the_largest_one_is_taken(
    topic: str, writer: LogWriter
) -> None:
    largest = limits.RECORD_BYTES_MAX - RECORD_OVERHEAD_BYTES
    with pytest.raises(TooLargeError):
        writer.append(topic, 0, None, b"x" * (largest + 1))
    with pytest.raises(TooLargeError):
        writer.append(topic, 0, b"key", b"x" * largest)
    with pytest.raises(TooLargeError):
        writer.append(topic, 0, None, b"x" * largest, (("name", b"content"),))
    writer.append(topic, 0, None, b"x" * largest)
    assert await writer.acknowledged(topic, 0) == 0


async def test_a_send_that_fails_fails_all_that_waits_and_the_writer_recovers(
    topic: str, writer: LogWriter
) -> None:
    writer.append(topic, 0, None, b"fine")
    assert await writer.acknowledged(topic, 0) == 0
    writer.append(topic, 99, None, b"there is no such partition")
    writer.append(topic, 1, None, b"its neighbour")
    waiting = [writer.acknowledged(topic, 99), writer.acknowledged(topic, 1)]
    for future in waiting:
        with pytest.raises(UnavailableError):
            await future
    with pytest.raises(UnavailableError):
        await writer.acknowledged(topic, 99)
    assert writer.pending_bytes() == 0
    async with asyncio.timeout(20):
        while True:
            try:
                writer.append(topic, 2, None, b"again")
                break
            except UnavailableError:
                await asyncio.sleep(0.01)
    assert await writer.acknowledged(topic, 2) == 0
    assert await writer.acknowledged(topic, 0) == 0


async def test_stopping_sends_what_is_pending(engines: Settings, topic: str) -> None:
    writer = LogWriter(engines.bootstrap_servers, client_id="test")
    await writer.start()
    for number in range(1_000):
        writer.append(topic, 0, None, b"%d" % number)
    await writer.stop()
    assert len((await values(engines, topic))[0]) == 1_000


async def test_a_broker_that_is_killed_makes_records_late_but_neither_lost_nor_doubled(
    tmp_path: Path,
) -> None:
    # A broker of this test's own, to be killed.
    settings = Settings(data_dir=tmp_path, kafka_port=free_ports(2)[0])
    broker = EmbeddedKafka(settings)
    broker.start()
    try:
        await admin.wait_for_broker(settings.bootstrap_servers)
        topic = await new_topic(settings, "test.killed", PARTITIONS)
        writer = LogWriter(settings.bootstrap_servers, client_id="test")
        await writer.start()
        appended = 0
        for _ in range(2):
            for number in range(400):
                writer.append(topic, appended % PARTITIONS, None, b"%d" % appended)
                appended += 1
                if number == 200:
                    broker.kill()
                await asyncio.sleep(0.001)
            assert writer.pending_bytes() > 0
            broker.start()
            async with asyncio.timeout(60):
                for partition in range(PARTITIONS):
                    await writer.acknowledged(topic, partition)
        found = await values(settings, topic)
        assert found == {
            partition: [b"%d" % n for n in range(partition, appended, PARTITIONS)]
            for partition in range(PARTITIONS)
        }
        broker.kill()
        writer.append(topic, 0, None, b"nobody is there")
        waiting = writer.acknowledged(topic, 0)
        began_s = time.monotonic()
        await writer.stop()
        assert time.monotonic() - began_s < 5
        with pytest.raises(UnavailableError):
            await waiting
    finally:
        broker.stop()
