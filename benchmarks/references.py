"""What the same machine does at the same moment without us: the other side of every ratio."""

import asyncio
import time

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec import Struct

HOP_TOPIC = "live.dead-letter.v1"
"""Any topic of ours will do: nothing is left in it that anybody reads."""
VALUE = b"x" * 550
COPY_ROWS = 4_000
"""Rows of one COPY: the projector's batch."""


class Hop(Struct):
    """A bare Kafka hop, ms."""

    ack_p50_ms: float
    consumed_p50_ms: float
    consumed_p99_ms: float
    """From the acknowledgement to a waiting consumer having it."""


async def kafka_hop(bootstrap: str, rate: float, seconds: float) -> Hop:
    """Produce with acks=all at this rate and consume, with aiokafka, nothing of ours between."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, fetch_max_wait_ms=100, fetch_min_bytes=1
    )
    await producer.start()
    await consumer.start()
    place = TopicPartition(HOP_TOPIC, 0)
    consumer.assign([place])
    await consumer.seek_to_end(place)
    first = await consumer.position(place)
    count = int(rate * seconds)
    acked, consumed, sent = [0.0] * count, [0.0] * count, [0.0] * count

    async def send(number: int) -> None:
        sent[number] = time.perf_counter()
        await producer.send_and_wait(HOP_TOPIC, b"%d " % number + VALUE, partition=0)
        acked[number] = time.perf_counter()

    async def receive() -> None:
        left = count
        while left:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                now = time.perf_counter()
                for record in records:
                    if record.offset >= first:
                        consumed[int(record.value.partition(b" ")[0])] = now
                        left -= 1

    try:
        receiving = asyncio.create_task(receive())
        began, sends = time.perf_counter(), []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            sends.append(asyncio.create_task(send(number)))
        await asyncio.gather(*sends)
        await asyncio.wait_for(receiving, 10)
    finally:
        await consumer.stop()
        await producer.stop()
    waits = sorted(1000 * (c - a) for c, a in zip(consumed, acked, strict=True))
    acks = sorted(1000 * (a - s) for a, s in zip(acked, sent, strict=True))
    return Hop(acks[count // 2], waits[count // 2], waits[int(count * 0.99)])


async def copy_rows_per_s(dsn: str, rows: int) -> float:
    """Plain COPY of rows as large as a timeline row into a table without an index."""
    connection = await asyncpg.connect(dsn)
    batch = [(number, "room", VALUE.decode()) for number in range(COPY_ROWS)]
    try:
        await connection.execute("CREATE TEMP TABLE plain (n bigint, room text, event text)")
        began = time.perf_counter()
        for _ in range(max(1, rows // COPY_ROWS)):
            async with connection.transaction():
                await connection.copy_records_to_table("plain", records=batch)
        return max(1, rows // COPY_ROWS) * COPY_ROWS / (time.perf_counter() - began)
    finally:
        await connection.close()
