"""An SRT publisher in Python, over the same libsrt as the server, for tests without an encoder."""

import asyncio
import ctypes
import io
import threading
import time
from fractions import Fraction
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

import av

from media.srt.library import Library, socket_address
from tests.unit.encoded import h264

FPS, GOP, FRAMES = 30, 30, 900
_STREAM_ID, _CHUNK = 46, 1_316


@lru_cache(maxsize=1)
def transport_stream() -> tuple[bytes, ...]:
    """Half a minute of video as MPEG-TS, by frame."""
    out = io.BytesIO()
    frames: list[bytes] = []
    with av.open(out, "w", format="mpegts", options={"flush_packets": "1"}) as muxer:
        key = io.BytesIO(h264(FRAMES, GOP)[0][3])
        stream = muxer.add_stream_from_template(av.open(key, format="h264").streams.video[0])
        for pts, dts, is_key, data in h264(FRAMES, GOP):
            packet = av.Packet(data)
            packet.stream, packet.is_keyframe = stream, is_key
            packet.pts, packet.dts, packet.time_base = pts, dts, Fraction(1, FPS)
            muxer.mux(packet)
            frames.append(out.getvalue())
            out.seek(0)
            out.truncate()
    return tuple(frames)


class SrtPublisher:
    """Publishes to an address until it is closed, or the server ends it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = socket_address(parts.hostname or "", parts.port or 0)
        [self._stream_id] = parse_qs(parts.query)["streamid"]
        self._srt = Library()._srt
        self._handle = self._srt.srt_create_socket()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    async def publish(self) -> None:
        """Connect and begin; ConnectionError when the server refuses."""
        text = self._stream_id.encode()
        self._srt.srt_setsockflag(self._handle, _STREAM_ID, ctypes.c_char_p(text), len(text))
        frames = await asyncio.to_thread(transport_stream)
        done = await asyncio.to_thread(
            self._srt.srt_connect, self._handle, self._address, len(self._address)
        )
        if done < 0:
            why = self._srt.srt_getrejectreason(self._handle)
            raise ConnectionError(f"the server refused the publisher: {why}")
        self._thread = threading.Thread(target=self._send, args=(frames,), daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Leave."""
        self._is_over.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._srt.srt_close(self._handle)

    def _send(self, frames: tuple[bytes, ...]) -> None:
        began_s = time.monotonic()
        for number, frame in enumerate(frames):
            for at in range(0, len(frame), _CHUNK):
                chunk = frame[at : at + _CHUNK]
                if self._srt.srt_sendmsg(self._handle, chunk, len(chunk), -1, 1) < 0:
                    return
            wait_s = began_s + (number + 1) / FPS - time.monotonic()
            if self._is_over.wait(max(0.0, wait_s)):
                return
