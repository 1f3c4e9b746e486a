"""What the projector lets through from the room topic, and what it sets aside."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from engagement.domain import events
from engagement.domain.events import ROOM_TOPIC, TOPIC_OF_TYPE, Decided
from engagement.domain.media_time import Stamp
from engagement.log.codec import PoisonError, encode_fact
from engagement.log.topics import partition_of
from projections.registry import PROJECTIONS
from projections.room_facts import Batch, FactReader, Span

PARTITIONS = 8
ROOM = "kitchen"
HERE = partition_of(ROOM, PARTITIONS)
FACT_ID = "0192f0c1-7a5b-7cc3-8f0e-0123456789ab"


def value_of(data: Any, kind: str = "comment.posted", **changes: Any) -> bytes:
    decided = Decided(
        kind=kind,
        id=FACT_ID,
        room=ROOM,
        at_us=1_700_000_000_000_001,
        stamp=Stamp(epoch=2, pts_ms=-40, err_ms=3.5, anchor="a"),
        data=data,
        actor="ana",
    )
    event = msgspec.json.decode(encode_fact(decided))
    return msgspec.json.encode({**event, **changes})


def record(value: bytes | None, offset: int = 7, partition: int = HERE) -> Any:
    return SimpleNamespace(
        topic=ROOM_TOPIC, partition=partition, offset=offset, key=b"", value=value
    )


def read(value: bytes | None, partition: int = HERE) -> Any:
    return FactReader(PARTITIONS).read(record(value, partition=partition))


COMMENT = value_of(events.CommentPosted("hi"))


def test_a_fact_keeps_its_place_and_its_bytes() -> None:
    fact = read(COMMENT)
    assert (fact.partition, fact.offset) == (HERE, 7)
    assert fact.event.encode() == COMMENT
    assert (fact.raw.mediaepoch, fact.raw.mediapts) == (2, -40)
    assert fact.at.isoformat() == "2023-11-14T22:13:20.000001+00:00"
    assert fact.data == events.CommentPosted("hi")


SENT = {
    "gift": "rose",
    "name": "Rose",
    "tier": 1,
    "animation": "rose",
    "count": 1,
    "unit_price": 1,
    "coins": 1,
    "earned": 0,
    "to": "ana",
    "transfer": "3-1",
    "session": "s",
}
TAKEN = {
    "request": "g",
    "coins": 1,
    "earned": 0,
    "to": "ana",
    "transfer": "3-2",
    "session": "s",
    "sent": "2024-01-01T00:00:00Z",
    "reason": "",
}


def test_gifts_and_what_was_taken_back_are_let_through() -> None:
    assert read(value_of(SENT, "gift.sent")).data.coins == 1
    assert read(value_of(TAKEN, "gift.reversed")).data.count == 1


POISON = {
    "no value": None,
    "nothing": b"",
    "not JSON": b"\xff\xfe\x00",
    "not an object": b"[1]",
    "an empty object": b"{}",
    "deep": b"[" * 100_000,
    "unknown type": value_of({}, type="no.such"),
    "a type of another topic": value_of({"count": 3}, type="like.tapped"),
    "data of another shape": value_of({"text": 5}),
    "no room": value_of({"text": "x"}, roomid=""),
    "a room that is no id": value_of({"text": "x"}, roomid="a b\x00"),
    "no time": value_of({"text": "x"}, time="yesterday"),
    "a time without a zone": value_of({"text": "x"}, time="2024-01-01T00:00:00"),
    "a time at the end of the calendar": value_of({"text": "x"}, time="9999-12-31T23:59:59-14:00"),
    "an epoch beyond bigint": value_of({"text": "x"}, mediaepoch=2**63),
    "a media time beyond bigint": value_of({"text": "x"}, mediapts=-(2**63) - 1),
    "a window beyond bigint": value_of(events.LikesCounted(2**63, 250, 1, 1, []), "likes.counted"),
    "a count beyond bigint": value_of(
        events.ViewersCounted(1, 250, 2**64 - 1, 1, 0, [], []), "viewers.counted"
    ),
    "NUL in the id": value_of({"text": "x"}, id="a\x00"),
    "NUL in the actor": value_of({"text": "x"}, actorid="\x00"),
    "NUL in a target": value_of({"target": "\x00", "by": "b"}, "comment.removed"),
    "NUL in a session": value_of({"session": "\x00", "reason": ""}, "room.closed"),
    "NUL in who earned a gift": value_of({**SENT, "to": "\x00"}, "gift.sent"),
    "a gift that no ledger counted": value_of({**SENT, "transfer": "3"}, "gift.sent"),
    "a gift that was sent at no time": value_of({**TAKEN, "sent": "then"}, "gift.reversed"),
    "a gift that was sent at no place": value_of(
        {**TAKEN, "sent": "2024-01-01T00:00:00"}, "gift.reversed"
    ),
    "half a surrogate": COMMENT.replace(b'"hi"', b'"\\ud800"'),
    "not UTF-8 where nobody looks": COMMENT[:-1] + b',"more":"\xff"}',
}


@pytest.mark.parametrize("what", POISON)
def test_what_is_no_fact_is_poison_with_a_reason(what: str) -> None:
    with pytest.raises(PoisonError) as poison:
        read(POISON[what])
    assert 0 < len(poison.value.reason) < 600


def test_a_room_in_a_partition_that_is_not_its_own_is_poison() -> None:
    with pytest.raises(PoisonError, match="no room of this partition"):
        read(COMMENT, partition=(HERE + 1) % PARTITIONS)


def test_nul_in_a_text_or_a_title_is_let_through() -> None:
    assert read(value_of(events.CommentPosted("a\x00b"))).data.text == "a\x00b"
    opened = events.RoomOpened("a\x00b", "ana", "s")
    assert read(value_of(opened, "room.opened")).data.title == "a\x00b"


def test_attributes_that_we_do_not_know_are_let_through() -> None:
    """Within a version changes are additive."""
    assert read(value_of({"text": "x", "new": 1}, newattribute="y")).data.text == "x"


def test_every_type_of_the_room_topic_goes_to_the_timeline() -> None:
    timeline = PROJECTIONS[0]
    room_types = {kind for kind, topic in TOPIC_OF_TYPE.items() if topic == ROOM_TOPIC}
    assert room_types <= timeline.types


def test_a_batch_moves_positions_over_poison_and_gaps() -> None:
    batch = Batch(PROJECTIONS)
    records = [record(COMMENT, 10), record(b"poison", 12), record(COMMENT, 15)]
    batch.fold(records, FactReader(PARTITIONS), {HERE: 9})
    assert batch.spans == {HERE: Span(9, 16)}
    assert batch.facts == 2
    assert [poison.record.offset for poison in batch.poison] == [12]
