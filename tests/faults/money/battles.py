"""Hosts that fight while the gifts come in: battles in every pair of rooms."""

import asyncio
import random
import time
import uuid
from typing import Any

from tests.faults.history import History, now

from .bank import Bank

BATTLE_S = (4, 12)
POLL_S = 1.0
END_S_MAX = 120.0
OPEN = ("invited", "running", "settling")


class Hosts:
    """Keeps battles going, all at once, until the time is over."""

    def __init__(self, bank: Bank, history: History, rooms: dict[str, str], seed: int) -> None:
        self._bank = bank
        self._history = history
        self._rooms = rooms
        self._random = random.Random(seed)
        names = list(rooms)
        self._pairs = [names[number : number + 2] for number in range(0, len(names) - 1, 2)]
        self.started: list[str] = []
        self.endless: list[str] = []

    async def fight(self, seconds: float) -> None:
        """One battle after the other in each pair, all of them to their end."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._one_after_the_other(pair, until) for pair in self._pairs))

    async def fight_at_once(self, duration_s: int) -> float:
        """One battle in each pair, as nearly at once as it goes; when the first one ends, in
        monotonic seconds."""
        begun = await asyncio.gather(*(self._begin(pair, duration_s) for pair in self._pairs))
        if not all(begun):
            raise RuntimeError(f"{begun.count('')} battles did not start")
        return time.monotonic() + duration_s

    async def finish(self) -> None:
        """Wait until all that were started are over."""
        await asyncio.gather(*map(self._end_of, self.started))

    async def _one_after_the_other(self, rooms: list[str], until: float) -> None:
        while time.monotonic() < until:
            battle = await self._begin(rooms, self._random.randint(*BATTLE_S))
            if battle:
                await self._end_of(battle)
            else:
                await asyncio.sleep(POLL_S)  # The last one still holds the rooms.

    async def _begin(self, rooms: list[str], duration_s: int) -> str:
        """The name of a battle that has started; empty when it has not."""
        battle = f"battle-{uuid.UUID(int=self._random.getrandbits(128)).hex[:12]}"
        body: dict[str, Any] = {"rooms": rooms, "duration_s": duration_s}
        if self._random.random() < 0.5:
            window = {"after_s": duration_s - 2, "duration_s": 2, "multiplier": 3}
            body |= {"windows": [window], "punish_s": self._random.choice((0, 1))}
        status, _ = await self._as_host(rooms[0], "PUT", f"/v1/battles/{battle}", body)
        if status not in (200, 201):
            return ""
        status, _ = await self._as_host(rooms[1], "POST", f"/v1/battles/{battle}/accept")
        if status != 200:
            return ""
        self._history.note("battle", id=battle, rooms=rooms, duration_s=duration_s, at=now())
        self.started.append(battle)
        return battle

    async def _end_of(self, battle: str) -> None:
        """Return when the battle is over, or has not been for long: that is for the judge."""
        until = time.monotonic() + END_S_MAX
        while time.monotonic() < until:
            status, answer = await self._bank.insist("GET", f"/v1/battles/{battle}", {})
            if status == 200 and answer["status"] not in OPEN and not answer.get("punishing"):
                return
            await asyncio.sleep(POLL_S)
        self.endless.append(battle)

    async def _as_host(
        self, room: str, method: str, path: str, body: Any = None
    ) -> tuple[int, Any]:
        headers = {"X-User": self._rooms[room], "X-Role": "host"}
        return await self._bank.insist(method, path, headers, body)
