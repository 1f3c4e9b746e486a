"""A replay is paced by media time, at any speed, and ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from engagement.gateway import replay_sse


@dataclass
class Item:
    cursor: str
    epoch: int
    pts_ms: int
    event: bytes = b"{}"


async def of(*items: Item) -> AsyncIterator[Item]:
    for item in items:
        yield item


async def play(*items: Item, speed: float) -> list[tuple[float, bytes]]:
    """(seconds since the start, line) of everything that is sent."""
    stream: Any = of(*items)
    first = await anext(stream, None)
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    return [(loop.time() - start_s, line) async for line in replay_sse._paced(first, stream, speed)]


async def test_events_come_when_their_media_time_does() -> None:
    lines = await play(Item("a", 1, 5_000), Item("b", 1, 5_100), Item("c", 1, 5_300), speed=2)
    times = {line.split(b"\n")[0]: at_s for at_s, line in lines}
    assert times[b"id: a"] < 0.03
    assert times[b"id: b"] == pytest.approx(0.05, abs=0.03)
    assert times[b"id: c"] == pytest.approx(0.15, abs=0.03)
    assert [line for _, line in lines][-1] == b"event: end\ndata: {}\n\n"


async def test_a_new_epoch_begins_at_once() -> None:
    lines = await play(Item("a", 1, 0), Item("b", 2, 3_600_000), speed=1)
    assert lines[-2][0] < 0.1


async def test_an_event_is_one_data_line_whatever_is_in_it() -> None:
    lines = await play(Item("a", 1, 0, b'{"a":\n1}'), speed=1)
    assert lines[1][1] == b'id: a\ndata: {"a": 1}\n\n'


async def test_a_long_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_sse, "_SILENCE_S", 0.02)
    lines = [line for _, line in await play(Item("a", 1, 0), Item("b", 1, 100), speed=1)]
    assert b": still here\n\n" in lines
    assert lines[-2].startswith(b"id: b")


async def test_an_empty_replay_ends() -> None:
    assert [line for _, line in await play(speed=1)] == [
        b"retry: 1000\n\n",
        b"event: end\ndata: {}\n\n",
    ]
