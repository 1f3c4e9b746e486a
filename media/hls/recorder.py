"""Recordings as the packager and the HTTP side use them: nothing here blocks the loop.

One thread writes, in order, and keeps the disk within its bound: the epochs that ended longest ago
go first; where none is left, what is being recorded ends. A recording that fails costs no viewer
anything.
"""

import asyncio
import shutil
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import structlog

from engagement.errors import NotFoundError
from media.engine import TimedMark
from media.hls import bounds, metrics
from media.hls.recording import (
    Entry,
    EpochFile,
    RecordedEnd,
    RecordedHeader,
    RecordedMark,
    RecordedSegment,
    Recording,
    delete,
    epoch_directory,
    read_bytes,
    read_index,
    scan,
)
from media.hls.window import LiveSegment

log = structlog.get_logger()

Key = tuple[str, int]
"""A room and an epoch."""


class Recorder:
    """Writes epochs as they run and reads them again; `bytes_max` bounds them all together."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        self._root = root
        self._bytes_max = bytes_max
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._given_bytes = 0
        self._running: set[Key] = set()
        self._indexes: OrderedDict[Key, list[Entry]] = OrderedDict()
        # What follows belongs to the writing thread; the loop only looks.
        self._done_bytes = 0
        self._files: dict[Key, EpochFile] = {}
        self._sizes: dict[Key, int] = {}
        self._ended: deque[Key] = deque()
        """On disk and over, the one that ended longest ago first."""
        self._deleted: set[Key] = set()
        self._thread.submit(self._find_old)

    # --- writing --------------------------------------------------------------------------------

    def header(self, room: str, epoch: int, data: bytes) -> None:
        """An initialization segment; the first one of an epoch begins its recording."""
        if (room, epoch) not in self._sizes:
            self._running.add((room, epoch))
        self._submit((room, epoch), data, RecordedHeader(0, len(data)))

    def segment(self, room: str, epoch: int, segment: LiveSegment) -> None:
        """A segment that is whole."""
        data = b"".join(part.data for part in segment.parts)
        entry = RecordedSegment(0, len(data), segment.ticks, segment.pts_ms, segment.server_ms)
        self._submit((room, epoch), data, entry)

    def mark(self, room: str, epoch: int, mark: TimedMark, server_ms: float) -> None:
        """A mark at a date."""
        self._submit((room, epoch), b"", RecordedMark(mark, server_ms))

    def end(self, room: str, epoch: int, reason: str = "ended") -> None:
        """The epoch is over."""
        if (room, epoch) in self._running:
            self._running.discard((room, epoch))
            self._thread.submit(self._end, (room, epoch), reason)

    async def close(self) -> None:
        """End what is being recorded and wait for the disk."""
        for room, epoch in list(self._running):
            self.end(room, epoch, "stopped")
        await asyncio.to_thread(self._thread.shutdown)

    async def written(self) -> None:
        """Wait until what was given so far is on disk."""
        await asyncio.wrap_future(self._thread.submit(lambda: None))

    def _submit(self, key: Key, data: bytes, entry: Entry) -> None:
        if key not in self._running:
            return
        pending_bytes = self._given_bytes - self._done_bytes
        if pending_bytes + len(data) > bounds.RECORDING_PENDING_BYTES_MAX:
            _tell_stopped(key, "disk_slow")
            self.end(*key, "disk_slow")
            return
        self._given_bytes += len(data)
        self._thread.submit(self._write, key, data, entry)

    def _write(self, key: Key, data: bytes, entry: Entry) -> None:
        try:
            if key in self._deleted or (key in self._sizes and key not in self._files):
                return  # It was ended while this waited.
            self._append(key, data, entry)
            self._make_room(key)
        except (OSError, NotFoundError) as error:
            _tell_stopped(key, "disk_error", error=str(error))
            self._end(key, "disk_error")
        finally:
            self._done_bytes += len(data)

    def _append(self, key: Key, data: bytes, entry: Entry) -> None:
        if key not in self._files:
            self._sizes[key] = 0
            self._files[key] = EpochFile(epoch_directory(self._root, *key))
        file = self._files[key]
        if isinstance(entry, RecordedHeader | RecordedSegment):
            entry = msgspec.structs.replace(entry, offset=file.offset)
        self._sizes[key] += file.append(data, entry)

    def _end(self, key: Key, reason: str) -> None:
        self._running.discard(key)
        file = self._files.get(key)
        if file is None:
            return
        try:
            self._append(key, b"", RecordedEnd(reason))
            file.close()
        except OSError as error:
            log.warning("recording.end_unwritten", room=key[0], epoch=key[1], error=str(error))
        del self._files[key]
        self._ended.append(key)

    # --- the bound of the disk ------------------------------------------------------------------

    def _find_old(self) -> None:
        for recording in sorted(scan(self._root)):
            key = (recording.room, recording.epoch)
            self._ended.append(key)
            self._sizes[key] = recording.size
        metrics.RECORDED_BYTES.set(self._total_bytes)

    @property
    def _total_bytes(self) -> int:
        return sum(self._sizes.values())

    def _make_room(self, writing: Key) -> None:
        while self._is_too_much():
            if not self._ended:
                _tell_stopped(writing, "disk_full")
                self._end(writing, "disk_full")
                break
            key = self._ended.popleft()
            self._deleted.add(key)
            delete(self._root, *key)
            size = self._sizes.pop(key)
            metrics.RECORDINGS_DELETED.inc()
            log.info("recording.deleted", room=key[0], epoch=key[1], bytes=size)
        metrics.RECORDED_BYTES.set(self._total_bytes)

    def _is_too_much(self) -> bool:
        if self._total_bytes > self._bytes_max:
            return True
        return shutil.disk_usage(self._root).free < bounds.RECORDING_FREE_BYTES_MIN

    # --- reading --------------------------------------------------------------------------------

    def is_running(self, room: str, epoch: int) -> bool:
        """Whether the epoch is being recorded now."""
        return (room, epoch) in self._running

    async def recordings(self, room: str) -> list[Recording]:
        """What there is of a room, in order of epochs; raises NotFoundError for no room's name."""
        return await asyncio.to_thread(_recordings_of, self._root, room)

    async def index(self, room: str, epoch: int) -> list[Entry]:
        """What an epoch's recording holds; raises NotFoundError."""
        key = (room, epoch)
        if key in self._indexes and key not in self._deleted:
            self._indexes.move_to_end(key)
            return self._indexes[key]
        entries = await asyncio.to_thread(read_index, self._root, room, epoch)
        if entries and isinstance(entries[-1], RecordedEnd):
            self._indexes[key] = entries
            if len(self._indexes) > bounds.INDEXES_CACHED_MAX:
                self._indexes.popitem(last=False)
        return entries

    async def read(self, room: str, epoch: int, number: int) -> bytes:
        """The bytes that line `number` of an epoch's index names; raises NotFoundError."""
        entries = await self.index(room, epoch)
        if not 0 <= number < len(entries):
            raise NotFoundError("no such part of a recording", code="recording_not_found")
        entry = entries[number]
        if not isinstance(entry, RecordedHeader | RecordedSegment):
            raise NotFoundError("no such part of a recording", code="recording_not_found")
        return await asyncio.to_thread(
            read_bytes, self._root, room, epoch, entry.offset, entry.size
        )


def _recordings_of(root: Path, room: str) -> list[Recording]:
    return sorted(scan(root, room), key=lambda recording: recording.epoch)


def _tell_stopped(key: Key, why: str, **more: str) -> None:
    metrics.RECORDINGS_STOPPED.labels(why).inc()
    log.warning("recording.stopped", room=key[0], epoch=key[1], why=why, **more)
