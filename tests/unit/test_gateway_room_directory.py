"""Waiting for a room, and for what becomes of it."""

import asyncio

from engagement.domain.events import Decided, RoomOpened
from engagement.domain.rooms import NO_STAMP
from engagement.gateway.room_directory import RoomDirectory
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
