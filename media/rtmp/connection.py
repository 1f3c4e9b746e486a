"""One RTMP connection: bytes between a socket and its session, and how long it may be silent."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from media.engine import SessionId
from media.ingest import bounds as ingest_bounds
from media.rtmp import bounds
from media.rtmp.publication import Publication
from media.rtmp.session import MediaArrived, PublishAsked, PublishEnded, RtmpSession

Admit = Callable[["Connection", str, str], Awaitable[Publication]]
"""`(connection, room, token)`: the publication, or a typed error that refuses it."""


class Connection:
    """A publisher, or somebody who wants to be one."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        now_ms: Callable[[], float],
    ) -> None:
        peer = writer.get_extra_info("peername")
        self.address: str = peer[0] if peer else ""
        """Of the other side; empty when it is gone already."""
        self.room = ""
        self.publisher = ""
        self.session = SessionId("")
        self.has_started = False
        """Its first frame is in."""
        self._reader, self._writer = reader, writer
        self._now_ms = now_ms
        self._rtmp = RtmpSession()
        self._publication: Publication | None = None
        self._is_closed = False

    async def serve(self, admit: Admit) -> str:
        """Serve until either side ends; why it ended.

        Raises BadRequestError for what is no RTMP and what `admit` raises; TimeoutError for one
        who does not publish in time; ConnectionError.
        """
        async with asyncio.timeout(bounds.UNCHECKED_S):
            while self._publication is None:
                if not await self._step(await self._reader.read(bounds.READ_BYTES), admit):
                    return "left"
        heard_ms = self._now_ms()
        while not self._is_closed:
            data = await self._read()
            now_ms = self._now_ms()
            if data is None:
                if now_ms - heard_ms > ingest_bounds.IDLE_S * 1000:
                    return "idle"
                self._publication.check(now_ms)
                continue
            heard_ms = now_ms
            if not await self._step(data, admit):
                return "left"
        return "closed"

    async def refuse(self, why: str) -> None:
        """Tell the publisher why, as long as it listens."""
        if self._is_closed:
            return
        if self._publication is None:
            self._rtmp.refuse(why)
        else:
            self._rtmp.end(why)
        self._flush()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(bounds.REFUSAL_S):
                self._writer.write_eof()
                # Closing over unread bytes would reset the connection, and the reason be lost.
                while await self._reader.read(bounds.READ_BYTES):
                    pass

    def close(self, why: str) -> None:
        """End it from our side."""
        if not self._is_closed:
            self._rtmp.end(why)
            self._flush()
            self._is_closed = True
            self._writer.close()

    async def _read(self) -> bytes | None:
        """The next bytes; None when none came within `CLOCK_CHECK_S`."""
        try:
            async with asyncio.timeout(ingest_bounds.CLOCK_CHECK_S):
                return await self._reader.read(bounds.READ_BYTES)
        except TimeoutError:
            return None

    async def _step(self, data: bytes, admit: Admit) -> bool:
        """Take in bytes; false at the end of the stream."""
        if not data or self._is_closed:
            return False
        arrival_ms = self._now_ms()
        for event in self._rtmp.receive(data):
            if isinstance(event, PublishAsked):
                self._flush()
                self._publication = await admit(self, event.room, event.token)
                self._rtmp.accept()
            elif isinstance(event, PublishEnded):
                self._flush()
                return False
            elif isinstance(event, MediaArrived) and self._publication is not None:
                self._publication.take(event, arrival_ms)
        self._flush()
        return self._rtmp.state != "closed"

    def _flush(self) -> None:
        if self._rtmp.output and not self._is_closed:
            self._writer.write(bytes(self._rtmp.output))
            self._rtmp.output.clear()
