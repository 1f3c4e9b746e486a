"""An SRT port: one thread that reads every connection on it, and hands over what came.

Nothing is decided here. Handshakes are asked about on the event loop, data and ends are told to it
in batches; what is read and not yet taken is bounded.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Protocol

import structlog

from media.rtp.retransmission import TokenBucket
from media.srt import bounds
from media.srt.library import Library, SrtError

log = structlog.get_logger()

TRY_AGAIN = 503
"""What a handshake gets whose key could not be verified in time."""


class PortListener(Protocol):
    """Who decides and who gets the data; called on the event loop."""

    async def knocked(self, handle: int, address: str, stream_id: str) -> int:
        """0 lets a connection in, an HTTP status keeps it out. Never raises."""

    def arrived(self, handle: int, messages: list[bytes], arrival_ms: float) -> None:
        """Data of a connection that was let in. Never raises."""

    def ended(self, handle: int) -> None:
        """A connection is over. Never raises."""


class SrtPort:
    """Listens from `open` until `close`."""

    def __init__(
        self, library: Library, listener: PortListener, now_ms: Callable[[], float]
    ) -> None:
        self.port = 0
        self._library = library
        self._listener = listener
        self._now_ms = now_ms
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None
        self._listening = 0
        self._poll = 0
        self._closing: deque[int] = deque()
        """Connections to be ended, by the port's thread."""
        self._knocks = TokenBucket(bounds.KNOCKS_PER_S, bounds.KNOCKS_BURST)
        """Used by libsrt's one thread of the port alone."""
        self._is_stopping = threading.Event()
        self._held_bytes = 0
        """Read and not yet taken by the loop."""
        self._held_lock = threading.Lock()

    def open(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises OSError for one that is taken."""
        self._loop = asyncio.get_running_loop()
        self._listening = self._library.listen(
            host, port, bounds.LATENCY_MS, bounds.CONNECTIONS_MAX, self._ask
        )
        self.port = self._library.port_of(self._listening)
        self._poll = self._library.poll()
        self._library.watch(self._poll, self._listening)
        self._thread = threading.Thread(target=self._run, name="srt-port", daemon=True)
        self._thread.start()

    def end(self, handle: int) -> None:
        """End a connection from our side, soon."""
        self._closing.append(handle)

    async def close(self) -> None:
        """End every connection, and stop to listen."""
        if self._thread is not None:
            self._is_stopping.set()
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    # --- on libsrt's threads, and on ours ---------------------------------------------------------

    def _ask(self, handle: int, address: str, stream_id: str) -> int:
        if self._is_stopping.is_set() or not self._knocks.take(self._now_ms()):
            return TRY_AGAIN
        asked = asyncio.run_coroutine_threadsafe(
            _status(self._listener.knocked(handle, address, stream_id)), self._loop
        )
        try:
            return asked.result(bounds.ADMIT_S)
        except FutureTimeoutError:
            asked.cancel()
            self._loop.call_soon_threadsafe(self._listener.ended, handle)
            return TRY_AGAIN

    def _run(self) -> None:
        handles: set[int] = set()
        library = self._library
        while not self._is_stopping.is_set():
            while self._closing:
                self._forget(handles, self._closing.popleft())
            if self._held_bytes > bounds.HELD_BYTES_MAX:
                self._is_stopping.wait(bounds.POLL_MS / 1000)
                continue
            for handle in library.ready(self._poll, bounds.POLL_MS, bounds.CONNECTIONS_MAX + 1):
                if handle == self._listening:
                    self._accept(handles)
                elif handle in handles:
                    self._read(handles, handle)
        for handle in list(handles):
            self._forget(handles, handle)
        library.close(self._listening)
        library.release(self._poll)

    def _accept(self, handles: set[int]) -> None:
        handle = self._library.accept(self._listening)
        if handle is None:
            return
        handles.add(handle)
        try:
            self._library.watch(self._poll, handle)
        except SrtError:
            self._forget(handles, handle)

    def _read(self, handles: set[int], handle: int) -> None:
        messages: list[bytes] = []
        is_over = False
        for _ in range(bounds.READ_MESSAGES):
            message = self._library.receive(handle)
            if not message:
                is_over = message is None
                break
            messages.append(message)
        if messages:
            self._count(sum(map(len, messages)))
            self._tell(self._take, handle, messages, self._now_ms())
        if is_over:
            self._forget(handles, handle)

    def _forget(self, handles: set[int], handle: int) -> None:
        handles.discard(handle)
        self._library.unwatch(self._poll, handle)
        self._library.close(handle)
        self._tell(self._listener.ended, handle)

    def _tell(self, what: Callable[..., None], *about: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *about)
        except RuntimeError:  # The loop has ended; so does the process.
            self._is_stopping.set()

    def _take(self, handle: int, messages: list[bytes], arrival_ms: float) -> None:
        """On the event loop."""
        self._count(-sum(map(len, messages)))
        self._listener.arrived(handle, messages, arrival_ms)

    def _count(self, octets: int) -> None:
        with self._held_lock:
            self._held_bytes += octets


async def _status(asked: Awaitable[int]) -> int:
    return await asked
