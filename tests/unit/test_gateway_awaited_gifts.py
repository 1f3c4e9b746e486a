"""Telling outcomes: a POST that waits for all of its gifts, a socket after its `ack`."""

import asyncio
import uuid
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from engagement.domain.ledger import Settled
from engagement.gateway.awaited_gifts import Awaited, ToldGift, ToldOutcomes
from engagement.gateway.gifts_intake import SentGift, Stored, gifts_in
from engagement.gateway.intake import Result
from engagement.gateway.requests_json import Parsed, parse
from engagement.gateway.settlements import body_mark
from engagement.settings import Settings
from engagement.tokens import Principal
from tests.unit.gateway_parts import FakeLog, IntakeParts, open_room, sell
from tests.unit.test_gateway_outcomes import Waiting

LONG_S = 10.0


class Desk:
    """An intake in front of which somebody waits."""

    def __init__(self) -> None:
        self.parts = IntakeParts(FakeLog(), Settings(user_requests_per_s=1_000))
        self.room = open_room()
        sell(self.parts.catalogue, "rose")
        self.tail = Waiting()
        self.tail.outcomes = self.parts.outcomes
        self.ben = Principal("app", "service", None)

    def sent(self, *gifts: dict[str, Any]) -> tuple[Parsed, list[SentGift]]:
        parsed = parse(msgspec.json.encode(list(gifts)))
        return parsed, gifts_in(parsed, self.ben)

    def submit(self, parsed: Parsed, stored: Stored = None) -> list[Result]:
        return self.parts.intake.submit(
            self.ben, self.room, parsed, address="", stored=stored or {}
        ).results


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def gift(user: str = "ben", request_id: str | None = None, **data: Any) -> dict[str, Any]:
    return {
        "id": request_id or str(uuid.uuid4()),
        "type": "gift.send",
        "actor": user,
        "data": {"gift": "rose", **data},
    }


def told(results: list[Result]) -> list[tuple[str, Any, Any]]:
    return [(each.status, each.outcome, each.code) for each in results]


def deadline_s(within_s: float) -> float:
    return asyncio.get_running_loop().time() + within_s


async def test_a_post_that_waits_is_answered_when_all_outcomes_are_known(desk: Desk) -> None:
    gifts = [gift("ben"), gift("cy"), gift("di", count=0)]
    parsed, sent = desk.sent(*gifts)
    with Awaited(desk.parts.gifts, "kitchen", sent) as awaited:
        waiting = asyncio.create_task(awaited.complete(desk.submit(parsed), deadline_s(LONG_S)))
        desk.tail.sent("ben", gifts[0]["id"])
        await asyncio.sleep(0)
        assert not waiting.done()
        desk.parts.outcomes.refused("cy", gifts[1]["id"], "insufficient_funds")
        assert told(await waiting) == [
            ("paid", UNSET, UNSET),
            ("refused", UNSET, "insufficient_funds"),
            ("rejected", UNSET, "bad_request"),
        ]


async def test_what_is_not_known_in_time_is_accepted(desk: Desk) -> None:
    gifts = [gift(), gift()]
    parsed, sent = desk.sent(*gifts)
    with Awaited(desk.parts.gifts, "kitchen", sent) as awaited:
        results = desk.submit(parsed)
        desk.tail.sent("ben", gifts[0]["id"])
        assert told(await awaited.complete(results, deadline_s(0.01))) == [
            ("paid", UNSET, UNSET),
            ("accepted", UNSET, UNSET),
        ]


async def test_an_outcome_that_comes_before_the_results_counts(desk: Desk) -> None:
    one = gift()
    parsed, sent = desk.sent(one)
    with Awaited(desk.parts.gifts, "kitchen", sent) as awaited:
        desk.tail.sent("ben", one["id"])
        assert told(await awaited.complete(desk.submit(parsed), deadline_s(LONG_S))) == [
            ("paid", UNSET, UNSET)
        ]


async def test_a_repeat_on_its_way_stays_a_duplicate_and_gets_its_outcome(desk: Desk) -> None:
    one = gift()
    parsed, sent = desk.sent(one)
    desk.submit(parsed)
    with Awaited(desk.parts.gifts, "kitchen", sent) as awaited:
        results = desk.submit(parsed)
        desk.tail.sent("ben", one["id"])
        assert told(await awaited.complete(results, deadline_s(LONG_S))) == [
            ("duplicate", "paid", UNSET)
        ]


