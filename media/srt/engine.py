"""SRT publishers as a media engine: a UDP port, many streams on it, a key before any media."""

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import structlog

from engagement.errors import BadRequestError, EngagementError, UnavailableError
from media.engine import SessionId
from media.hls.packager import Packager
from media.ingest import bounds as ingest_bounds
from media.ingest.engine import Authorize, IngestEngine
from media.ingest.publication import PublishedFrames
from media.srt import bounds, metrics
from media.srt.elementary import VideoUnit
from media.srt.library import Library
from media.srt.port import SrtPort
from media.srt.stream_id import parse_stream_id
from media.srt.transport_stream import TransportStream

log = structlog.get_logger()


class SrtConnection:
    """A publisher, from its handshake on."""

    def __init__(self, handle: int, address: str, port: SrtPort, now_ms: float) -> None:
        self.handle = handle
        self.address = address
        self.room = ""
        self.publisher = ""
        self.session = SessionId("")
        self.has_started = False
        self.began_ms = self.heard_ms = now_ms
        self.why = "left"
        self.frames: PublishedFrames | None = None
        self._port = port
        self._stream = TransportStream()

    def close(self, why: str) -> None:
        """End it from our side."""
        self._port.end(self.handle)

    def take(self, messages: list[bytes], arrival_ms: float) -> None:
        """Take in data. Raises BadRequestError for a codec that is not carried, and for a
        publisher whose timestamps do not run as time does."""
        self.heard_ms = max(self.heard_ms, arrival_ms)
        if self.frames is None:
            return
        for unit in self._stream.receive(b"".join(messages)):
            if isinstance(unit, VideoUnit):
                self.frames.video(
                    unit.pts,
                    unit.dts,
                    is_key=unit.is_key,
                    data=unit.data,
                    arrival_ms=self.heard_ms,
                )
            else:
                self.frames.sound(unit.pts, unit.codec, unit.data, unit.config)


class SrtEngine(IngestEngine):
    """A `MediaEngine` whose publishers come by SRT."""

    def __init__(
        self, packager: Packager, authorize: Authorize, *, host: str, port: int, **shared: Any
    ) -> None:
        """Port 0 takes a free one; `shared` is as in :class:`IngestEngine`."""
        super().__init__("srt", packager, authorize, **shared)
        self.port = port
        self._host = host
        self._listening: SrtPort | None = None
        self._connections: dict[int, SrtConnection] = {}
        self._ticking: asyncio.Task[None] | None = None

    # --- the port's own ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Raises UnavailableError where there is no libsrt, OSError for a port that is taken."""
        self._listening = SrtPort(Library(), self, self._now_ms)
        self._listening.open(self._host, self.port)
        self.port = self._listening.port
        self._ticking = asyncio.create_task(self._tick_always(), name="srt-clocks")
        log.info("srt.listening", port=self.port)

    async def _close_port(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        if self._listening is not None:
            await self._listening.close()
        self._connections.clear()

    def _address_of(self, room: str, key: str) -> str:
        stream_id = quote(f"#!::r={room},m=publish,s={key}", safe="")
        return f"srt://{self._host}:{self.port}?streamid={stream_id}"

    # --- what the port tells ----------------------------------------------------------------------

    async def knocked(self, handle: int, address: str, stream_id: str) -> int:
        """Whether a handshake is let in: 0, or the HTTP status of the refusal."""
        try:
            await self._let_in(handle, address, stream_id)
        except EngagementError as error:
            metrics.REFUSED.labels(error.code).inc()
            log.info("srt.refused", why=error.detail, code=error.code)
            return error.status
        except Exception:
            log.exception("srt.refused")
            return 500
        return 0

    def arrived(self, handle: int, messages: list[bytes], arrival_ms: float) -> None:
        """Data of a publisher."""
        connection = self._connections.get(handle)
        if connection is None or self._live.get(connection.room) is not connection:
            return
        try:
            connection.take(messages, arrival_ms)
        except BadRequestError as error:
            log.info("srt.ended", room=connection.room, why=error.detail, code=error.code)
            self._end(connection, error.code)

    def ended(self, handle: int) -> None:
        """A publisher's connection is over, whoever ended it."""
        connection = self._connections.pop(handle, None)
        if connection is not None:
            metrics.CONNECTIONS.set(len(self._connections))
            metrics.ENDED.labels(connection.why).inc()
            self._left(connection, "publisher_left")

    async def _let_in(self, handle: int, address: str, stream_id: str) -> None:
        asked = parse_stream_id(stream_id)
        if self._listening is None or len(self._connections) >= bounds.CONNECTIONS_MAX:
            raise UnavailableError("too many connections", code="full", retry_after_s=10)
        connection = SrtConnection(handle, address, self._listening, self._now_ms())
        connection.frames = await self._admit(connection, asked.room, asked.key)
        self._connections[handle] = connection
        metrics.CONNECTIONS.set(len(self._connections))

    def _end(self, connection: SrtConnection, why: str) -> None:
        connection.why = why
        connection.close(why)
        self._left(connection, "publisher_left")

    async def _tick_always(self) -> None:
        while True:
            await asyncio.sleep(ingest_bounds.CLOCK_CHECK_S)
            for connection in list(self._connections.values()):
                self._tick(connection, self._now_ms())

    def _tick(self, connection: SrtConnection, now_ms: float) -> None:
        """Say what the absence of frames says; let go of who sends none."""
        if self._live.get(connection.room) is not connection or connection.frames is None:
            return
        is_late = now_ms - connection.began_ms > bounds.FIRST_PICTURE_S * 1000
        if now_ms - connection.heard_ms > ingest_bounds.IDLE_S * 1000:
            self._end(connection, "idle")
        elif is_late and not connection.has_started:
            self._end(connection, "no_picture")
        else:
            with suppress(BadRequestError):
                connection.frames.check(now_ms)
