"""What somebody else has written among our facts."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.log.codec import PoisonError, decode_fact
from engagement.processors.fact_headers import writer_of


async def facts_of_others(
    bootstrap: str, topic: str, partition: int, first: int, last: int, life: bytes
) -> int:
    """How many records from `first` to `last` are facts that this life of ours did not write."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=100)
    await consumer.start()
    foreign = 0
    try:
        at = TopicPartition(topic, partition)
        consumer.assign([at])
        consumer.seek(at, first)
        while await consumer.position(at) <= last:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    foreign += record.offset <= last and _is_foreign_fact(record, life)
            await asyncio.sleep(0)
    finally:
        await consumer.stop()
    return foreign


def _is_foreign_fact(record: Any, life: bytes) -> bool:
    if writer_of(record.headers) == life:
        return False
    try:
        decode_fact(record.value)
    except PoisonError:
        return False
    return True
