"""PK battles of the demo, one after the other: the hosts take turns in challenging each other.

Invite, a moment to think, accept, a minute and a quarter with points three-fold towards its end,
the loser pays, a pause. The hosts speak for themselves, over HTTP, as hosts do.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
import structlog

from engagement.crowd.clients import Poster
from engagement.crowd.demo_shows import Show
from engagement.settings import Settings

log = structlog.get_logger()

FIRST_S: Final = 12.0
"""Who opens the page sees the room first, and soon a battle."""
THINK_S: Final = 3.0
DURATION_S: Final = 75
BOOST: Final = {"after_s": 50, "duration_s": 25, "multiplier": 3}
HURRY_S: Final = 8
"""The last seconds, in which everybody gives."""
CHEER_S: Final = 5.0
"""How often people look at the score."""
BEHIND: Final = 1.3
AHEAD: Final = 0.7
PUNISH_S: Final = 12
PAUSE_S: Final = 25.0
LOOK_S: Final = 1.0
SETTLE_S_MAX: Final = 30
"""After its deadline a battle is counted within a second or two; a kill may take longer."""
AGAIN_S: Final = 4.0
"""After something that stopped us (another battle goes on), before the next try."""

Warm = Callable[[Show, float], None]
"""Says how lively it is in a room from now on."""


class Battles:
    """One battle after the other between two shows."""

    def __init__(self, settings: Settings, shows: Sequence[Show], warm: Warm) -> None:
        self._poster = Poster(settings)
        self._shows = list(shows)
        self._warm = warm

    async def run(self) -> None:
        """Until cancelled; outlives restarts of everything."""
        try:
            await asyncio.sleep(FIRST_S)
            while True:
                try:
                    is_over = await self._battle()
                except (ConnectionError, httpx.HTTPError, ValueError, KeyError) as error:
                    log.warning("a battle of the demo was broken off", error=repr(error))
                    is_over = False
                self._warm_all(0)
                await asyncio.sleep(PAUSE_S if is_over else AGAIN_S)
                self._shows.reverse()
        finally:
            await self._poster.close()

    async def _battle(self) -> bool:
        """One battle, to its end; False when it did not come to one."""
        challenger, challenged = self._shows
        path = f"/v1/battles/pk-{uuid.uuid4()}"
        body = {
            "rooms": [challenger.room, challenged.room],
            "duration_s": DURATION_S,
            "windows": [BOOST],
            "punish_s": PUNISH_S,
        }
        if not await self._say("PUT", path, challenger, body):
            return False
        await asyncio.sleep(THINK_S)
        if not await self._say("POST", f"{path}/accept", challenged):
            return False
        log.info("a battle of the demo begins", battle=path.rpartition("/")[2])
        await self._cheer(path)
        return await self._follow(path)

    async def _say(self, method: str, path: str, show: Show, body: Any = None) -> bool:
        answer = await self._poster.call(method, path, user=show.host, role="host", body=body)
        if not answer.is_success:
            log.info("no battle now", asked=path, answer=answer.text)
        return answer.is_success

    async def _cheer(self, path: str) -> None:
        """Let it get livelier towards the deadline, and liveliest where a side is behind."""
        hurry_s = DURATION_S - HURRY_S
        phases = ((0.8, BOOST["after_s"]), (1.8, hurry_s - BOOST["after_s"]), (3.0, HURRY_S))
        for heat, lasts_s in phases:
            left_s = float(lasts_s)
            while left_s > 0:
                behind = await self._behind(path)
                for show in self._shows:
                    self._warm(show, heat * (BEHIND if show.room == behind else AHEAD))
                step_s = min(left_s, CHEER_S)
                await asyncio.sleep(step_s)
                left_s -= step_s
        self._warm_all(0.3)

    async def _behind(self, path: str) -> str:
        """The room that has fewer points."""
        battle = await self._look(path)
        fewest = min(battle["sides"], key=lambda side: int(side["score"]))
        return str(fewest["room"])

    async def _look(self, path: str) -> dict[str, Any]:
        answer = await self._poster.call("GET", path, user=self._shows[0].host, role="host")
        battle: dict[str, Any] = answer.raise_for_status().json()
        return battle

    async def _follow(self, path: str) -> bool:
        """Wait until it has ended, and until the loser has paid."""
        for _ in range(round(SETTLE_S_MAX / LOOK_S)):
            status = (await self._look(path))["status"]
            if status not in ("running", "settling"):
                break
            await asyncio.sleep(LOOK_S)
        if status != "ended":
            return False
        await asyncio.sleep(PUNISH_S)
        return True

    def _warm_all(self, heat: float) -> None:
        for show in self._shows:
            self._warm(show, heat)
