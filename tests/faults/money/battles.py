"""Hosts that fight while the gifts come in: one battle after the other in every pair of rooms."""

import asyncio
import random
import time
import uuid
from typing import Any

from .load import MoneyLoad
from .plan import host_of, room_names

BATTLE_S = (4, 9)
END_S_MAX = 90.0
OPEN = ("invited", "running", "settling")


class Hosts:
    """Keeps battles going, all at once, until the time is over."""

    def __init__(self, load: MoneyLoad, seed: int) -> None:
        self._load = load
        self._random = random.Random(seed)
        self.started: list[str] = []

    async def fight(self, seconds: float) -> None:
        """Battles in all rooms, begun until the time is over, and all of them to their end."""
        until = time.monotonic() + seconds
        rooms = room_names()
        pairs = [rooms[number : number + 2] for number in range(0, len(rooms), 2)]
        await asyncio.gather(*(self._one_after_the_other(pair, until) for pair in pairs))

    async def _one_after_the_other(self, rooms: list[str], until: float) -> None:
        while time.monotonic() < until:
            battle = f"b-{uuid.UUID(int=self._random.getrandbits(128)).hex[:12]}"
            await self._fight(battle, rooms, self._random.randint(*BATTLE_S))

    async def _fight(self, battle: str, rooms: list[str], duration_s: int) -> None:
        body: dict[str, Any] = {"rooms": rooms, "duration_s": duration_s}
        if self._random.random() < 0.5:
            window = {"after_s": duration_s - 2, "duration_s": 2, "multiplier": 3}
            body |= {"windows": [window], "punish_s": self._random.choice((0, 1))}
        status, _ = await self._as_host(rooms[0], "PUT", f"/v1/battles/{battle}", body)
        if status not in (200, 201):
            await asyncio.sleep(0.5)  # The last one still holds the rooms.
            return
        status, _ = await self._as_host(rooms[1], "POST", f"/v1/battles/{battle}/accept")
        if status != 200:
            return
        self.started.append(battle)
        await self.ended(battle)

    async def ended(self, battle: str) -> None:
        """Return when the battle is over; TimeoutError when it never is."""
        until = time.monotonic() + END_S_MAX
        while time.monotonic() < until:
            status, answer = await self._load.insist("GET", f"/v1/battles/{battle}", {})
            is_over = status == 200 and answer["status"] not in OPEN
            if is_over and not answer.get("punishing"):
                return
            await asyncio.sleep(0.3)
        raise TimeoutError(f"{battle} does not end")

    async def _as_host(
        self, room: str, method: str, path: str, body: Any = None
    ) -> tuple[int, Any]:
        headers = {"X-User": host_of(room), "X-Role": "host"}
        return await self._load.insist(method, path, headers, body)
