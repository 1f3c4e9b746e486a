"""A host who is always on: publishes, watches the room as hosts do, begins anew when cut off."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx
import structlog

from engagement.crowd.clients import Poster, Viewer, headers_of
from engagement.host_video.delight import react
from engagement.host_video.encoder import sound_loop
from engagement.host_video.picture import JUNO, MIKA, HostPicture, Look, Reaction
from engagement.host_video.take import Take
from engagement.settings import Settings

log = structlog.get_logger()

AGAIN_S: Final = 0.5
"""After a refusal or a connection that ended, before the next try."""
LOOK_S: Final = 1.0
"""For an answer about the room's clock."""
FRESH_MS: Final = 8_000.0
"""Who is on the air ties media time to the server's clock every five seconds."""


class HostVideo:
    """One host's video of one room."""

    def __init__(self, settings: Settings, room: str, host: str, look: Look) -> None:
        self._settings = settings
        self._room, self._host = room, host
        self._look = look
        self._poster = Poster(settings)
        self._take: Take | None = None
        self._reaction: Reaction | None = None
        self._epoch: int | None = None
        """The epoch of our newest take, once there was one."""

    async def run(self, sound: Sequence[bytes]) -> None:
        """Until cancelled."""
        picture = await asyncio.to_thread(HostPicture, self._look)
        eyes = Viewer(self._poster, self._settings, self._room, self._host)
        watching = asyncio.create_task(eyes.run(self._see))
        try:
            number = 0
            while True:
                number += 1
                await self._publish(Take(picture, sound, number, lambda: self._reaction))
                await asyncio.sleep(AGAIN_S)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._poster.close()

    async def _publish(self, take: Take) -> None:
        url = f"{self._settings.media_base}/v1/rooms/{self._room}/whip"
        clock = await self._clock()
        if clock is not None and is_taken(clock, self._epoch, time.time() * 1000):
            return
        self._epoch = clock["now"]["epoch"] + 1 if clock else 1
        try:
            await take.publish(url, headers_of(self._settings, self._host, "host"))
        except httpx.HTTPError as error:
            log.info("host_video.waits", room=self._room, error=repr(error))
            return
        log.info("host_video.live", room=self._room, take=take.number)
        self._take, self._reaction = take, None
        try:
            await take.until_over()
        finally:
            self._take = None
            await take.close()
        log.warning("host_video.ended", room=self._room, take=take.number)

    async def _clock(self) -> dict[str, Any] | None:
        """The room's clock, as media tells it; None where it has none, or nobody answers."""
        url = f"{self._settings.media_base}/v1/rooms/{self._room}/clock"
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=LOOK_S) as client:
                answer = await client.get(url)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    def _see(self, event: dict[str, Any]) -> None:
        if self._take is not None:
            at_ms = self._take.pictures.at_ms
            self._reaction = react(self._reaction, event, at_ms) or self._reaction


def is_taken(clock: dict[str, Any], own_epoch: int | None, now_ms: float) -> bool:
    """Whether somebody has begun to publish after our newest take, and still does: whoever sits
    at the host's page has the room as long as they like."""
    if own_epoch is None or not clock["running"] or clock["now"]["epoch"] <= own_epoch:
        return False
    newest = clock["anchors"][-1]
    return bool(now_ms - newest["wall_ms"] - newest["offset_ms"] < FRESH_MS)


async def run_hosts(settings: Settings) -> None:
    """Both hosts of the demo, until cancelled."""
    sound = await asyncio.to_thread(sound_loop)
    async with asyncio.TaskGroup() as tasks:
        for room, host, look in (("demo", "mika", MIKA), ("rival", "juno", JUNO)):
            tasks.create_task(HostVideo(settings, room, host, look).run(sound))
