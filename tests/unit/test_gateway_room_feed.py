"""What the tail brings: folded, fanned out once, and poison passed over."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from engagement.domain.limits import TAIL_FACT_BYTES_MAX
from engagement.gateway.hub import Hub
from engagement.gateway.room_directory import RoomDirectory
from engagement.gateway.room_feed import Refusal, RoomFeed
from tests.unit.gateway_parts import FakeViewer, fact_bytes, open_room


@dataclass
class Record:
    offset: int
    value: bytes | None


class Feed:
    """A feed of one partition and what it feeds."""

    def __init__(self) -> None:
        self.hub = Hub(0.001, asyncio.get_running_loop())
        self.hub.begin(0, 0)
        self.directory = RoomDirectory()
        self.feed = RoomFeed(self.hub, self.directory, 1)
        self.next = 0
        self.viewer = FakeViewer()
        self.hub.attach(self.hub.channel("kitchen", 0), self.viewer)

    def room(self, *values: bytes | None) -> None:
        records = [Record(self.next + number, value) for number, value in enumerate(values)]
        self.next += len(values)
        self.feed.handle_room(0, records)

    def activity(self, *values: bytes | None) -> None:
        self.feed.handle_activity(0, [Record(n, value) for n, value in enumerate(values)])


@pytest.fixture
async def feed() -> Feed:
    return Feed()


def opened(room: str = "kitchen", host: str = "ana", **more: Any) -> bytes:
    data = {"title": "Cooking", "host": host, "session": "s"}
    return fact_bytes(room, "room.opened", data, **more)


async def test_a_fact_reaches_viewers_as_the_bytes_that_were_recorded(feed: Feed) -> None:
    value = fact_bytes("kitchen", data={"text": "grüße 🎉"})
    feed.room(value)
    assert value in feed.viewer.raw[0]


async def test_a_fact_that_was_written_twice_reaches_viewers_once(feed: Feed) -> None:
    value = fact_bytes("kitchen", fact_id="twice")
    feed.room(value, value)
    feed.room(value)
    assert feed.viewer.event_ids == ["twice"]


async def test_facts_open_close_and_count_rooms(feed: Feed) -> None:
    counted = {
        "window": 9,
        "window_ms": 250,
        "online": 41,
        "joined": 41,
        "left": 0,
        "notable": [],
        "sample": [],
    }
    feed.room(opened(), fact_bytes("kitchen", "viewers.counted", counted))
    state = feed.directory.known("kitchen")
    assert state is not None
    assert (state.status, state.host, state.online) == ("open", "ana", 41)
    feed.room(fact_bytes("kitchen", "room.closed", {"session": "s", "reason": "closed"}))
    assert state.status == "closed"


async def test_listeners_hear_of_bans_and_openings(feed: Feed) -> None:
    heard: list[tuple[str, ...]] = []
    feed.feed.banned = lambda room, actor: heard.append(("banned", room, actor))
    feed.feed.opened = lambda room: heard.append(("opened", room))
    feed.room(opened(), fact_bytes("kitchen", "viewer.banned", {"target": "troll", "by": "ana"}))
    assert heard == [("opened", "kitchen"), ("banned", "kitchen", "troll")]


async def test_a_removed_comment_is_in_no_snapshot(feed: Feed) -> None:
    stays, goes = str(uuid.uuid4()), str(uuid.uuid4())
    feed.room(fact_bytes("kitchen", fact_id=stays), fact_bytes("kitchen", fact_id=goes))
    feed.room(fact_bytes("kitchen", "comment.removed", {"target": goes, "by": "ana"}))
    snapshot = feed.hub.snapshot_comments(feed.hub.channel("kitchen", 0))
    assert [msgspec.json.decode(raw)["id"] for raw in snapshot] == [stays]


POISON: dict[str, bytes | None] = {
    "tombstone": None,
    "empty": b"",
    "words": b"hello",
    "number": b"7",
    "list": b"[]",
    "empty object": b"{}",
    "not UTF-8": fact_bytes("kitchen").replace(b"hello", b"h\xffllo"),
    "deep": b'{"id":' + b"[" * 100_000,
    "cut": fact_bytes("kitchen")[:-5],
    "huge": fact_bytes("kitchen", data={"text": "x" * TAIL_FACT_BYTES_MAX}),
    "id is a number": fact_bytes("kitchen").replace(b'"id":"', b'"id":7,"x":"'),
    "room is none": fact_bytes("a room with spaces"),
    "room opened without data": fact_bytes("kitchen", "room.opened", {}),
    "room opened with a list": fact_bytes("kitchen", "room.opened", []),
    "removed without target": fact_bytes("kitchen", "comment.removed", {"by": "ana"}),
    "removed with a list": fact_bytes("kitchen", "comment.removed", [1]),
    "muted until never": fact_bytes(
        "kitchen", "viewer.muted", {"target": "ben", "by": "ana", "until": "never"}
    ),
    "muted until a time without a zone": fact_bytes(
        "kitchen", "viewer.muted", {"target": "b", "by": "a", "until": "2026-01-01T00:00:00"}
    ),
    "time is a word": fact_bytes("kitchen").replace(b"2023-", b"x023-"),
}


@pytest.mark.parametrize("value", POISON.values(), ids=POISON.keys())
async def test_poison_is_passed_over_and_the_next_fact_is_not(
    feed: Feed, value: bytes | None
) -> None:
    feed.room(value, fact_bytes("kitchen", fact_id="good"))
    assert feed.viewer.event_ids == ["good"]
    assert feed.hub.next_offsets[0] == 2


async def test_a_fact_in_the_wrong_partition_is_poison() -> None:
    hub = Hub(0.001, asyncio.get_running_loop())
    feed = RoomFeed(hub, RoomDirectory(), 8)
    home = hub.channel("kitchen", 3)
    feed.handle_room(4, [Record(0, fact_bytes("kitchen"))])
    assert not home.ring


async def test_what_the_checkpoint_holds_is_kept_for_resume_but_not_folded(feed: Feed) -> None:
    feed.directory.restore(open_room("kitchen", host="now"))
    feed.directory.restore(open_room("garden", host="now"))
    feed.feed.fold_from({0: 1}, {"kitchen": 2})
    feed.room(opened("garden", "then"), opened("kitchen", "then"), opened("garden", "later"))
    assert feed.directory.rooms["kitchen"].host == "now"
    assert feed.directory.rooms["garden"].host == "later"
    assert len(feed.hub.channel("kitchen", 0).ring) == 1


async def test_refusals_are_told_and_nothing_else_of_the_activity(feed: Feed) -> None:
    told: list[Refusal] = []
    feed.feed.refused = told.append
    data = {"request": "r", "request_type": "comment.post", "code": "muted", "session": "g/1"}
    feed.activity(
        None,
        b"poison",
        b'"type":"request.refused"',
        fact_bytes("kitchen", "like.tapped", {"count": 1}),
        fact_bytes("kitchen", "comment.held", {"text": '"type":"request.refused"', "reason": ""}),
        fact_bytes("kitchen", "request.refused", {"code": 7}),
        fact_bytes("kitchen", "request.refused", data),
    )
    assert told == [Refusal("kitchen", "ben", "r", "comment.post", "muted", "g/1")]


async def test_a_comment_that_is_held_is_told_once_with_its_room(feed: Feed) -> None:
    told: list[tuple[str, bytes]] = []
    feed.feed.held = lambda room, value: told.append((room, value))
    held = fact_bytes("kitchen", "comment.held", {"text": "ö", "reason": "word"}, "h1")
    feed.activity(
        held,
        held,
        fact_bytes("kitchen", "comment.held", {"text": 7, "reason": ""}),
        held.replace("ö".encode(), b"\xff").replace(b"h1", b"h2"),
        held.replace(b"word", b"w" * TAIL_FACT_BYTES_MAX).replace(b"h1", b"h3"),
    )
    assert told == [("kitchen", held)]


async def test_a_paid_gift_is_told_when_it_is_folded(feed: Feed) -> None:
    told: list[str] = []
    feed.feed.gift_sent = lambda fact: told.append(str(fact.cause))
    gift = {
        "gift": "rose", "name": "Rose", "tier": 1, "animation": "rose", "count": 1,
        "unit_price": 5, "coins": 5, "earned": 2, "to": "ana", "transfer": "0-1", "session": "s",
    }  # fmt: skip
    value = fact_bytes("kitchen", "gift.sent", gift, "g1")
    caused = value.replace(b'"data"', b'"causationid":"r1","data"')
    feed.room(caused, caused)
    assert told == ["r1"]
