"""Gifts on their way: POSTs that are sent again until they are answered, some of them twice."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from .plan import ALTERED_SHARE, PRICES, REPEATED_SHARE, Gift, gifts, host_of, room_names

CALL_TIMEOUT_S = 10.0
RETRY_FOR_S = 120.0
OUTSTANDING_MAX = 80
"""Calls that wait for an answer: while everything is down the load waits, too."""
REPEAT_LATER_S_MAX = 20.0
WAIT_HEADERS = {"Prefer": "wait=5"}
SERVICE = {"X-User": "shop", "X-Role": "service"}


class MoneyLoad:
    """Sends a plan's gifts through all gateways and remembers what their senders were told."""

    def __init__(self, gateways: list[str], seed: int) -> None:
        self._gateways = gateways
        self._random = random.Random(seed)
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(OUTSTANDING_MAX)
        self._ending = asyncio.Event()
        self.gifts: list[Gift] = []
        self.repeated = 0
        self.altered: dict[str, list[str]] = {}
        """Gift id → answers to the same id with another body."""
        self.server_errors: list[str] = []

    async def __aenter__(self) -> "MoneyLoad":
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def insist(
        self, method: str, path: str, headers: dict[str, str], body: Any = None
    ) -> tuple[int, Any]:
        """One call, repeated until it is decided: status and body."""
        deadline = asyncio.get_running_loop().time() + RETRY_FOR_S
        while True:
            status, answer = await self._call(method, path, headers, body)
            if 200 <= status < 500 and status != 429:
                return status, answer
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"{method} {path}: {status} {answer}")
            await asyncio.sleep(self._random.uniform(0.1, 0.5))

    async def prepare(self, wallets: dict[str, int]) -> None:
        """Rooms, gifts and coins."""
        for gift, coins in PRICES.items():
            body = {"name": gift, "coins": coins, "host_share_percent": 45}
            await self._must("PUT", f"/v1/gifts/{gift}", SERVICE, body)
        for room in room_names():
            who = {"X-User": host_of(room), "X-Role": "host"}
            await self._must("PUT", f"/v1/rooms/{room}", who, {"title": room})
        free = asyncio.Semaphore(20)

        async def buy(user: str, coins: int) -> None:
            body = {"id": _uuid(self._random), "coins": coins}
            async with free:
                await self._must("POST", f"/v1/accounts/{user}/deposits", SERVICE, body)

        await asyncio.gather(*(buy(*wallet) for wallet in wallets.items()))

    async def play(self, seed: int, count: int, givers: list[str], seconds: float) -> None:
        """Send all gifts, spread over the time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for batch in gifts(seed, count, givers):
            due = began + seconds * len(self.gifts) / count
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            self.gifts += batch
            await self._free.acquire()
            self._spawn(self._play(batch))

    async def finish(self) -> None:
        """Wait for every answer and repeat."""
        self._ending.set()
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def write(self, path: Path) -> None:
        """What was asked and told, one gift a line."""
        encode = msgspec.json.Encoder().encode
        with path.open("wb") as file:
            for gift in self.gifts:
                file.write(encode(gift) + b"\n")

    async def _play(self, batch: list[Gift]) -> None:
        try:
            await self._deliver(batch)
        finally:
            self._free.release()
        chance = self._random.random()
        if chance < REPEATED_SHARE:
            self.repeated += len(batch)
            with contextlib.suppress(TimeoutError):
                later_s = self._random.uniform(0, REPEAT_LATER_S_MAX)
                await asyncio.wait_for(self._ending.wait(), later_s)
            await self._deliver(batch)
        elif chance < REPEATED_SHARE + ALTERED_SHARE and batch[0].acknowledged:
            await self._alter(batch[0])

    async def _deliver(self, batch: list[Gift]) -> None:
        deadline = asyncio.get_running_loop().time() + RETRY_FOR_S
        waiting = list(batch)
        while waiting and asyncio.get_running_loop().time() < deadline:
            results = await self._post(waiting)
            still = []
            for gift in waiting:
                result = results.get(gift.id)
                if result is None or (result["status"] == "rejected" and _is_passing(result)):
                    still.append(gift)
                    continue
                _note(gift, result)
            waiting = still
            if waiting:
                await asyncio.sleep(self._random.uniform(0.05, 0.6))

    async def _post(self, batch: list[Gift]) -> dict[str, dict[str, Any]]:
        """Results by id; those without an answer are not there."""
        single = len(batch) == 1
        items = [
            {
                "id": gift.id,
                "type": "gift.send",
                "data": {"gift": gift.gift, "count": gift.count},
                **({} if single else {"actor": gift.actor}),
            }
            for gift in batch
        ]
        headers = {"X-User": batch[0].actor} if single else dict(SERVICE)
        if single:
            headers |= WAIT_HEADERS
        path = f"/v1/rooms/{batch[0].room}/events"
        status, answer = await self._call("POST", path, headers, items[0] if single else items)
        if status == 202:
            return {result["id"]: result for result in answer["results"]}
        if 400 <= status < 500 and status != 429 and single:
            return {batch[0].id: {"status": "rejected", "code": answer.get("code", str(status))}}
        return {}

    async def _alter(self, gift: Gift) -> None:
        """The same id with another body is no other gift."""
        item = {
            "id": gift.id,
            "type": "gift.send",
            "data": {"gift": gift.gift, "count": gift.count + 1},
        }
        path = f"/v1/rooms/{gift.room}/events"
        headers = {"X-User": gift.actor} | WAIT_HEADERS
        status, answer = await self._call("POST", path, headers, item)
        if status == 202:
            [result] = answer["results"]
            told = f"{result['status']}:{result.get('code', '')}"
        else:
            told = f"{status}:{answer.get('code', '')}" if isinstance(answer, dict) else str(status)
        self.altered.setdefault(gift.id, []).append(told)

    async def _call(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        """Status and decoded body; status 0 when there was no answer."""
        assert self._session is not None
        gateway = self._random.choice(self._gateways)
        try:
            async with self._session.request(
                method, f"http://{gateway}{path}", json=body, headers=headers
            ) as answer:
                content = await answer.read()
                if answer.status == 500:
                    self.server_errors.append(content[:300].decode(errors="replace"))
                return answer.status, msgspec.json.decode(content) if content else None
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            return 0, {"code": type(error).__name__}

    async def _must(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        status, answer = await self.insist(method, path, headers, body)
        if status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {status} {answer}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _note(gift: Gift, result: dict[str, Any]) -> None:
    status, code = result["status"], result.get("code", "")
    outcome = result.get("outcome", "") if status == "duplicate" else status
    gift.acknowledged = gift.acknowledged or status != "rejected"
    if outcome in ("paid", "refused"):
        gift.told.append(outcome)
    elif status == "rejected":
        gift.told.append(f"rejected:{code}")


def _is_passing(result: dict[str, Any]) -> bool:
    """A refusal that says nothing about the gift: it may be sent again."""
    return result.get("code") in ("rate_limited", "unavailable", "log_unavailable", "starting")


def _uuid(draw: random.Random) -> str:
    import uuid

    return str(uuid.UUID(int=draw.getrandbits(128), version=4))
