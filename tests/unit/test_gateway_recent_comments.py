"""The last comments of quiet rooms come from the projection, once, if it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from engagement.domain import limits
from engagement.gateway import recent_comments
from engagement.gateway.hub import Channel, Hub
from engagement.gateway.recent_comments import RecentComments
from tests.unit.gateway_parts import event


@dataclass
class Page:
    items: list[bytes]


class Projection:
    """Comments of the past, newest first."""

    def __init__(self, *ids: str) -> None:
        self.asked = 0
        self.before: Callable[[], Awaitable[None]] = self._at_once
        self._ids = ids

    async def comments(self, room: str, before: str | None, limit: int) -> Page:
        self.asked += 1
        await self.before()
        return Page([b'{"id":"%s"}' % each.encode() for each in self._ids[:limit]])

    async def _at_once(self) -> None:
        pass


@pytest.fixture
async def hub() -> Hub:
    hub = Hub(0.025, asyncio.get_running_loop())
    hub.begin(0, 100)
    return hub


def arrive(hub: Hub, channel: Channel, offset: int, kind: str = "comment.posted") -> None:
    hub.publish(channel, event(offset, kind))
    hub.read_up_to(0, offset + 1)


def shown(hub: Hub, channel: Channel) -> list[str]:
    return [each.id for each in channel.comments if each.offset < hub.horizon(channel)]


async def test_older_comments_come_before_those_of_the_tail_and_none_twice(hub: Hub) -> None:
    channel = hub.channel("kitchen", 0)
    arrive(hub, channel, 100)
    projection = Projection("fact-100", "b", "a")
    recent = RecentComments(projection)
    await recent.complete(channel)
    await recent.complete(channel)
    assert shown(hub, channel) == ["a", "b", "fact-100"]
    assert projection.asked == 1


async def test_a_room_that_opened_within_the_tail_needs_nothing_older(hub: Hub) -> None:
    channel = hub.channel("kitchen", 0)
    arrive(hub, channel, 100, "room.opened")
    projection = Projection("x")
    await RecentComments(projection).complete(channel)
    assert projection.asked == 0


async def test_only_as_many_as_are_shown_are_kept(hub: Hub) -> None:
    channel = hub.channel("kitchen", 0)
    for offset in range(100, 110):
        arrive(hub, channel, offset)
    await RecentComments(Projection(*map(str, range(60)))).complete(channel)
    assert len(channel.comments) == limits.SNAPSHOT_COMMENTS
    assert shown(hub, channel)[-1] == "fact-109"


async def test_a_database_that_fails_costs_nobody_the_room_and_is_asked_again(hub: Hub) -> None:
    channel = hub.channel("kitchen", 0)
    projection = Projection("a")

    async def fail() -> None:
        raise ConnectionError("no database")

    projection.before = fail
    recent = RecentComments(projection)
    await recent.complete(channel)
    assert shown(hub, channel) == []
    projection.before = projection._at_once
    await recent.complete(channel)
    assert shown(hub, channel) == ["a"]


async def test_a_database_that_hangs_is_waited_for_briefly_and_by_all_together(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_comments, "_WAIT_S", 0.01)
    channel = hub.channel("kitchen", 0)
    projection, answer = Projection("a"), asyncio.Event()

    async def hang() -> None:
        await answer.wait()

    projection.before = hang
    recent = RecentComments(projection)
    await asyncio.gather(*[recent.complete(channel) for _ in range(5)])
    assert (projection.asked, shown(hub, channel)) == (1, [])
    answer.set()
    await recent.complete(channel)
    assert shown(hub, channel) == ["a"]
