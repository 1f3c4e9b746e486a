"""The engines of one process, by room: who publishes decides which engine has the room.

All share one book of anchors and one stream of events, so that a room's epochs are numbered through
and its clock events come in order when it goes from one engine to the other.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import structlog

from engagement.errors import ConflictError, NotFoundError, UnavailableError
from engagement.settings import Settings
from media.anchor_book import AnchorBook
from media.clock import MediaClockEstimator
from media.embedded import EmbeddedEngine
from media.engine import MediaEvent, SessionId
from media.event_feed import EventFeed
from media.hls.packager import Packager
from media.hls.recorder import Recorder
from media.host_commands import HostCommand, obey
from media.ingest.engine import IngestEngine
from media.janus.engine import JanusEngine
from media.mediamtx.api import Addresses
from media.mediamtx.engine import MediaMtxEngine
from media.publisher_tokens import publisher_by_token
from media.rtmp.engine import RtmpEngine
from media.srt.engine import SrtEngine
from media.synthetic import SyntheticEngine

log = structlog.get_logger()

WebRtcEngine = EmbeddedEngine | JanusEngine | MediaMtxEngine


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
            taking_over=partial(self._leave_to, "embedded"),
            publisher_elsewhere=partial(self._publisher_elsewhere, "embedded"),
            sink=self.packager,
        )
        authorize = partial(publisher_by_token, settings)
        self.rtmp = RtmpEngine(
            self.packager, authorize, host=settings.host, port=settings.media_rtmp_port,
            **self._shared_by("rtmp"),
        )  # fmt: skip
        self.srt = SrtEngine(
            self.packager, authorize, host=settings.host, port=settings.media_srt_port,
            **self._shared_by("srt"),
        )  # fmt: skip
        self._real: dict[str, WebRtcEngine | IngestEngine] = {
            "embedded": self.embedded,
            "rtmp": self.rtmp,
            "srt": self.srt,
        }
        """Engines of somebody who publishes; of one room one has a publisher at a time."""
        self._chosen = settings.media_engines
        self.janus = self._janus(settings)
        self.mediamtx = self._mediamtx(settings)
        self._webrtc: dict[str, WebRtcEngine] = {"embedded": self.embedded}
        if self.janus is not None:
            self._webrtc["janus"] = self.janus
        if self.mediamtx is not None:
            self._webrtc["mediamtx"] = self.mediamtx
        self._real |= self._webrtc
        self._ports: list[IngestEngine] = []
        if settings.media_rtmp_port:
            self._ports.append(self.rtmp)
        if settings.media_srt_port:
            self._ports.append(self.srt)

    def _janus(self, settings: Settings) -> JanusEngine | None:
        if not settings.media_janus_url:
            return None
        return JanusEngine(
            settings.media_janus_url,
            api_secret=settings.media_janus_secret,
            admin_key=settings.media_janus_admin_key,
            forward_host=settings.media_janus_forward_host,
            clock=self.clock,
            feed=self._feed,
            taking_over=partial(self._leave_to, "janus"),
            publisher_elsewhere=partial(self._publisher_elsewhere, "janus"),
            sink=self.packager,
        )

    def _mediamtx(self, settings: Settings) -> MediaMtxEngine | None:
        if not settings.media_mediamtx:
            return None
        return MediaMtxEngine(
            Addresses(**settings.media_mediamtx),
            partial(publisher_by_token, settings),
            clock=self.clock,
            feed=self._feed,
            taking_over=partial(self._leave_to, "mediamtx"),
            publisher_elsewhere=partial(self._publisher_elsewhere, "mediamtx"),
        )

    def publishing_engine(self, room: str) -> WebRtcEngine:
        """The engine that takes a room's WHIP, by setting.

        Raises UnavailableError where that is one without an address.
        """
        chosen = self._chosen.get(room, self._chosen.get("*", "embedded"))
        if chosen not in self._webrtc:
            raise UnavailableError(
                f"{room} is for {chosen}, whose address is not set", code="engine_lost"
            )
        return self._webrtc[chosen]

    def watching_engine(self, room: str) -> WebRtcEngine:
        """The engine that shows a room over WebRTC: what comes by RTMP or SRT the embedded one
        does. Raises UnavailableError as :meth:`publishing_engine` does."""
        if any(room in engine.publishing() for engine in (self.rtmp, self.srt)):
            return self.embedded
        return self.publishing_engine(room)

    def holding(self, session: SessionId) -> WebRtcEngine:
        """The engine of a WebRTC session. Raises NotFoundError for none of ours."""
        for engine in self._webrtc.values():
            if engine.holds(session):
                return engine
        raise NotFoundError("no such session", code="session_not_found")

    def _shared_by(self, name: str) -> dict[str, Any]:
        """What an ingest has in common with the other engines."""
        return {
            "clock": self.clock,
            "feed": self._feed,
            "taking_over": partial(self._leave_to, name),
            "publisher_elsewhere": partial(self._publisher_elsewhere, name),
            "shown_by": self.embedded,
        }

    @property
    def events_dropped(self) -> int:
        """Events that readers were too slow for."""
        return self._feed.dropped

    async def start(self, newest_epochs: dict[str, int]) -> None:
        """Begin; epochs of a room continue after the given ones."""
        await self.synthetic.start(newest_epochs)
        for webrtc in self._webrtc.values():
            await webrtc.start(newest_epochs)
        for engine in self._ports:
            name = engine.capabilities.name
            try:
                await engine.start(newest_epochs)
            except OSError as error:
                # Several instances of one machine: the first has the port, all have the rest.
                log.error("ingest.no_port", ingest=name, error=str(error))
            except UnavailableError as error:
                log.warning("ingest.unavailable", ingest=name, why=error.detail)

    async def close(self) -> None:
        """End all sessions and every epoch, then the events."""
        await self.synthetic.close()
        for engine in self._real.values():
            await engine.close()
        await self.packager.close()
        self._feed.close()
        self.clock.close()

    def events(self) -> AsyncIterator[MediaEvent]:
        """What happens at any engine, from now on."""
        return self._feed.subscribe()

    def publishing(self) -> list[str]:
        """Rooms with a publisher."""
        real = [room for engine in self._real.values() for room in engine.publishing()]
        return self.synthetic.publishing() + real

    def by_name(self) -> dict[str, list[str]]:
        """Rooms with a publisher, by engine."""
        real = {name: engine.publishing() for name, engine in self._real.items()}
        return {"synthetic": self.synthetic.publishing()} | real

    def estimator(self, room: str) -> MediaClockEstimator:
        """The clock of a room, for metrics. Raises NotFoundError."""
        for engine in self._real.values():
            if room in engine.publishing():
                return engine.estimator(room)
        return self.synthetic.estimator(room)

    def obey(self, room: str, command: HostCommand) -> None:
        """Have a synthetic host do something. Raises ConflictError where somebody publishes."""
        if any(room in engine.publishing() for engine in self._real.values()):
            raise ConflictError(f"{room} has a publisher", code="already_publishing")
        obey(self.synthetic, room, command)

    def _request_key_frame(self, room: str) -> None:
        self.embedded.request_key_frame(room)
        if self.janus is not None:
            self.janus.request_key_frame(room)

    def _publisher_elsewhere(self, name: str, room: str) -> str | None:
        """Who publishes in a room by another engine than the one of this name."""
        others = (engine for other, engine in self._real.items() if other != name)
        return next((who for engine in others if (who := engine.publisher_of(room))), None)

    def _leave_to(self, name: str, room: str) -> None:
        """The engine of this name takes the room."""
        self.synthetic.hand_over(room)
        for other, engine in self._real.items():
            if other != name:
                engine.hand_over(room)


def _default_addresses(settings: Settings) -> tuple[str, ...]:
    """What listens on loopback alone also sends media there alone; else wherever there is."""
    return ("127.0.0.1",) if settings.host in ("127.0.0.1", "localhost") else ()
