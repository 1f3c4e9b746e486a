"""Rooms of the past: let go when nobody misses them, found again when somebody asks."""

import asyncio
from typing import Any

import pytest

from engagement.domain import limits
from engagement.domain.events import Decided, RoomOpened
from engagement.domain.media_time import Anchor
from engagement.domain.rooms import NO_STAMP, RoomState
from engagement.gateway.clock_follower import ClockFollower
from engagement.gateway.hub import Hub
from engagement.gateway.recent_comments import RecentComments
from engagement.gateway.room_archive import RoomArchive
from engagement.gateway.room_directory import RoomDirectory
from tests.unit.gateway_parts import FakeViewer, event, open_room
from tests.waiting import until

NOW_US = 2_000_000_000_000_000
LONG_AGO_US = NOW_US - int(limits.ROOM_IDLE_S * 1e6) - 1


class Past:
    """The projection."""

    def __init__(self) -> None:
        self.rooms: dict[str, dict[str, Any]] = {}
        self.away = False
        self.asked: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.answers: asyncio.Event | None = None
        """When there is one, it is waited for."""

    async def state(
        self, room: str, *, at_ms: int, epoch: int | None = None
    ) -> dict[str, Any] | None:
        self.asked.append(room)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await (asyncio.sleep(0) if self.answers is None else self.answers.wait())
        self.at_once -= 1
        if self.away:
            raise OSError("the database is gone")
        return self.rooms.get(room)

    async def comments(self, room: str, before: str | None, limit: int) -> Any:
        raise OSError


class Rooms:
    """All that a gateway keeps of rooms."""

    def __init__(self) -> None:
        self.past = Past()
        self.directory = RoomDirectory()
        self.hub = Hub(0.025, asyncio.get_running_loop())
        self.hub.begin(0, 0)
        self.clocks = ClockFollower()
        self.recent = RecentComments(self.past)
        self.archive = RoomArchive(self.past, self.directory, self.hub, self.clocks, self.recent)

    def closed(self, room: str = "kitchen", at_us: int = LONG_AGO_US) -> RoomState:
        state = open_room(room)
        state.status, state.last_at_us = "closed", at_us
        self.directory.restore(state)
        self.hub.publish(self.hub.channel(room, 0), event(len(self.directory.rooms)))
        self.hub.read_up_to(0, 10)
        return state

    async def kept(self) -> list[str]:
        await self.archive.let_go(NOW_US)
        return list(self.directory.rooms)


@pytest.fixture
async def rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    monkeypatch.setattr(limits, "ROOM_WAIT_S", 0.01)
    return Rooms()


async def test_a_room_that_was_closed_long_ago_is_let_go_with_all_that_was_kept_of_it(
    rooms: Rooms,
) -> None:
    rooms.closed()
    rooms.clocks._clocks["kitchen"] = Anchor  # type: ignore[assignment]
    rooms.directory.top_senders("kitchen")
    assert await rooms.kept() == []
    assert rooms.hub.find("kitchen") is None
    assert rooms.hub.kept_bytes == 0
    assert rooms.clocks.clock("kitchen") is None
    assert rooms.directory._top_senders == {}


async def test_open_rooms_and_those_that_closed_just_now_stay(rooms: Rooms) -> None:
    rooms.closed("open").status = "open"
    rooms.closed("new", LONG_AGO_US + 1)
    assert await rooms.kept() == ["open", "new"]


async def test_a_room_that_somebody_watches_or_enters_stays(rooms: Rooms) -> None:
    rooms.closed("watched")
    rooms.closed("entered")
    watched, entered = rooms.hub.find("watched"), rooms.hub.find("entered")
    assert watched is not None
    assert entered is not None
    viewer = FakeViewer()
    rooms.hub.attach(watched, viewer)
    entered.entering += 1
    assert await rooms.kept() == ["watched", "entered"]
    rooms.hub.detach(watched, viewer)
    entered.entering -= 1
    assert await rooms.kept() == []


async def test_who_is_banned_or_muted_is_not_forgotten(rooms: Rooms) -> None:
    rooms.closed("bans").banned.add("ben")
    rooms.closed("mutes").muted_until_us["ben"] = NOW_US + 1
    rooms.closed("muted once").muted_until_us["ben"] = NOW_US
    assert await rooms.kept() == ["bans", "mutes"]


async def test_a_room_of_the_past_is_answered_and_kept_for_a_while(rooms: Rooms) -> None:
    rooms.past.rooms["kitchen"] = {
        "status": "closed", "title": "Cooking", "host": "ana", "likes": 7,
    }  # fmt: skip
    state = await rooms.archive.find("kitchen")
    assert state is not None
    assert (state.status, state.title, state.host, state.likes_counted) == (
        "closed",
        "Cooking",
        "ana",
        7,
    )
    assert await rooms.archive.find("kitchen") is state
    assert rooms.past.asked == ["kitchen"]


async def test_nobody_knows_a_room_that_never_was_nor_any_while_the_database_is_away(
    rooms: Rooms,
) -> None:
    assert await rooms.archive.find("nowhere") is None
    rooms.past.away = True
    assert await rooms.archive.find("nowhere") is None


async def test_a_projection_that_is_behind_does_not_open_a_room(rooms: Rooms) -> None:
    rooms.past.rooms["kitchen"] = {"status": "open", "title": "", "host": "ana", "likes": 0}
    assert await rooms.archive.find("kitchen") is None


async def test_a_room_that_opens_while_the_past_is_asked_is_the_open_one(rooms: Rooms) -> None:
    rooms.past.rooms["kitchen"] = {"status": "closed", "title": "", "host": "ana", "likes": 0}
    rooms.past.answers = asyncio.Event()
    finding = asyncio.create_task(rooms.archive.find("kitchen"))

    async def asked() -> bool:
        return bool(rooms.past.asked)

    await until(asked)
    rooms.directory.restore(open_room())
    rooms.past.answers.set()
    state = await finding
    assert state is not None
    assert state.status == "open"


async def test_made_up_names_do_not_take_the_database_away(rooms: Rooms) -> None:
    await asyncio.gather(*[rooms.archive.find(f"room-{number}") for number in range(50)])
    assert len(rooms.past.asked) == 50
    assert rooms.past.most_at_once <= limits.ARCHIVE_READS_MAX


async def test_a_room_that_comes_back_has_its_likes(rooms: Rooms) -> None:
    rooms.past.rooms["kitchen"] = {"status": "closed", "title": "", "host": "ana", "likes": 9}
    opened = RoomOpened("Cooking", "ana", "s")
    state = rooms.directory.fold(Decided("room.opened", "f", "kitchen", 1, NO_STAMP, opened))
    rooms.archive.opened(state)
    await asyncio.gather(*rooms.archive._completing)
    assert state.likes_counted == 9


async def test_the_ring_of_a_room_that_was_let_go_reaches_back_to_nothing(rooms: Rooms) -> None:
    """Its events are gone: a cursor from before must not be answered `recovered`."""
    rooms.closed()
    await rooms.kept()
    assert rooms.hub.channel("kitchen", 0).from_offset == 10
