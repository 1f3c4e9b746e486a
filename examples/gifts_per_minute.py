"""Gifts from the topics: coins per minute and room, who gives most, what the ledger refused.

Run: python examples/gifts_per_minute.py [ROOM]. Needs aiokafka; any Kafka client will do.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer

KAFKA = os.environ.get("ENGAGEMENT_KAFKA") or "127.0.0.1:19092"
ROOM = sys.argv[1] if len(sys.argv) > 1 else None


async def facts(topic: str) -> AsyncIterator[dict]:
    """All that is on a topic now, each fact once: one that was written twice has one id."""
    seen: set[tuple[str, str]] = set()  # an id is unique within its source (CloudEvents)
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=KAFKA, auto_offset_reset="earliest"
    ) as consumer:
        places = consumer.assignment()
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for fact in map(json.loads, (record.value for record in records)):
                    if (fact["source"], fact["id"]) not in seen:
                        seen.add((fact["source"], fact["id"]))
                        yield fact


async def analyse() -> None:
    minutes, senders, refusals = Counter(), Counter(), Counter()
    async for fact in facts("live.room.v1"):
        if fact["type"] not in ("gift.sent", "gift.reversed") or ROOM not in (None, fact["roomid"]):
            continue
        # `coins` is what this tap added; a reversal takes it back. Sum these, never combo_count.
        coins = fact["data"]["coins"] * (1 if fact["type"] == "gift.sent" else -1)
        minutes[fact["time"][:16], fact["roomid"]] += coins
        senders[fact["actorid"]] += coins
    async for fact in facts("live.ledger.v1"):
        if fact["type"] == "gift.refused":
            refusals[fact["data"]["code"]] += 1
    for (minute, room), coins in sorted(minutes.items()):
        bar = "█" * round(40 * coins / max(1, *minutes.values()))
        print(f"{minute}  {bar} {coins} coins in {room}")
    for sender, coins in senders.most_common(5):
        print(f"{sender} gave {coins} coins")
    print("refused:", ", ".join(f"{count} x {code}" for code, count in refusals.items()) or "none")


asyncio.run(analyse())
