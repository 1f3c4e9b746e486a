"""Waiting for a room, and for what becomes of it."""

import asyncio

from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC, TOPIC_OF_TYPE, Decided, RoomOpened
from engagement.domain.gift_events import GiftReversed, GiftSent
from engagement.domain.rooms import NO_STAMP
from engagement.gateway.room_directory import FOLDED_TYPES, RoomDirectory, Sender
from tests.unit.gateway_parts import open_room

OPENED = Decided("room.opened", "f", "kitchen", 1, NO_STAMP, RoomOpened("Cooking", "ana", "s"))


async def test_a_room_that_is_on_its_way_is_waited_for() -> None:
    directory = RoomDirectory()
    finding = asyncio.create_task(directory.find("kitchen", 5))
    await asyncio.sleep(0)
    directory.fold(OPENED)
    state = await finding
    assert state is not None
    assert state.host == "ana"


async def test_a_room_that_does_not_come_is_given_up_and_leaves_nothing_behind() -> None:
    directory = RoomDirectory()
    assert await directory.find("kitchen", 0.01) is None
    assert directory.rooms == {}
    assert directory._waiting == {}


async def test_everyone_who_waits_is_woken() -> None:
    directory = RoomDirectory()
    finding = [asyncio.create_task(directory.find("kitchen", 5)) for _ in range(3)]
    await asyncio.sleep(0)
    directory.fold(OPENED)
    assert all(await asyncio.gather(*finding))


async def test_a_change_that_is_not_the_wanted_one_is_waited_over() -> None:
    directory = RoomDirectory()
    state = open_room()
    directory.restore(state)
    closing = asyncio.create_task(directory.until("kitchen", lambda: state.status == "closed", 5))
    await asyncio.sleep(0)
    directory.wake("kitchen")
    await asyncio.sleep(0)
    assert not closing.done()
    state.status = "closed"
    directory.wake("kitchen")
    assert await closing


def test_a_room_of_which_only_an_odd_fact_is_known_was_never_opened() -> None:
    directory = RoomDirectory()
    directory.rooms["kitchen"] = open_room()
    directory.rooms["kitchen"].status = "unknown"
    assert directory.known("kitchen") is None


def gift(actor: str, coins: int, entry: int) -> Decided:
    data = GiftSent("rose", "Rose", 1, "rose", 1, coins, coins, 0, "ana", f"0-{entry}", "s")
    return Decided("gift.sent", f"g{entry}", "kitchen", 1, NO_STAMP, data, actor, f"g{entry}")


def test_top_senders_are_those_of_the_session_by_coins() -> None:
    directory = RoomDirectory()
    directory.fold(OPENED)
    assert directory.top_senders("kitchen") == []
    for entry, (actor, coins) in enumerate([("ben", 5), ("cy", 7), ("di", 7), ("ben", 1)], 1):
        directory.fold(gift(actor, coins, entry))
    assert directory.top_senders("kitchen") == [
        Sender("cy", 7),
        Sender("di", 7),
        Sender("ben", 6),
    ]
    taken = GiftReversed("g2", 7, 0, "ana", "0-5", "s", "2026-01-01T00:00:00Z", "")
    directory.fold(Decided("gift.reversed", "r", "kitchen", 1, NO_STAMP, taken, "cy", "r"))
    assert directory.top_senders("kitchen") == [Sender("di", 7), Sender("ben", 6)]
    again = RoomOpened("Cooking", "ana", "s2")
    directory.fold(Decided("room.opened", "o", "kitchen", 2, NO_STAMP, again))
    assert directory.top_senders("kitchen") == []


def test_so_many_top_senders_are_named_and_no_more() -> None:
    directory = RoomDirectory()
    for number in range(limits.TOP_SENDERS + 5):
        directory.fold(gift(f"user-{number}", number + 1, number + 1))
    assert len(directory.top_senders("kitchen")) == limits.TOP_SENDERS


def test_what_gateways_answer_is_folded_from_all_money_and_battle_facts() -> None:
    told = {kind for kind, topic in TOPIC_OF_TYPE.items() if topic == ROOM_TOPIC}
    assert {kind for kind in told if kind.startswith(("gift.", "battle."))} <= FOLDED_TYPES
