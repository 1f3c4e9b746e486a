"""A host who is always on: publishes, watches the room as hosts do, begins anew when cut off."""

import asyncio
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


class HostVideo:
    """One host's video of one room."""

    def __init__(self, settings: Settings, room: str, host: str, look: Look) -> None:
        self._settings = settings
        self._room, self._host = room, host
        self._look = look
        self._poster = Poster(settings)
        self._take: Take | None = None
        self._reaction: Reaction | None = None

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

    def _see(self, event: dict[str, Any]) -> None:
        if self._take is not None:
            at_ms = self._take.pictures.at_ms
            self._reaction = react(self._reaction, event, at_ms) or self._reaction


async def run_hosts(settings: Settings) -> None:
    """Both hosts of the demo, until cancelled."""
    sound = await asyncio.to_thread(sound_loop)
    async with asyncio.TaskGroup() as tasks:
        for room, host, look in (("demo", "mika", MIKA), ("rival", "juno", JUNO)):
            tasks.create_task(HostVideo(settings, room, host, look).run(sound))
