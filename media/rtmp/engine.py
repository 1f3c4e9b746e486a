"""RTMP publishers as a media engine: a TCP port, many streams on it, a key before any media."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from engagement.errors import EngagementError
from media.hls.packager import Packager
from media.ingest.engine import Authorize, IngestEngine
from media.rtmp import bounds, metrics
from media.rtmp.connection import Connection
from media.rtmp.publication import Publication

log = structlog.get_logger()


class RtmpEngine(IngestEngine):
    """A `MediaEngine` whose publishers come by RTMP."""

    def __init__(
        self, packager: Packager, authorize: Authorize, *, host: str, port: int, **shared: Any
    ) -> None:
        """Port 0 takes a free one; `shared` is as in :class:`IngestEngine`."""
        super().__init__("rtmp", packager, authorize, **shared)
        self.port = port
        self._host = host
        self._connections: dict[Connection, None] = {}
        """All that are open, the oldest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        log.info("rtmp.listening", port=self.port)

    async def _close_port(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close("the server stops")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _address_of(self, room: str, key: str) -> str:
        return f"rtmp://{self._host}:{self.port}/live/{room}?token={key}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._has_place():
            metrics.ENDED.labels("connections_max").inc()
            writer.transport.abort()
            return
        connection = Connection(reader, writer, self._now_ms)
        self._connections[connection] = None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        metrics.CONNECTIONS.set(len(self._connections))
        why = "left"
        try:
            why = await connection.serve(self._admit_connection)
        except EngagementError as error:
            why = error.code
            log.info("rtmp.refused", room=connection.room, why=error.detail, code=error.code)
            await connection.refuse(error.detail)
        except OSError as error:
            why = "timeout" if isinstance(error, TimeoutError) else "connection_lost"
        except asyncio.CancelledError:
            why = "engine_stopped"
        finally:
            self._left(connection, "publisher_left")
            self._connections.pop(connection, None)
            metrics.CONNECTIONS.set(len(self._connections))
            metrics.ENDED.labels(why).inc()
            with suppress(ConnectionError):
                writer.close()

    async def _admit_connection(self, connection: Connection, room: str, token: str) -> Publication:
        return Publication(await self._admit(connection, room, token))

    def _has_place(self) -> bool:
        """Whether one more may connect; who has knocked longest without a key makes room, so that
        a crowd at the door keeps no publisher out."""
        if len(self._connections) < bounds.CONNECTIONS_MAX:
            return True
        live = set(self._live.values())
        oldest = next((held for held in self._connections if held not in live), None)
        if oldest is None:
            return False
        oldest.close("too many connections")
        del self._connections[oldest]
        return True
