"""A crowd hears from the log what became of comments that were acknowledged and never shown."""

import uuid
from typing import Any

from engagement.crowd.fates import Fates
from engagement.domain.events import (
    ACTIVITY_TOPIC,
    CommentHeld,
    Decided,
    LikeTapped,
    RequestRefused,
)
from engagement.domain.rooms import NO_STAMP
from engagement.log.codec import encode_fact
from engagement.log.topics import partition_of
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from tests.conftest import free_ports


def fact(room: str, kind: str, data: Any, fact_id: str = "") -> bytes:
    made = fact_id or str(uuid.uuid4())
    return encode_fact(Decided(kind, made, room, 1, NO_STAMP, data, actor="ana"))


def refused(room: str, request: str, code: str) -> bytes:
    return fact(room, "request.refused", RequestRefused(request, "comment.post", code, ""))


async def test_refused_and_held_comments_are_told_apart_from_lost_ones(
    engines: Settings, room: str
) -> None:
    writer = LogWriter(engines.bootstrap_servers, client_id="tests")
    await writer.start()
    partition = partition_of(room, engines.partitions)

    async def tell(*values: bytes) -> None:
        for value in values:
            writer.append(ACTIVITY_TOPIC, partition, room.encode(), value)
        await writer.acknowledged(ACTIVITY_TOPIC, partition)

    await tell(refused(room, "before", "moderated"))
    fates = Fates(engines, room)
    await fates.begin()
    await tell(
        refused(room, "bad", "moderated"),
        refused(room, "somebody else's", "muted"),
        refused("another-room", "lost", "muted"),
        fact(room, "comment.held", CommentHeld("hm", "word_held"), "doubtful"),
        fact(room, "like.tapped", LikeTapped(1), "lost"),
        b"poison",
    )
    await writer.stop()
    told = await fates.of({"before", "bad", "doubtful", "lost"})
    assert told == {"bad": "moderated", "doubtful": "held"}
    assert await fates.of(set()) == {}


async def test_without_a_log_nothing_is_known_and_nobody_waits(room: str) -> None:
    [port] = free_ports(1)
    fates = Fates(Settings(kafka=f"127.0.0.1:{port}"), room)
    await fates.begin()
    assert await fates.of({"anything"}) == {}
