"""How calls reach a gateway: POST with retries, or `send` frames over a socket.

A client that gets no answer, or one that decides nothing, sends the same ids again, through any
gateway. That is what the promise is about.
"""

import asyncio
import contextlib
import random
from typing import Any

import aiohttp
import msgspec

from .evidence import UNKNOWN, Ask
from .history import History, now
from .plan import Call

CALL_TIMEOUT_S = 10.0
RETRY_FOR_S = 90.0
UNDECIDED_CODES = frozenset(
    {
        "unavailable",
        "log_unavailable",
        "overloaded",
        "rate_limited",
        "internal",
        "too_many_in_flight",
        "catalogue_unavailable",
        "database_unavailable",
        "starting",
    }
)
"""Codes that say nothing about the fate of a request: it may be sent again."""
WAIT_S = 4
"""How long the sender of a gift waits for what becomes of it, when it does."""
_ENCODE = msgspec.json.Encoder().encode


def wire(ask: Ask, *, with_actor: bool) -> dict[str, Any]:
    """The request as a client writes it."""
    body: dict[str, Any] = {"id": ask.id, "type": ask.type, "data": ask.data}
    return body | {"actor": ask.actor} if with_actor else body


class HttpSender:
    """POSTs with retries. The faults of the run are its everyday."""

    def __init__(self, gateways: list[str], history: History, seed: int) -> None:
        self._gateways = gateways
        self._history = history
        self._random = random.Random(seed)
        self._session: aiohttp.ClientSession | None = None
        self.server_errors: list[str] = []
        """Answers of status 500: there must be none."""

    async def __aenter__(self) -> "HttpSender":
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def deliver(self, call: Call, gateway: int) -> dict[str, str]:
        """Send until every request is decided, or the client gives up; id → last status."""
        statuses: dict[str, str] = {}
        open_asks = list(call.asks)
        deadline = asyncio.get_running_loop().time() + RETRY_FOR_S
        pause_s = 0.05
        while open_asks:
            got = await self.once(call, open_asks, gateway)
            statuses.update(zip((ask.id for ask in open_asks), got, strict=True))
            open_asks = [
                ask
                for ask, status in zip(open_asks, got, strict=True)
                if status.startswith(UNKNOWN)
            ]
            late = asyncio.get_running_loop().time() > deadline
            if call.abandons or late:
                break
            if open_asks:
                await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.5))
                pause_s = min(1.0, pause_s * 2)
                gateway = self._random.randrange(len(self._gateways))
        return statuses

    async def once(
        self, call: Call, asks: list[Ask], gateway: int, *, altered: bool = False
    ) -> list[str]:
        """One POST; a status per request."""
        backend = not call.single
        items = [wire(ask, with_actor=backend) for ask in asks]
        headers = {"X-User": "backend", "X-Role": "service"} if backend else {}
        if call.single:
            headers = {"X-User": asks[0].actor}
        if call.waits:
            headers["Prefer"] = f"wait={WAIT_S}"
        ids = [ask.id for ask in asks]
        number = self._history.sending(ids, f"http:{gateway}", altered=altered)
        body = _ENCODE(items if backend else items[0])
        statuses = await self._post(gateway, call.room, body, headers, len(asks))
        self._history.answered(number, statuses)
        return statuses

    async def _post(
        self, gateway: int, room: str, body: bytes, headers: dict[str, str], count: int
    ) -> list[str]:
        url = f"http://{self._gateways[gateway]}/v1/rooms/{room}/events"
        headers["Content-Type"] = "application/json"
        if self._session is None:
            raise RuntimeError("use `async with`")
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                content = await answer.read()
                return self._statuses(answer.status, content, count)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return [f"{UNKNOWN}:{type(error).__name__}"] * count

    def _statuses(self, status: int, content: bytes, count: int) -> list[str]:
        if status == 202:
            return [status_of(result) for result in msgspec.json.decode(content)["results"]]
        if status >= 500 or status == 429:
            if status == 500:
                self.server_errors.append(content[:200].decode(errors="replace"))
            return [f"{UNKNOWN}:{status}"] * count
        return [f"rejected:{msgspec.json.decode(content).get('code', status)}"] * count


