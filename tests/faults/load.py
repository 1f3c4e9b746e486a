"""The load of a run: calls at their time, their repeats, and what follows from them."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from typing import Any, Self

import aiohttp

from .evidence import Ask
from .history import History
from .money.plan import socket_user
from .plan import Call, Plan
from .senders import HttpSender, SocketSender

SOCKETS_PER_ROOM = 2
OUTSTANDING_MAX = 300
"""Calls that wait for an answer. While everything is down the load waits too: a client that piled
up calls would time them all out itself, long after the servers are back."""
FRESHLY_TAKEN = ("accepted", "paid", "refused")
OWN_REMOVAL_S_MAX = 2.0
ALTERED_SUFFIX = " but not what was said first"


class Load:
    """Sends a plan's calls. Every task it starts is awaited in `finish`."""

    def __init__(self, plan: Plan, gateways: list[str], history: History, seed: int) -> None:
        self._plan = plan
        self._gateways = gateways
        self._history = history
        self._random = random.Random(seed)
        self._sender = HttpSender(gateways, history, seed)
        self._sockets: dict[str, list[SocketSender]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(OUTSTANDING_MAX)
        self.sent = 0
        self.repeated = 0
        self._ending = asyncio.Event()
        """Set when all calls are out: repeats that wait come at once."""

    async def __aenter__(self) -> Self:
        await self._sender.__aenter__()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        for sockets in self._sockets.values():
            await asyncio.gather(*(socket.close() for socket in sockets))
        if self._session is not None:
            await self._session.close()
        await self._sender.__aexit__()

    @property
    def server_errors(self) -> list[str]:
        """Bodies of the answers with status 500."""
        return self._sender.server_errors

    async def play(self, seconds: float, requests: int) -> None:
        """Send all calls, spread over the time by the number of requests in them."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for call in self._plan.calls():
            due = began + seconds * self.sent / requests
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            self.sent += len(call.asks)
            await self._free.acquire()
            self._spawn(self._play_and_make_way(call))

    async def finish(self) -> None:
        """Wait for every answer, repeat and retry."""
        self._ending.set()
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def insist(self, call: Call) -> bool:
        """Send one call until it is acknowledged; False when it was refused or never was."""
        self._note(call)
        statuses = await self._sender.deliver(call, call.gateway)
        return all(status in ("accepted", "duplicate") for status in statuses.values())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play_and_make_way(self, call: Call) -> None:
        try:
            await self._play(call)
        finally:
            self._free.release()
        if call.repeat == "later":
            self.repeated += len(call.asks)
            await self._wait(call.repeat_after_s)
            again = Call("http", call.room, call.asks, single=call.single)
            await self._again(again, self._random.randrange(len(self._gateways)))

    async def _play(self, call: Call) -> None:
        if call.via == "socket":
            await self._over_socket(call)
        else:
            self._note(call)
            if call.repeat == "at_once":
                self.repeated += len(call.asks)
                self._spawn(self._again(call, 1 - call.gateway))
            statuses = await self._sender.deliver(call, call.gateway)
            if statuses.get(call.asks[0].id, "").partition(":")[0] in FRESHLY_TAKEN:
                await self._follow(call)

    async def _over_socket(self, call: Call) -> None:
        sockets = self._sockets.get(call.room)
        if sockets is None:
            sockets = self._sockets[call.room] = [
                SocketSender(
                    socket_user(number, call.room), call.room, self._gateways, self._history,
                    self._random.randrange(1 << 30),
                )
                for number in range(SOCKETS_PER_ROOM)
            ]  # fmt: skip
        sender = self._random.choice(sockets)
        for ask in call.asks:
            ask.actor = sender.user
        self._note(call)
        if self._session is None:
            raise RuntimeError("use `async with`")
        await sender.deliver(self._session, call)

    async def _follow(self, call: Call) -> None:
        """What a client does only after its request was acknowledged."""
        ask = call.asks[0]
        if call.removes_own and ask.type == "comment.post":
            await self._wait(self._random.uniform(0, OWN_REMOVAL_S_MAX))
            await self._play(self._plan.removal(ask.id, call.room, ask.actor))
        elif call.repeat == "altered":
            data = ask.data | _altered(ask)
            self._history.note("altered", id=ask.id, data=data)
            other = Ask(ask.id, ask.room, ask.actor, ask.type, data)
            gateway = self._random.randrange(len(self._gateways))
            await self._sender.once(call, [other], gateway, altered=True)

    async def _again(self, call: Call, gateway: int) -> None:
        async with self._free:
            await self._sender.deliver(call, gateway)

    async def _wait(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the load."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _note(self, call: Call) -> None:
        for ask in call.asks:
            self._history.note(
                "ask",
                id=ask.id,
                room=ask.room,
                actor=ask.actor,
                type=ask.type,
                data=ask.data,
                expect=ask.expect,
                batch=ask.batch,
            )


def _altered(ask: Ask) -> dict[str, Any]:
    if ask.type == "gift.send":
        return {"count": ask.data["count"] + 1}
    return {"text": ask.data["text"] + ALTERED_SUFFIX}
