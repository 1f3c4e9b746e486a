"""The clocks of an engine's rooms, from the anchors that it announced: `MediaClock` for anybody."""

import time
from collections.abc import AsyncIterator, Callable

from engagement.domain.media_time import (
    RTP_MODULUS,
    Anchor,
    RoomClock,
    pts_at,
    pts_of_rtp,
    uncertainty_ms,
)
from media.engine import MediaTime, Track
from media.event_feed import EventFeed


def wall_ms() -> float:
    """The server's clock: what gateways stamp `accepted` with."""
    return time.time_ns() / 1e6


class AnchorBook:
    """Remembers anchors in the process that made them: there is no lag."""

    def __init__(self, now_ms: Callable[[], float] = wall_ms) -> None:
        self._now_ms = now_ms
        self._clocks: dict[str, RoomClock] = {}
        self._feeds: dict[str, EventFeed[Anchor]] = {}

    def add(self, room: str, anchor: Anchor) -> None:
        """Take in what the estimator announced."""
        self._clocks.setdefault(room, RoomClock()).observe(anchor, anchor.at_us)
        if room in self._feeds:
            self._feeds[room].publish(anchor)

    def rooms(self) -> list[str]:
        """Rooms that have, or had, a clock."""
        return list(self._clocks)

    def newest_epoch(self, room: str) -> int:
        """The number of a room's newest epoch, open or not; 0 before its first."""
        recent = self.recent(room)
        return recent[-1].epoch if recent else 0

    def recent(self, room: str) -> list[Anchor]:
        """Recent anchors, the oldest first."""
        clock = self._clocks.get(room)
        return [] if clock is None else list(clock.anchors)

    def now(self, room: str) -> MediaTime | None:
        """The newest frame's time."""
        return self.at_wall(room, self._now_ms())

    def at_wall(self, room: str, server_ms: float) -> MediaTime | None:
        """The frame that was newest at a server time, by the anchor that held then."""
        clock = self._clocks.get(room)
        anchor = None if clock is None else clock.at(int(server_ms * 1000))
        if anchor is None:
            return None
        server_us = int(server_ms * 1000)
        pts_ms = pts_at(anchor, server_us)
        return _media_time(anchor, pts_ms, uncertainty_ms(anchor, 0.0, server_us))

    def from_rtp(self, room: str, track: Track, rtp: int) -> MediaTime | None:
        """A frame of the current epoch by its RTP timestamp; anchors are the video's."""
        clock = self._clocks.get(room)
        anchor = None if clock is None else clock.current
        if anchor is None or track != "video":
            return None
        # Inside an epoch ticks are media time: only where the frame is on the wall is uncertain.
        return _media_time(anchor, pts_of_rtp(anchor, rtp), anchor.err_ms)

    async def anchors(self, room: str) -> AsyncIterator[Anchor]:
        """The current anchor and every one that follows."""
        feed = self._feeds.setdefault(room, EventFeed())
        following = feed.subscribe()
        recent = self.recent(room)
        if recent:
            yield recent[-1]
        async for anchor in following:
            yield anchor

    def close(self) -> None:
        """End every iteration over anchors."""
        for feed in self._feeds.values():
            feed.close()


def _media_time(anchor: Anchor, pts_ms: float, err_ms: float) -> MediaTime:
    since_anchor_ms = pts_ms - anchor.pts_ms
    return MediaTime(
        epoch=anchor.epoch,
        pts_ms=pts_ms,
        server_ms=anchor.server_ms + since_anchor_ms,
        rtp=(anchor.rtp + round(since_anchor_ms * anchor.rate / 1000)) % RTP_MODULUS,
        uncertainty_ms=err_ms,
    )
