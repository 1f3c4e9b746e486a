"""Rooms as HLS: frames are fed in, playlists and parts are waited for and read.

Nothing leaves this module but bytes and typed errors; the routes are in :mod:`media.hls_http`. A
stream that is broken, or of a codec that HLS does not carry, is refused alone: the ingest that
feeds it, and every other room, do not notice.
"""

import asyncio
import gzip
import time
from collections.abc import Callable

import msgspec
import structlog
from msgspec import Struct

from engagement.errors import (
    BadRequestError,
    EngagementError,
    NotFoundError,
    UnavailableError,
)
from media.engine import TimedMark
from media.frames import EncodedFrame
from media.hls import bounds, metrics
from media.hls.fragments import Fragmenter, KeyFrameWanted, Output, Part
from media.hls.playlist import render
from media.hls.recorder import Recorder
from media.hls.window import LiveSegment, LiveWindow

log = structlog.get_logger()


class Playlist(Struct, frozen=True):
    """A playlist as it is sent; `is_current` is false where what was asked for did not come."""

    text: bytes
    packed: bytes
    """The same, gzip."""
    is_current: bool = True


class PackagedRoom:
    """One room: what is cut, what may be read, and who waits for it."""

    def __init__(self, room: str, first_number: int) -> None:
        self.room = room
        self.fragmenter = Fragmenter()
        self.window = LiveWindow(first_number)
        self.epoch = -1
        self.refusal: BadRequestError | None = None
        """Why nothing of the present epoch is packaged."""
        self.timer: asyncio.TimerHandle | None = None
        self._changed: asyncio.Future[None] | None = None
        self._playlists: dict[bool, tuple[int, Playlist]] = {}
        self._dropped = 0

    @property
    def is_of_no_use(self) -> bool:
        """The present epoch is of a codec that HLS does not carry: waiting changes nothing."""
        return self.refusal is not None and self.refusal.code == "codec_not_packaged"

    def playlist(self, *, skip: bool) -> Playlist:
        """The playlist as it is now; made once for all who ask."""
        version, made = self._playlists.get(skip, (-1, None))
        if made is None or version != self.window.version:
            text = render(self.window, skip=skip).encode()
            made = Playlist(text, gzip.compress(text, bounds.GZIP_LEVEL, mtime=0))
            self._playlists[skip] = (self.window.version, made)
        return made

    def count_dropped(self) -> None:
        """Add to the metric what the fragmenter left out since the last call."""
        metrics.FRAMES_DROPPED.inc(self.fragmenter.dropped - self._dropped)
        self._dropped = self.fragmenter.dropped

    def wake(self) -> None:
        """The window changed."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        self._changed = None

    async def until(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for the window to have something; false if it did not come in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not is_there():
                    if self._changed is None:
                        self._changed = asyncio.get_running_loop().create_future()
                    # Shielded: who gives up must not take the news from the others.
                    await asyncio.shield(self._changed)
        except TimeoutError:
            return False
        return True


class Packager:
    """Packages every room whose frames it is fed; runs in one event loop."""

    def __init__(
        self,
        request_key_frame: Callable[[str], None] = lambda room: None,
        recorder: Recorder | None = None,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`request_key_frame(room)` asks a room's publisher for one, where that is possible."""
        self.recorder = recorder
        self._request_key_frame = request_key_frame
        self._now_s = now_s
        self._rooms: dict[str, PackagedRoom] = {}
        self._waiting = 0

    # --- what is published ----------------------------------------------------------------------

    def feed(self, frame: EncodedFrame) -> None:
        """Take in the next frame of its room, in order of arrival. Never raises."""
        room = self._rooms.get(frame.room)
        if room is None or (room.window.is_over and frame.epoch > room.epoch):
            room = self._open(frame.room)
        if room is None:
            return
        if frame.epoch > room.epoch:
            self._end_epoch(room)
            room.epoch, room.refusal = frame.epoch, None
            self._stay(room)
        try:
            outputs = room.fragmenter.feed(frame)
        except BadRequestError as error:
            metrics.REFUSED.labels(error.code).inc()
            if room.refusal is None and frame.track == "video":
                log.warning("hls.refused", room=room.room, epoch=frame.epoch, why=error.detail)
                room.refusal = error
            return
        self._take(room, outputs)
        if any(isinstance(output, Part) for output in outputs):
            metrics.PART_DELAY_MS.observe(max(0.0, self._now_s() * 1000 - frame.server_ms))

    def end_epoch(self, room: str, epoch: int) -> None:
        """The room's publisher has gone, or begins anew with a later epoch."""
        packaged = self._rooms.get(room)
        if packaged is not None and packaged.epoch == epoch:
            self._end_epoch(packaged)
            loop = asyncio.get_running_loop()
            self._stay(packaged)
            packaged.timer = loop.call_later(bounds.LINGER_S, self._finish, packaged)

    def mark(self, mark: TimedMark) -> None:
        """Put a mark into the playlist and the recording; raises NotFoundError where the room, or
        the epoch, is not packaged."""
        room = self._rooms.get(mark.room)
        if room is None:
            raise NotFoundError(f"{mark.room} is not packaged", code="stream_not_found")
        server_ms = room.window.server_ms(mark.epoch, mark.pts_ms)
        room.window.mark(mark)
        room.wake()
        if self.recorder is not None:
            self.recorder.mark(mark.room, mark.epoch, mark, server_ms)

    async def close(self) -> None:
        """End every epoch and recording; whoever waits is answered."""
        for room in list(self._rooms.values()):
            self._end_epoch(room)
            self._finish(room)
            self._stay(room)
        self._rooms.clear()
        if self.recorder is not None:
            await self.recorder.close()

    def _open(self, name: str) -> PackagedRoom | None:
        """A room from its first segment on; a playlist that has ended is not taken up again."""
        ended = self._rooms.get(name)
        first_number = int(self._now_s())
        if ended is not None:
            self._stay(ended)
            first_number = max(first_number, ended.window.next_msn)
        elif len(self._rooms) >= bounds.ROOMS_MAX:
            metrics.REFUSED.labels("rooms_max").inc()
            return None
        room = self._rooms[name] = PackagedRoom(name, first_number)
        metrics.ROOMS.set(len(self._rooms))
        return room

    def _stay(self, room: PackagedRoom) -> None:
        if room.timer is not None:
            room.timer.cancel()
            room.timer = None

    def _end_epoch(self, room: PackagedRoom) -> None:
        if room.epoch < 0:
            return
        try:
            self._take(room, room.fragmenter.end())
        except BadRequestError as error:
            log.warning("hls.end_refused", room=room.room, epoch=room.epoch, why=error.detail)
        self._record(room, room.window.complete())
        room.wake()
        if self.recorder is not None:
            self.recorder.end(room.room, room.epoch)

    def _finish(self, room: PackagedRoom) -> None:
        """Nobody came back: the playlist ends, and a while later the room is forgotten."""
        room.window.finish()
        room.wake()
        loop = asyncio.get_running_loop()
        room.timer = loop.call_later(bounds.FORGET_S, self._forget, room)

    def _forget(self, room: PackagedRoom) -> None:
        if self._rooms.get(room.room) is room:
            del self._rooms[room.room]
            metrics.ROOMS.set(len(self._rooms))

    def _take(self, room: PackagedRoom, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, KeyFrameWanted):
                self._request_key_frame(room.room)
                continue
            self._record(room, room.window.take(output))
            if isinstance(output, Part):
                metrics.PARTS.inc()
            elif self.recorder is not None:
                self.recorder.header(room.room, output.epoch, output.data)
        if outputs:
            room.count_dropped()
            room.wake()

    def _record(self, room: PackagedRoom, segment: LiveSegment | None) -> None:
        if segment is not None and self.recorder is not None:
            self.recorder.segment(room.room, segment.epoch, segment)

    # --- what is watched ------------------------------------------------------------------------

    async def playlist(
        self, room: str, msn: int | None = None, part: int | None = None, *, skip: bool = False
    ) -> Playlist:
        """The playlist, once it has that segment or part, or whatever it has after `WAIT_S`.

        Raises NotFoundError where nothing is published, BadRequestError for a directive too far
        ahead or media that HLS does not carry, UnavailableError when too many wait or the stream
        has only begun.
        """
        packaged = self._room(room)
        window = packaged.window
        if not window.has_whole_segment():
            # Players that know no parts give up on a playlist without segments.
            if packaged.is_of_no_use:
                raise _refusal(packaged)
            started = await self._until(packaged, window.has_whole_segment, bounds.START_WAIT_S)
            if not started:
                raise _refusal(packaged)
        if msn is None:
            return packaged.playlist(skip=skip)
        window.check_request(msn, part)
        is_current = await self._until(packaged, lambda: window.has(msn, part), bounds.WAIT_S)
        made = packaged.playlist(skip=skip)
        return made if is_current else msgspec.structs.replace(made, is_current=False)

    async def part(self, room: str, msn: int, index: int) -> bytes:
        """A part, waited for where the playlist hinted at it; raises NotFoundError."""
        packaged = self._room(room)
        window = packaged.window
        hinted = window.next_part()
        if (msn, index) == hinted:
            await self._until(
                packaged, lambda: window.next_part() != hinted or window.is_over, bounds.WAIT_S
            )
        segment = window.segment(msn)
        if segment is None or not 0 <= index < len(segment.parts):
            raise NotFoundError("no such part", code="segment_not_found")
        return segment.parts[index].data

    def segment(self, room: str, msn: int) -> bytes:
        """A whole segment; raises NotFoundError."""
        segment = self._room(room).window.segment(msn)
        if segment is None or not segment.is_done:
            raise NotFoundError("no such segment", code="segment_not_found")
        return b"".join(part.data for part in segment.parts)

    def header(self, room: str, number: int) -> bytes:
        """An initialization segment; raises NotFoundError."""
        return self._room(room).window.header(number)

    def _room(self, room: str) -> PackagedRoom:
        packaged = self._rooms.get(room)
        if packaged is None:
            raise NotFoundError(f"nothing is published in {room}", code="stream_not_found")
        return packaged

    async def _until(
        self, room: PackagedRoom, is_there: Callable[[], bool], timeout_s: float
    ) -> bool:
        if is_there():
            return True
        if self._waiting >= bounds.WAITING_MAX:
            raise UnavailableError("too many requests wait for media", retry_after_s=1)
        self._waiting += 1
        metrics.WAITING.set(self._waiting)
        try:
            return await room.until(is_there, timeout_s)
        finally:
            self._waiting -= 1
            metrics.WAITING.set(self._waiting)


def _refusal(room: PackagedRoom) -> EngagementError:
    """Why a room has no playlist after so long a wait."""
    if room.refusal is not None:
        return BadRequestError(room.refusal.detail, code=room.refusal.code)
    return UnavailableError("the stream has only begun", code="stream_starting", retry_after_s=1)
