"""The platform's backend: the catalogue, deposits, and a look at all money in the end."""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec

from tests.faults.history import History, now

from .plan import HOST_SHARE_PERCENT, PRICES, TOP_UP_COINS, fresh_id

CALL_TIMEOUT_S = 12.0
"""Longer than a gateway waits for an outcome before it says that it does not know."""
DECIDED_S_MAX = 120.0
DEPOSITS_AT_ONCE = 20
READS_AT_ONCE = 20
SERVICE = {"X-User": "shop", "X-Role": "service"}
LEADERS_MAX = 1000
_ENCODE = msgspec.json.Encoder().encode


class Bank:
    """Calls that are sent again until they are decided."""

    def __init__(self, gateways: list[str], history: History, seed: int) -> None:
        self._gateways = gateways
        self._history = history
        # Not the sequence that gifts draw their ids from: deposits share their scope.
        self._random = random.Random(f"bank {seed}")
        self._session: aiohttp.ClientSession | None = None
        self.server_errors: list[str] = []

    async def __aenter__(self) -> Self:
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
        deadline = asyncio.get_running_loop().time() + DECIDED_S_MAX
        while True:
            status, answer = await self._call(method, path, headers, body)
            if 200 <= status < 500 and status != 429:
                return status, answer
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"{method} {path}: {status} {answer}")
            await asyncio.sleep(self._random.uniform(0.1, 0.5))

    async def prepare(self, wallets: dict[str, int]) -> None:
        """Gifts and coins."""
        for gift, coins in PRICES.items():
            body = {"name": gift, "coins": coins, "host_share_percent": HOST_SHARE_PERCENT}
            admin = SERVICE | {"X-Role": "admin"}
            status, answer = await self.insist("PUT", f"/v1/gifts/{gift}", admin, body)
            if status not in (200, 201):
                raise RuntimeError(f"{gift}: {status} {answer}")
        free = asyncio.Semaphore(DEPOSITS_AT_ONCE)

        async def buy(user: str, coins: int) -> None:
            async with free:
                await self.deposit(user, coins)

        await asyncio.gather(*(buy(*wallet) for wallet in wallets.items()))

    async def deposit(self, user: str, coins: int) -> None:
        """Buy coins; once it is sent nobody knows whether it is in until somebody says so."""
        body = {"id": fresh_id(self._random), "coins": coins}
        self._history.note("deposit", id=body["id"], account=user, coins=coins, at=now())
        status, answer = await self.insist("POST", f"/v1/accounts/{user}/deposits", SERVICE, body)
        if status not in (200, 201) or answer["id"] != body["id"]:
            raise RuntimeError(f"deposit of {user}: {status} {answer}")
        self._history.note("deposited", id=body["id"], at=now())

    async def top_up(self, users: list[str], count: int, seconds: float) -> None:
        """So many deposits within the time, some of them sent twice at once."""
        deposits = set()
        for _ in range(count):
            await asyncio.sleep(seconds / (count + 1) * self._random.uniform(0.5, 1.5))
            user = self._random.choice(users)
            deposits.add(asyncio.create_task(self.deposit(user, TOP_UP_COINS)))
        if deposits:
            await asyncio.gather(*deposits)

    async def look(
        self, directory: Path, users: list[str], hosts: list[str], rooms: list[str]
    ) -> None:
        """Write what HTTP says of wallets, earnings and leaderboards."""
        await self._list(directory / "wallets.jsonl", users, "/v1/accounts/{}", "account")
        await self._list(directory / "earnings.jsonl", hosts, "/v1/hosts/{}/earnings", "host")
        leaders = f"/v1/rooms/{{}}/leaderboard?period=all&limit={LEADERS_MAX}"
        await self._list(directory / "leaders.jsonl", rooms, leaders, "room")

    async def look_at_battles(self, directory: Path, battles: list[str]) -> None:
        """Write what HTTP says of these battles."""
        await self._list(directory / "battles.jsonl", battles, "/v1/battles/{}", "battle")

    async def _list(self, path: Path, names: list[str], where: str, what: str) -> None:
        free = asyncio.Semaphore(READS_AT_ONCE)

        async def read(name: str) -> bytes:
            async with free:
                status, answer = await self.insist("GET", where.format(name), SERVICE)
            if status != 200:
                raise RuntimeError(f"{where.format(name)}: {status} {answer}")
            return _ENCODE({**answer, what: name})

        lines = await asyncio.gather(*map(read, names))
        path.write_bytes(b"".join(line + b"\n" for line in lines))

    async def _call(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        """Status and decoded body; status 0 when there was no answer."""
        if self._session is None:
            raise RuntimeError("use `async with`")
        gateway = self._random.choice(self._gateways)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError):
            async with self._session.request(
                method, f"http://{gateway}{path}", json=body, headers=headers
            ) as answer:
                content = await answer.read()
                if answer.status == 500:
                    self.server_errors.append(content[:300].decode(errors="replace"))
                return answer.status, msgspec.json.decode(content) if content else None
        return 0, None
