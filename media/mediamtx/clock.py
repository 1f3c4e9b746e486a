"""A room's clock from the dates of its playlist: one task a room, as long as it is published.

MediaMTX writes the time of every segment's first frame (its own clock, or the publisher's where
it is told to route absolute timestamps). Each new part is a frame to the estimator: its end's
date is the media time, its arrival here draws the line. So the uncertainty that is stated has the
length of a part in it.
"""

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin

import structlog

from engagement.domain.media_time import RTP_MODULUS
from engagement.errors import EngagementError
from media.clock import ClockEvent, Frame, MediaClockEstimator
from media.mediamtx import bounds
from media.mediamtx.api import MediaMtx
from media.mediamtx.playlist import Progress, media_playlist_of, progress_of

log = structlog.get_logger()

TICKS_PER_MS: Final = 90


class PlaylistClock:
    """Follows one publication's playlist."""

    def __init__(
        self,
        server: MediaMtx,
        room: str,
        source: int,
        estimator: MediaClockEstimator,
        announce: Callable[[str, list[ClockEvent]], None],
        now_ms: Callable[[], float],
    ) -> None:
        """`source` differs from that of every other publication of the room."""
        self._server = server
        self._room = room
        self._source = source
        self._estimator = estimator
        self._announce = announce
        self._now_ms = now_ms
        self._newest_ms = float("-inf")

    async def follow(self) -> None:
        """Until cancelled."""
        url = f"{self._server.addresses.hls}/{self._room}/index.m3u8"
        progress: Progress | None = None
        while True:
            try:
                segment = progress.next_segment if progress and progress.can_block else None
                part = progress.next_part if progress else 0
                text = await self._server.playlist(url, segment=segment, part=part)
                inner = media_playlist_of(text)
                if inner is not None:
                    url, progress = urljoin(url, inner), None
                    continue
                before, progress = progress, progress_of(text)
                self._take(progress)
                if before == progress or not progress.can_block:
                    await asyncio.sleep(bounds.RETRY_S)
            except EngagementError as error:
                log.debug("mediamtx.no_playlist", room=self._room, why=error.detail)
                progress = None
                await asyncio.sleep(bounds.RETRY_S)

    def check(self, now_ms: float) -> None:
        """Say what the absence of parts says."""
        deadline_ms = self._estimator.deadline_ms
        if deadline_ms is not None and deadline_ms <= now_ms:
            self._announce(self._room, self._estimator.check(now_ms))

    def _take(self, progress: Progress) -> None:
        """The newest end alone: those before it were here earlier than now."""
        if not progress.ends_ms or progress.ends_ms[-1] <= self._newest_ms:
            return
        self._newest_ms = newest_ms = progress.ends_ms[-1]
        ticks = round(newest_ms * TICKS_PER_MS) % RTP_MODULUS
        frame = Frame(self._source, ticks, self._now_ms(), newest_ms)
        self._announce(self._room, self._estimator.frame(frame))
