"""One engine's events to any number of readers, none of which can hold up the engine."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

READER_EVENTS_MAX: Final = 10_000
"""Waiting for one reader; beyond it the oldest go. 200 rooms make 40 anchors a second."""


class _Reader(Generic[T]):
    __slots__ = ("closed", "dropped", "items", "wake")

    def __init__(self) -> None:
        self.items: deque[T] = deque(maxlen=READER_EVENTS_MAX)
        self.wake = asyncio.Event()
        self.closed = False
        self.dropped = 0


class EventFeed(Generic[T]):
    """Publishes without waiting. A reader begins with the first event after it subscribed."""

    def __init__(self) -> None:
        self._readers: set[_Reader[T]] = set()
        self._closed = False

    @property
    def dropped(self) -> int:
        """Events that slow readers have lost, of all that read now."""
        return sum(reader.dropped for reader in self._readers)

    def publish(self, event: T) -> None:
        """Give an event to every reader."""
        for reader in self._readers:
            reader.dropped += len(reader.items) == READER_EVENTS_MAX
            reader.items.append(event)
            reader.wake.set()

    def close(self) -> None:
        """End every reader's iteration after what it has not read yet."""
        self._closed = True
        for reader in self._readers:
            reader.closed = True
            reader.wake.set()

    def subscribe(self) -> AsyncIterator[T]:
        """Events from now on; what is published before the first read is not lost."""
        reader: _Reader[T] = _Reader()
        reader.closed = self._closed
        self._readers.add(reader)
        return self._read(reader)

    async def _read(self, reader: _Reader[T]) -> AsyncIterator[T]:
        try:
            while True:
                while reader.items:
                    yield reader.items.popleft()
                if reader.closed:
                    return
                reader.wake.clear()
                await reader.wake.wait()
        finally:
            self._readers.discard(reader)
