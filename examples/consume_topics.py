"""Analytics from the topic: what happens, who talks. Run: python examples/consume_topics.py [ROOM]

Needs aiokafka; any Kafka client will do. A record is one CloudEvent in JSON, its key is the room.
"""

import asyncio
import json
import os
import sys
from collections import Counter

from aiokafka import AIOKafkaConsumer

KAFKA = os.environ.get("ENGAGEMENT_KAFKA") or "127.0.0.1:19092"
TOPIC = "live.room.v1"
ROOM = sys.argv[1] if len(sys.argv) > 1 else None


async def consume() -> None:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=KAFKA, auto_offset_reset="earliest")
    await consumer.start()
    types: Counter[str] = Counter()
    talkers: Counter[tuple[str, str]] = Counter()
    seen: set[str] = set()
    try:
        places = consumer.assignment()  # without a group: all partitions
        ends = await consumer.end_offsets(places)  # up to what is there now
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    event = json.loads(record.value)
                    if ROOM not in (None, event["roomid"]):
                        continue
                    if event["id"] in seen:  # written twice after a crash: same id, one event
                        continue
                    seen.add(event["id"])
                    types[event["type"]] += 1
                    if event["type"] == "comment.posted":
                        talkers[event["roomid"], event["actorid"]] += 1
    finally:
        await consumer.stop()
    for kind, count in types.most_common():
        print(f"{count:8} {kind}")
    for (room, actor), count in talkers.most_common(5):
        print(f"{actor} said {count} things in {room}")


asyncio.run(consume())
