"""Money beside everything else of a run: wallets, top-ups, battles, and their evidence."""

import asyncio
import sys
from pathlib import Path
from typing import Self

from tests.faults.history import History
from tests.faults.instance import ROOT, Instance

from .bank import Bank
from .battles import Hosts
from .plan import TOP_UPS_MAX, socket_user, wallets

GIFTS_PER_TOP_UP = 200
VERIFIED = ("ledger", "projections")


class Money:
    """What is done about money in one run."""

    def __init__(
        self, gateways: list[str], history: History, rooms: dict[str, str], gifts: int, seed: int
    ) -> None:
        self._bank = Bank(gateways, history, seed)
        self._rooms = rooms
        self._gifts = gifts
        sockets = [socket_user(number, room) for room in rooms for number in range(2)]
        self._wallets = wallets(gifts, sockets)
        self.hosts = Hosts(self._bank, history, rooms, seed)

    async def __aenter__(self) -> Self:
        await self._bank.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._bank.__aexit__()

    @property
    def server_errors(self) -> list[str]:
        """Bodies of the answers with status 500."""
        return self._bank.server_errors

    async def prepare(self) -> None:
        """Fill the wallets."""
        await self._bank.prepare(self._wallets)

    async def play(self, seconds: float) -> None:
        """Deposits and battles, until the time is over and all of them are decided."""
        top_ups = min(TOP_UPS_MAX, self._gifts // GIFTS_PER_TOP_UP)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bank.top_up(list(self._wallets), top_ups, seconds))
            group.create_task(self.hosts.fight(seconds))

    async def collect(self, directory: Path) -> None:
        """Write what HTTP says in the end."""
        users, hosts = list(self._wallets), list(self._rooms.values())
        await self._bank.look(directory, users, hosts, list(self._rooms))
        await self._bank.look_at_battles(directory, self.hosts.started)


async def verify(instance: Instance) -> dict[str, int]:
    """Exit codes of the product's own proofs: no part of the verdict, but they must agree."""
    codes = {}
    for name in VERIFIED:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "engagement", "verify", name),
            cwd=ROOT,
            env=instance.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        (instance.directory / f"verify-{name}.txt").write_bytes(out)
        codes[name] = process.returncode or 0
    return codes