def status_of(result: dict[str, Any]) -> str:
    """One result as the history has it."""
    status, code = str(result["status"]), str(result.get("code", ""))
    if status == "rejected":
        return f"{UNKNOWN}:{code}" if code in UNDECIDED_CODES else f"rejected:{code}"
    detail = str(result.get("outcome", "")) if status == "duplicate" else code
    return f"{status}:{detail}" if detail else status


class SocketSender:
    """One user's socket in one room, reopened when it breaks; one `send` in flight."""

    def __init__(
        self, user: str, room: str, gateways: list[str], history: History, seed: int
    ) -> None:
        self.user = user
        self._room = room
        self._gateways = gateways
        self._history = history
        self._random = random.Random(seed)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._gateway = 0
        self._turn = asyncio.Lock()

    async def deliver(self, session: aiohttp.ClientSession, call: Call) -> None:
        """Send until every request is decided, or the client gives up."""
        async with self._turn:
            open_asks = list(call.asks)
            deadline = asyncio.get_running_loop().time() + RETRY_FOR_S
            while open_asks and asyncio.get_running_loop().time() < deadline:
                if not await self._open(session):
                    await asyncio.sleep(self._random.uniform(0.1, 0.5))
                    continue
                got = await self._once(open_asks)
                open_asks = [
                    ask
                    for ask, status in zip(open_asks, got, strict=True)
                    if status.startswith(UNKNOWN)
                ]
                if call.abandons:
                    return
                if open_asks:
                    await self.close()

    async def close(self) -> None:
        """Leave."""
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.wait_for(socket.close(), 2)

    async def _open(self, session: aiohttp.ClientSession) -> bool:
        if self._socket is not None and not self._socket.closed:
            return True
        self._gateway = self._random.randrange(len(self._gateways))
        url = f"ws://{self._gateways[self._gateway]}/v1/rooms/{self._room}/live"
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                self._socket = await session.ws_connect(
                    url,
                    protocols=("engagement.v1",),
                    headers={"X-User": self.user},
                    max_msg_size=0,
                )
                while (await self._frame())["t"] != "hello":
                    pass
        except (aiohttp.ClientError, OSError, TimeoutError, ConnectionError) as error:
            self._history.note("unopened", user=self.user, why=repr(error)[:200], at=now())
            await self.close()
            return False
        return True

    async def _once(self, asks: list[Ask]) -> list[str]:
        if self._socket is None:
            raise RuntimeError("not open")
        ids = [ask.id for ask in asks]
        number = self._history.sending(ids, f"socket:{self._gateway}")
        items = [wire(ask, with_actor=False) for ask in asks]
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._socket.send_str(_ENCODE({"t": "send", "events": items}).decode())
                statuses = await self._answer(set(ids))
        except (aiohttp.ClientError, OSError, TimeoutError, ConnectionError) as error:
            await self.close()
            statuses = [f"{UNKNOWN}:{type(error).__name__}"] * len(asks)
        self._history.answered(number, statuses)
        return statuses

    async def _answer(self, ids: set[str]) -> list[str]:
        """Statuses from the ack of exactly these requests."""
        while True:
            frame = await self._frame()
            if frame["t"] == "outcome":
                for result in frame["results"]:
                    self._history.note("told", id=result["id"], st=status_of(result))
            if frame["t"] == "ack" and {result["id"] for result in frame["results"]} == ids:
                return [status_of(result) for result in frame["results"]]
            if frame["t"] == "error":
                code = str(frame.get("code"))
                known = UNKNOWN if code in UNDECIDED_CODES else "rejected"
                return [f"{known}:{code}"] * len(ids)

    async def _frame(self) -> dict[str, Any]:
        if self._socket is None:
            raise ConnectionError("closed")
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"{message.type.name} {message.data}")
        frame: dict[str, Any] = msgspec.json.decode(message.data)
        return frame
