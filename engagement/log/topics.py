"""The one table of topics: name, key, retention, cleanup; and which partition a room lives in."""

from dataclasses import dataclass
from typing import Final

from aiokafka.partitioner import murmur2

from engagement.domain.events import (
    ACTIVITY_TOPIC,
    BATTLE_TOPIC,
    CATALOGUE_TOPIC,
    CLOCK_TOPIC,
    LEDGER_TOPIC,
    ROOM_TOPIC,
)

_DAY_MS: Final = 24 * 3600 * 1000

REQUESTS_TOPIC: Final = "live.requests.v1"
GIFT_REQUESTS_TOPIC: Final = "live.gift-requests.v1"
BATTLE_REQUESTS_TOPIC: Final = "live.battle-requests.v1"
ROOM_STATE_TOPIC: Final = "live.room-state.v1"
DEAD_LETTER_TOPIC: Final = "live.dead-letter.v1"


@dataclass(frozen=True)
class Topic:
    """One topic as it should be; `doctor` compares, `engagement topics` creates."""

    name: str
    key: str
    """What the record key names."""
    holds: str
    retention_ms: int
    """-1 keeps for ever. A compacted topic keeps all records this long, and the newest of each key
    for ever: an epoch's number must not come again because its room slept for a month."""
    compacted: bool = False
    co_partitioned: bool = True
    """Has as many partitions as the requests topic, and rooms fall into the same ones."""

    def config(self) -> dict[str, str]:
        """Broker-side topic configuration."""
        config = {"retention.ms": str(self.retention_ms), "max.message.bytes": "1048588"}
        if self.compacted and self.retention_ms >= 0:
            config["cleanup.policy"] = "compact"
            config["retention.ms"] = "-1"
            config["min.compaction.lag.ms"] = str(self.retention_ms)
        elif self.compacted:
            config["cleanup.policy"] = "compact"
            config["segment.ms"] = str(3600 * 1000)
        return config


TOPICS: Final = (
    Topic(REQUESTS_TOPIC, "gateway", "envelopes of validated requests (internal)", 3 * _DAY_MS),
    Topic(CLOCK_TOPIC, "room", "media-clock anchors and epochs", 30 * _DAY_MS, compacted=True),
    Topic(ROOM_TOPIC, "room", "the room's facts, stamped: the timeline", -1),
    Topic(ACTIVITY_TOPIC, "room", "single joins, leaves, likes and refusals", 7 * _DAY_MS),
    Topic(
        ROOM_STATE_TOPIC,
        "room, or partition marker",
        "checkpoints of room state (internal)",
        -1,
        compacted=True,
    ),
    Topic(
        GIFT_REQUESTS_TOPIC,
        "gateway",
        "envelopes of requests about money, partitioned by account (internal): the ledger's source",
        -1,
    ),
    Topic(LEDGER_TOPIC, "account", "transfers, holds and refusals", -1),
    Topic(CATALOGUE_TOPIC, "gift", "what gifts cost and look like", -1, compacted=True),
    Topic(
        BATTLE_REQUESTS_TOPIC,
        "battle",
        "envelopes of requests about battles, contributions and timers (internal)",
        30 * _DAY_MS,
    ),
    Topic(BATTLE_TOPIC, "battle", "battle facts with their revision", -1),
    Topic(
        DEAD_LETTER_TOPIC,
        "as in the source",
        "what could not be decoded or applied, with reason and position",
        28 * _DAY_MS,
        co_partitioned=False,
    ),
)


def partition_of(key: str, partitions: int) -> int:
    """The partition of a room, an account or a battle: Kafka's default partitioner, so that any
    client finds it by key."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