async def test_a_stored_outcome_is_not_waited_for(desk: Desk) -> None:
    parsed, sent = desk.sent(gift())
    mark = body_mark("ben", "kitchen", sent[0].gift)
    stored = {sent[0].key: Settled(mark, "refused", 1, "insufficient_funds")}
    with Awaited(desk.parts.gifts, "kitchen", sent) as awaited:
        results = await awaited.complete(desk.submit(parsed, stored), deadline_s(LONG_S))
    assert told(results) == [("duplicate", "refused", "insufficient_funds")]


async def test_two_senders_may_use_one_id(desk: Desk) -> None:
    """Ids are scoped by the account."""
    one_id = str(uuid.uuid4())
    parsed, sent = desk.sent(gift("ben", one_id), gift("cy", one_id))
    with Awaited(desk.parts.gifts, "kitchen", sent) as awaited:
        results = desk.submit(parsed)
        desk.parts.outcomes.refused("cy", one_id, "insufficient_funds")
        desk.tail.sent("ben", one_id)
        assert told(await awaited.complete(results, deadline_s(LONG_S))) == [
            ("paid", UNSET, UNSET),
            ("refused", UNSET, "insufficient_funds"),
        ]


async def test_nobody_waits_any_more_when_the_answer_has_left(desk: Desk) -> None:
    one = gift()
    _, sent = desk.sent(one)
    with Awaited(desk.parts.gifts, "kitchen", sent):
        pass
    desk.tail.sent("ben", one["id"])
    assert desk.parts.outcomes._waiting == {}


# --- sockets -------------------------------------------------------------------------------------


class Socket:
    """What a socket is told."""

    def __init__(self, desk: Desk, sent: list[SentGift]) -> None:
        self.frames: list[list[ToldGift]] = []
        self.told = ToldOutcomes(desk.parts.gifts, "kitchen", sent, self.frames.append)


async def test_a_socket_is_told_after_its_ack_in_one_frame_under_the_ids_it_wrote(
    desk: Desk,
) -> None:
    gifts = [gift("ben", str(uuid.uuid4()).upper()), gift("cy")]
    parsed, sent = desk.sent(*gifts)
    socket = Socket(desk, sent)
    results = desk.submit(parsed)
    socket.told.submitted(results)
    desk.tail.sent("ben", gifts[0]["id"].lower())
    desk.parts.outcomes.refused("cy", gifts[1]["id"], "insufficient_funds")
    for _ in range(20):
        await asyncio.sleep(0)
    assert socket.frames == []
    socket.told.acknowledged(results)
    await asyncio.sleep(0)
    assert socket.frames == [
        [
            ToldGift(gifts[0]["id"], "paid"),
            ToldGift(gifts[1]["id"], "refused", "insufficient_funds"),
        ]
    ]
    assert socket.told.done


async def test_a_socket_hears_nothing_of_what_was_not_taken(desk: Desk) -> None:
    one_id = str(uuid.uuid4())
    desk.submit(desk.sent(gift("ben", one_id, count=2))[0])
    parsed, sent = desk.sent(gift("ben", one_id))
    socket = Socket(desk, sent)
    desk.tail.sent("ben", one_id, count=2)
    results = desk.submit(parsed)
    assert told(results) == [("rejected", UNSET, "id_reused")]
    socket.told.submitted(results)
    socket.told.acknowledged(results)
    await asyncio.sleep(0)
    assert (socket.frames, socket.told.done) == ([], True)


async def test_the_same_gift_twice_in_one_frame_has_one_outcome(desk: Desk) -> None:
    one = gift()
    parsed, sent = desk.sent(one, one)
    socket = Socket(desk, sent)
    results = desk.submit(parsed)
    socket.told.submitted(results)
    socket.told.acknowledged(results)
    desk.tail.sent("ben", one["id"])
    await asyncio.sleep(0)
    assert socket.frames == [[ToldGift(one["id"], "paid")]]


async def test_a_socket_that_has_gone_waits_for_nothing(desk: Desk) -> None:
    one = gift()
    parsed, sent = desk.sent(one)
    socket = Socket(desk, sent)
    socket.told.submitted(desk.submit(parsed))
    socket.told.end()
    desk.tail.sent("ben", one["id"])
    await asyncio.sleep(0)
    assert (socket.frames, desk.parts.outcomes._waiting) == ([], {})
