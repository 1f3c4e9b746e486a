"""The synthetic crowds of the demo: people who come and go, talk in waves, like and give in bursts.

The same seed gives the same people and the same order of what they do; only the clock is real.
"""

import asyncio
import random
from typing import Any, Final
from uuid import UUID

import httpx
import structlog

from engagement.crowd.clients import UNANSWERED, Poster
from engagement.crowd.demo_battles import Battles
from engagement.crowd.demo_gifts import Givers
from engagement.crowd.demo_shows import ADVERTISEMENT, DEMO, RIVAL, Show
from engagement.crowd.demo_wallets import SERVICE, Wallets
from engagement.settings import Settings

log = structlog.get_logger()

STEP_S: Final = 0.1
WAVE_S: Final = 24
"""A room breathes: it is quiet, something happens, everybody talks, it calms down."""
AGAIN_S: Final = 1.0
"""After something that stopped us, before we begin again."""
CATALOGUE_S: Final = 30.0
"""A gift may be added or withdrawn at any time."""
RECENT_MAX: Final = 20
REMOVE_S: Final = 2.0
"""How long the host's moderator takes to see what does not belong here."""
MEDIA_TIMEOUT_S: Final = 3


async def run_demo(settings: Settings) -> None:
    """Both rooms, their battles and everybody's coins, until cancelled."""
    crowds = {show.room: DemoCrowd(settings, seed, show) for seed, show in ((7, DEMO), (8, RIVAL))}

    def warm(show: Show, heat: float) -> None:
        crowds[show.room].heat = heat

    shows = (DEMO, RIVAL)
    people = [who for show in shows for who in show.people]
    async with asyncio.TaskGroup() as tasks:
        for crowd in crowds.values():
            tasks.create_task(crowd.run())
        tasks.create_task(Wallets(settings, list(crowds), people).run())
        tasks.create_task(Battles(settings, shows, warm).run())


