"""An RTMP publisher in Python, for tests that need nothing of an encoder but its frames."""

import asyncio
import time
from contextlib import suppress
from urllib.parse import urlsplit

from media.rtmp.chunks import SET_CHUNK_SIZE, VIDEO
from tests.unit.encoded import h264
from tests.unit.rtmp_publisher import asking, avc_configuration, avc_frame, chunk

FPS, GOP = 30, 30
REFUSED = (b"NetStream.Publish.BadName", b"NetStream.Publish.Failed")


class RtmpPublisher:
    """Publishes to an address until it is closed, or the server ends it."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def publish(self) -> None:
        """Connect, and begin once the server allows it; ConnectionError when it does not."""
        reader, self._writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        name = f"{self._url.path.rpartition('/')[2]}?{self._url.query}"
        self._writer.write(asking(name))
        answer = b""
        while b"NetStream.Publish.Start" not in answer:
            data = await reader.read(4_096)
            answer += data
            if not data or any(refused in answer for refused in REFUSED):
                raise ConnectionError("the server refused the publisher")
        self._task = asyncio.create_task(self._send(self._writer))

    async def close(self) -> None:
        """Leave without a goodbye."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        frames = h264(GOP, GOP)
        writer.write(chunk(SET_CHUNK_SIZE, (128).to_bytes(4, "big"), on=2, stream=0))
        writer.write(chunk(VIDEO, avc_configuration(frames[0][3])))
        began_s, number = time.monotonic(), 0
        while not writer.is_closing():
            _, _, is_key, data = frames[number % GOP]
            tag = avc_frame(data, is_key=is_key)
            writer.write(chunk(VIDEO, tag, at_ms=number * 1000 // FPS))
            number += 1
            await asyncio.sleep(max(0.0, began_s + number / FPS - time.monotonic()))
