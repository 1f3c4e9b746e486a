"""The synthetic crowd of the demo: people who come and go, talk in waves and like in bursts.

The same seed gives the same people and the same order of what they do; only the clock is real.
"""

import asyncio
import contextlib
import random
from typing import Any, Final
from uuid import UUID

import httpx
import structlog

from engagement.crowd.clients import Poster
from engagement.settings import Settings

log = structlog.get_logger()

ROOM: Final = "demo"
HOST: Final = "host"
TITLE: Final = "Late-night ramen with Mika"
SERVICE: Final = "demo-crowd"
STEP_S: Final = 0.1
WAVE_S: Final = 24
"""A room breathes: it is quiet, something happens, everybody talks, it calms down."""

PEOPLE: Final = tuple(
    f"{first}{last}"
    for first in ("mika", "juan", "lena", "tomo", "ada", "noor", "piet", "yuki", "sol", "ivo")
    for last in ("", "_92", ".live", "77")
)

COMMENTS: Final = (
    "that broth looks unreal",
    "how long does it simmer?",
    "¡qué hambre me dio!",
    "いただきます！",
    "first time here, hi everyone 👋",
    "the steam on the lens 😂",
    "is that kombu or nori?",
    "c'est l'heure du dîner chez moi",
    "she's going for the chili oil",
    "do the egg flip again!!",
    "watching from Lisbon 🇵🇹",
    "das sieht so gut aus",
    "who else is eating noodles right now",
    "나도 먹고 싶다",
    "that knife is terrifyingly sharp",
    "ratio of shoyu to mirin?",
    "LETS GOOO",
    "quiet chat today… nope, there it goes",
    "adding this to my list",
    "the sound of that sizzle",
    "wait, rewind, what did she put in?",
    "bom demais",
    "my cat is watching too",
    "3 minutes is too long for those noodles",
    "agree to disagree on the corn",
    "chef's kiss 👌",
)

ANSWERS: Final = ("yes!", "about six hours, she said", "kombu", "same here", "haha", "so true")


class DemoCrowd:
    """One endless crowd in one room."""

    def __init__(self, settings: Settings, seed: int = 7) -> None:
        self._settings = settings
        self._poster = Poster(settings)
        self._chance = random.Random(seed)
        self._present: set[str] = set()
        self._recent: list[str] = []
        self._at_s = 0.0

    async def run(self) -> None:
        """Until cancelled; outlives restarts of the gateway and closings of the room."""
        try:
            while True:
                with contextlib.suppress(ConnectionError, httpx.HTTPError):
                    await self._open()
                    await self._live()
                await asyncio.sleep(1)
        finally:
            await self._poster.close()

    async def _open(self) -> None:
        body = {"title": TITLE, "host": HOST}
        answer = await self._poster.call(
            "PUT", f"/v1/rooms/{ROOM}", user=SERVICE, role="service", body=body
        )
        answer.raise_for_status()
        await self._start_clock()
        log.info("demo room is open", room=ROOM)

    async def _start_clock(self) -> None:
        """Ask the media process for a synthetic host, in case it has none for this room yet."""
        url = f"http://{self._settings.host}:{self._settings.media_port}/v1/rooms/{ROOM}/synthetic"
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
                headers = self._poster.headers(SERVICE, "service")
                await client.post(url, json={"do": "start"}, headers=headers)

    async def _live(self) -> None:
        while True:
            batch = self._step()
            if batch:
                results = await self._poster.post(ROOM, batch, user=SERVICE, role="service")
                self._recent += [
                    result["id"]
                    for result, asked in zip(results, batch, strict=True)
                    if result["status"] == "accepted" and asked["type"] == "comment.post"
                ]
                del self._recent[:-20]
                if any(result.get("code") == "room_closed" for result in results):
                    return
            await asyncio.sleep(STEP_S)

    def _step(self) -> list[dict[str, Any]]:
        """What happens in the next `STEP_S`."""
        self._at_s += STEP_S
        phase = (self._at_s % WAVE_S) / WAVE_S
        excitement = 0.15 + (1.0 if 0.55 < phase < 0.75 else 0.25)
        chance = self._chance
        batch: list[dict[str, Any]] = []
        if chance.random() < 0.25 * excitement:
            batch.append(self._comment())
        if chance.random() < 0.6 * excitement:
            who = chance.choice(PEOPLE)
            count = chance.randint(1, 4 if excitement < 1 else 18)
            batch.append(self._request(who, "like.tap", {"count": count}))
        away = [person for person in PEOPLE if person not in self._present]
        if away and chance.random() < 0.08 + 0.1 * (len(self._present) < 12):
            who = chance.choice(away)
            self._present.add(who)
            batch.append(self._request(who, "room.join", {}))
        elif len(self._present) > 8 and chance.random() < 0.06:
            who = chance.choice(sorted(self._present))
            self._present.discard(who)
            batch.append(self._request(who, "room.leave", {}))
        return batch

    def _comment(self) -> dict[str, Any]:
        chance = self._chance
        who = chance.choice(sorted(self._present) or list(PEOPLE))
        if self._recent and chance.random() < 0.2:
            data = {"text": chance.choice(ANSWERS), "reply_to": chance.choice(self._recent)}
        else:
            data = {"text": chance.choice(COMMENTS)}
        return self._request(who, "comment.post", data)

    def _request(self, actor: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        # Ids are drawn from the system, not from the seed: a second run is a second crowd.
        request_id = str(UUID(bytes=random.randbytes(16), version=4))
        return {"id": request_id, "type": kind, "data": data, "actor": actor}