class DemoCrowd:
    """One endless crowd in one room."""

    def __init__(self, settings: Settings, seed: int = 7, show: Show = DEMO) -> None:
        self._settings = settings
        self._show = show
        self._poster = Poster(settings)
        self._chance = random.Random(seed)
        self._givers = Givers(self._chance)
        self.heat = 0.0
        """How lively it is: 0 in a calm room, 3 in the last seconds of a battle."""
        self._present: set[str] = set()
        self._recent: list[str] = []
        self._to_remove: list[tuple[float, str]] = []
        self._at_s = 0.0
        self._catalogue_at_s = 0.0
        """When to look at the catalogue again."""

    async def run(self) -> None:
        """Until cancelled; outlives restarts of the gateway and closings of the room."""
        try:
            while True:
                try:
                    await self._open()
                    await self._live()
                except (ConnectionError, httpx.HTTPError) as error:
                    log.warning("demo crowd waits for the gateway", error=str(error))
                await asyncio.sleep(AGAIN_S)
        finally:
            await self._poster.close()

    async def _open(self) -> None:
        show = self._show
        body = {"title": show.title, "host": show.host}
        answer = await self._poster.call(
            "PUT", f"/v1/rooms/{show.room}", user=SERVICE, role="service", body=body
        )
        answer.raise_for_status()
        self._present.clear()  # A room that was closed has sent everybody home.
        if not self._settings.demo_video:
            await self._start_clock()
        log.info("demo room is open", room=show.room)

    async def _see_catalogue(self) -> None:
        """What can be given: a gateway that has just started may sell nothing yet."""
        sold = await self._poster.call("GET", "/v1/gifts", user=SERVICE, role="service")
        gifts = sold.raise_for_status().json()["items"]
        self._givers.offer(gifts)
        self._catalogue_at_s = self._at_s + (CATALOGUE_S if gifts else AGAIN_S)

    async def _start_clock(self) -> None:
        """Ask the media process for a synthetic host, in case it has none for this room yet."""
        url = f"{self._settings.media_base}/v1/rooms/{self._show.room}/synthetic"
        headers = self._poster.headers(SERVICE, "service")
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=MEDIA_TIMEOUT_S) as client:
                await client.post(url, json={"do": "start"}, headers=headers)
        except httpx.HTTPError as error:
            # The crowd needs no video: the room is stamped with wall time until there is one.
            log.warning("no synthetic host for the demo", error=repr(error))

    async def _live(self) -> None:
        """Until the room is not open any more, or nobody answers."""
        while True:
            if self._at_s >= self._catalogue_at_s:
                await self._see_catalogue()
            batch = self.step()
            if batch:
                results = await self._poster.post(
                    self._show.room, batch, user=SERVICE, role="service"
                )
                self.note(batch, results)
                codes = {result.get("code") for result in results}
                if codes & {"room_closed", "room_not_found"}:
                    return
                if any(result["status"] == UNANSWERED for result in results):
                    raise ConnectionError("nobody answers")
            await asyncio.sleep(STEP_S)

    def note(self, batch: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
        """Remember what can be answered, and what has to be taken down."""
        for asked, result in zip(batch, results, strict=True):
            if result["status"] != "accepted" or asked["type"] != "comment.post":
                continue
            if asked["data"]["text"] == ADVERTISEMENT:
                self._to_remove.append((self._at_s + REMOVE_S, asked["id"]))
            else:
                self._recent.append(asked["id"])
        del self._recent[:-RECENT_MAX]

    def step(self) -> list[dict[str, Any]]:
        """What happens in the next `STEP_S`: five to ten things a second, twenty in a wave."""
        self._at_s += STEP_S
        phase = (self._at_s % WAVE_S) / WAVE_S
        wave = 0.55 < phase < 0.75
        chance = self._chance
        batch: list[dict[str, Any]] = []
        for _ in range(4 if wave else 1):
            if chance.random() < 0.15:
                batch.append(self._comment())
            if chance.random() < 0.4:
                who = chance.choice(self._show.people)
                taps = {"count": chance.randint(1, 18 if wave else 4)}
                batch.append(self._request(who, "like.tap", taps))
        if chance.random() < 0.002:
            who = chance.choice(self._show.people)
            batch.append(self._request(who, "comment.post", {"text": ADVERTISEMENT}))
        batch += self._comings_and_goings()
        for tap in self._givers.step(self._at_s, self.heat, sorted(self._present)):
            order = {"gift": tap.gift, "count": tap.count}
            batch.append(self._request(tap.who, "gift.send", order))
        while self._to_remove and self._to_remove[0][0] <= self._at_s:
            _, target = self._to_remove.pop(0)
            data = {"target": target, "reason": "advertising"}
            batch.append(self._request(self._show.host, "comment.remove", data))
        return batch

    def _comings_and_goings(self) -> list[dict[str, Any]]:
        chance = self._chance
        away = [person for person in self._show.people if person not in self._present]
        if away and chance.random() < 0.08 + 0.1 * (len(self._present) < 12):
            who = chance.choice(away)
            self._present.add(who)
            return [self._request(who, "room.join", {})]
        if len(self._present) > 8 and chance.random() < 0.06:
            who = chance.choice(sorted(self._present))
            self._present.discard(who)
            return [self._request(who, "room.leave", {})]
        return []

    def _comment(self) -> dict[str, Any]:
        chance = self._chance
        who = chance.choice(sorted(self._present) or list(self._show.people))
        if self._recent and chance.random() < 0.2:
            data = {
                "text": chance.choice(self._show.answers),
                "reply_to": chance.choice(self._recent),
            }
        else:
            lang, text = chance.choice(self._show.comments)
            data = {"text": text, "lang": lang}
        return self._request(who, "comment.post", data)

    def _request(self, actor: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        # Ids are drawn from the system, not from the seed: a second run is a second crowd.
        request_id = str(UUID(bytes=random.randbytes(16), version=4))
        return {"id": request_id, "type": kind, "data": data, "actor": actor}
