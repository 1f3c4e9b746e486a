"""Viewers: sockets that watch a room through all faults, resume by cursor, and note what they
are told. What they are told is evidence; they judge nothing."""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
from msgspec import Struct

from .evidence import ViewerLine
from .history import now

CUT_EVERY_S_MEAN = 20.0
"""A viewer loses its socket this often by itself: resuming is the common case, not the rare one."""
CONNECT_TIMEOUT_S = 10.0
RECONNECT_S_MAX = 1.0


class _Event(Struct):
    id: str


class _Snapshot(Struct):
    comments: list[_Event] = []


class _Frame(Struct):
    t: str
    cursor: str = ""
    recovered: bool = False
    snapshot: _Snapshot | None = None
    events: list[_Event] = []
    counts: dict[str, int] = {}


_DECODER = msgspec.json.Decoder(_Frame)
_ENCODE = msgspec.json.Encoder().encode


class Watchers:
    """All viewers of a run."""

    def __init__(self, gateways: list[str], path: Path, seed: int) -> None:
        self._gateways = gateways
        self._file = path.open("wb")
        self._seed = seed
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.delivered_at: dict[str, int] = {}
        """Event → when the first viewer got it, ns."""
        self.seen: dict[int, set[str]] = {}
        """Viewer → ids that it got, in events or in a snapshot."""
        self.rooms: dict[int, str] = {}
        """Viewer → its room."""
        self.patient = False
        self.visits: dict[int, asyncio.Timeout] = {}

    def calm(self) -> None:
        """From now on nobody leaves by itself."""
        self.patient = True
        for limit in self.visits.values():
            if not limit.expired():
                with contextlib.suppress(RuntimeError):
                    limit.reschedule(None)

    def start(self, rooms: list[str], per_room: int) -> None:
        """Send the viewers in."""
        for number in range(len(rooms) * per_room):
            room = rooms[number % len(rooms)]
            self.seen[number] = set()
            self.rooms[number] = room
            self._tasks.append(asyncio.create_task(self._watch(number, room)))

    async def stop(self) -> None:
        """Take the viewers out and close the file; once is enough."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._file.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _watch(self, number: int, room: str) -> None:
        draw = random.Random(self._seed * 1_000_003 + number)
        viewer = _Viewer(self, number, room)
        async with aiohttp.ClientSession() as session:
            while not self._stopping.is_set():
                gateway = draw.randrange(len(self._gateways))
                stay_s = draw.expovariate(1 / CUT_EVERY_S_MEAN)
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    await viewer.visit(session, self._gateways[gateway], gateway, stay_s)
                await asyncio.sleep(draw.uniform(0, RECONNECT_S_MAX))

    def note(self, line: ViewerLine) -> None:
        """Write one line of evidence."""
        self._file.write(_ENCODE(line) + b"\n")


class _Viewer:
    """One viewer: its place, and its visits."""

    def __init__(self, told: Watchers, number: int, room: str) -> None:
        self._told = told
        self._number = number
        self._room = room
        self._cursor = ""

    async def visit(
        self, session: aiohttp.ClientSession, address: str, gateway: int, stay_s: float
    ) -> None:
        """One connection, from hello to its end."""
        url = f"http://{address}/v1/rooms/{self._room}/live"
        params = {"cursor": self._cursor} if self._cursor else {}
        resumed = bool(self._cursor)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            socket = await session.ws_connect(
                url,
                params=params,
                protocols=("engagement.v1",),
                headers={"X-User": f"watcher-{self._number}"},
                max_msg_size=0,
            )
        try:
            async with asyncio.timeout(None if self._told.patient else stay_s) as limit:
                self._told.visits[self._number] = limit
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        self._take(_DECODER.decode(message.data), gateway, resumed)
        finally:
            self._note("closed", gateway, code=socket.close_code or 1006)
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await socket.close()

    def _take(self, frame: _Frame, gateway: int, resumed: bool) -> None:
        if frame.t == "hello":
            snapshot = frame.snapshot or _Snapshot()
            newest = [] if frame.recovered else [event.id for event in snapshot.comments]
            self._note("hello", gateway, resumed=resumed, recovered=frame.recovered, newest=newest)
            self._told.seen[self._number].update(newest)
        elif frame.t == "events":
            at = now()
            ids = [event.id for event in frame.events]
            self._note("events", gateway, ids=ids, at=at)
            for event in ids:
                self._told.delivered_at.setdefault(event, at)
            self._told.seen[self._number].update(ids)
        elif frame.t == "skipped":
            self._note("skipped", gateway, counts=frame.counts)
        if frame.cursor:
            self._cursor = frame.cursor

    def _note(self, kind: Any, gateway: int, **fields: Any) -> None:
        self._told.note(
            ViewerLine(self._number, self._room, kind, gw=gateway, **({"at": now()} | fields))
        )
