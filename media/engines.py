"""The engines of one process, by room: who publishes decides which engine has the room.

All share one book of anchors and one stream of events, so that a room's epochs are numbered through
and its clock events come in order when it goes from one engine to the other.
"""

from collections.abc import AsyncIterator
from functools import partial

import structlog

from engagement.errors import ConflictError
from engagement.settings import Settings
from media.anchor_book import AnchorBook
from media.clock import MediaClockEstimator
from media.embedded import EmbeddedEngine
from media.engine import MediaEvent
from media.event_feed import EventFeed
from media.hls.packager import Packager
from media.hls.recorder import Recorder
from media.host_commands import HostCommand, obey
from media.publisher_tokens import publisher_by_token
from media.rtmp.engine import RtmpEngine
from media.synthetic import SyntheticEngine

log = structlog.get_logger()


class Engines:
    """Synthetic hosts where they were asked for; for who publishes, the engine they come to."""

    def __init__(self, settings: Settings) -> None:
        self.clock = AnchorBook()
        self._feed: EventFeed[MediaEvent] = EventFeed()
        self.synthetic = SyntheticEngine(clock=self.clock, feed=self._feed)
        recorder = None
        if settings.media_recordings:
            recorder = Recorder(
                settings.data_dir / "recordings", settings.media_recordings_bytes_max
            )
        self.packager = Packager(self._request_key_frame, recorder=recorder)
        self.embedded = EmbeddedEngine(
            viewers_max=settings.media_viewers_max,
            joins_per_s=settings.media_joins_per_s,
            addresses=tuple(settings.media_addresses) or _default_addresses(settings),
            ice_servers=tuple(settings.media_ice_servers),
            clock=self.clock,
            feed=self._feed,
            taking_over=self._leave_to_embedded,
            publisher_elsewhere=self._publisher_by_rtmp,
            sink=self.packager,
        )
        self.rtmp = RtmpEngine(
            self.packager,
            partial(publisher_by_token, settings),
            host=settings.host,
            port=settings.media_rtmp_port,
            clock=self.clock,
            feed=self._feed,
            taking_over=self._leave_to_rtmp,
            publisher_elsewhere=self.embedded.publisher_of,
            shown_by=self.embedded,
        )
        self._takes_rtmp = settings.media_rtmp_port != 0

    @property
    def events_dropped(self) -> int:
        """Events that readers were too slow for."""
        return self._feed.dropped

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Begin; epochs of a room continue after the given ones."""
        await self.synthetic.start(newest_epochs)
        await self.embedded.start(newest_epochs)
        if self._takes_rtmp:
            try:
                await self.rtmp.start(newest_epochs)
            except OSError as error:
                # Several instances of one machine: the first has the port, all have the rest.
                log.error("rtmp.no_port", port=self.rtmp.port, error=str(error))

    async def close(self) -> None:
        """End all sessions and every epoch, then the events."""
        await self.synthetic.close()
        await self.embedded.close()
        await self.rtmp.close()
        await self.packager.close()
        self._feed.close()
        self.clock.close()

    def events(self) -> AsyncIterator[MediaEvent]:
        """What happens at any engine, from now on."""
        return self._feed.subscribe()

    def publishing(self) -> list[str]:
        """Rooms with a publisher."""
        return [
            *self.synthetic.publishing(),
            *self.embedded.publishing(),
            *self.rtmp.publishing(),
        ]

    def estimator(self, room: str) -> MediaClockEstimator:
        """The clock of a room, for metrics. Raises NotFoundError."""
        for engine in (self.embedded, self.rtmp):
            if room in engine.publishing():
                return engine.estimator(room)
        return self.synthetic.estimator(room)

    def obey(self, room: str, command: HostCommand) -> None:
        """Have a synthetic host do something. Raises ConflictError where somebody publishes."""
        if room in self.embedded.publishing() or room in self.rtmp.publishing():
            raise ConflictError(f"{room} has a publisher", code="already_publishing")
        obey(self.synthetic, room, command)

    def _request_key_frame(self, room: str) -> None:
        self.embedded.request_key_frame(room)

    def _publisher_by_rtmp(self, room: str) -> str | None:
        return self.rtmp.publisher_of(room)

    def _leave_to_embedded(self, room: str) -> None:
        self.synthetic.hand_over(room)
        self.rtmp.hand_over(room)

    def _leave_to_rtmp(self, room: str) -> None:
        self.synthetic.hand_over(room)
        self.embedded.hand_over(room)


def _default_addresses(settings: Settings) -> tuple[str, ...]:
    """What listens on loopback alone also sends media there alone; else wherever there is."""
    return ("127.0.0.1",) if settings.host in ("127.0.0.1", "localhost") else ()
