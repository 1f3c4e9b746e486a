"""Media time: anchors, epochs and the stamp of a fact.

An *epoch* is one continuous publication of one stream: within it media time runs as the wall does,
but for drift and for frames that come late. Whatever breaks that line (another publisher, a jump
of its timestamps, a gap) begins another epoch. An *anchor* ties, inside an epoch, an RTP timestamp
and a PTS to the server's wall clock. A *stamp* is the media time of the newest frame that had been
ingested when a request was accepted: the host cannot have reacted earlier.

Everything here is a pure function of its arguments, so a stamp can be derived again, to the
millisecond, from the fact's `time` and the anchor that the fact names (ADR 0005).
"""

import math
from typing import Final

from msgspec import Struct

from engagement.domain import limits

RTP_MODULUS: Final = 1 << 32
"""RTP timestamps are 32 bits and wrap (RFC 3550 section 5.1)."""

WALL_EPOCH: Final = 0
"""The epoch of a room without a media clock: `pts_ms` then counts wall time since it opened."""

_ROUNDING_MS: Final = 0.5
"""A stamp is in whole ms."""


class Anchor(Struct, frozen=True, omit_defaults=True):
    """One tie between media time and the server's clock.

    `rtp` (rate ticks) and `pts_ms` name the same frame; the publisher captured it at `wall_ms`
    of its own clock, which is `wall_ms + offset_ms` of the server's. `err_ms` bounds how far the
    newest ingested frame is from this line, as measured by whoever made the anchor; it makes
    another one before the deviation exceeds `err_ms + ANCHOR_STEP_MS`.
    """

    id: str
    """Id of the clock event that announced it: what a fact's `mediaanchor` names."""
    epoch: int
    rate: int
    """RTP ticks a second: 90000 for video."""
    rtp: int
    pts_ms: float
    wall_ms: float
    offset_ms: float
    err_ms: float
    at_us: int
    """Server time at which it was taken; it holds from here on."""
    ended: bool = False
    """The epoch is over: its last frame is the anchored one, and media time stands still."""

    @property
    def server_ms(self) -> float:
        """Server wall time of the anchored frame, Unix ms."""
        return self.wall_ms + self.offset_ms


class Stamp(Struct, frozen=True):
    """A fact's place on the media timeline: `pts_ms` of `epoch`, right within `err_ms`."""

    epoch: int
    pts_ms: int
    err_ms: float | None
    """None without a media clock."""
    anchor: str | None


def rtp_difference(later: int, earlier: int) -> int:
    """Signed distance of two 32-bit RTP timestamps in ticks, right across the wrap-around."""
    half = RTP_MODULUS >> 1
    return (later - earlier + half) % RTP_MODULUS - half


def pts_of_rtp(anchor: Anchor, rtp: int) -> float:
    """Media time in ms of the frame with this RTP timestamp, in the anchor's epoch."""
    return anchor.pts_ms + rtp_difference(rtp, anchor.rtp) * 1000 / anchor.rate


def pts_at(anchor: Anchor, server_us: int) -> float:
    """Media time in ms of the newest frame at this server time, by this anchor."""
    if anchor.ended:
        return anchor.pts_ms
    return anchor.pts_ms + (server_us / 1000 - anchor.server_ms)


def uncertainty_ms(anchor: Anchor, lag_ms: float, server_us: int) -> float:
    """Bound on the error of :func:`pts_at` at this server time.

    The anchor's own error, the drift since it, a deviation too small to be announced, the lag of
    whoever learnt of it (frames that have stopped coming fall behind by 1 ms in each ms), and all
    the time by which the next anchor is overdue: media may have stood still since.
    """
    known_ms = anchor.err_ms + limits.ANCHOR_STEP_MS + _ROUNDING_MS
    if anchor.ended:
        return known_ms
    age_ms = abs(server_us / 1000 - anchor.server_ms)
    since_ms = (server_us - anchor.at_us) / 1000
    overdue_ms = max(0.0, since_ms - limits.ANCHOR_INTERVAL_S * 1000 - lag_ms)
    return known_ms + age_ms * limits.DRIFT_PPM_MAX / 1e6 + lag_ms + overdue_ms


def stamp(anchor: Anchor, lag_ms: float, accepted_us: int) -> Stamp:
    """The stamp of a request accepted at `accepted_us`; `pts_ms` may be negative."""
    return Stamp(
        epoch=anchor.epoch,
        pts_ms=round(pts_at(anchor, accepted_us)),
        err_ms=math.ceil(uncertainty_ms(anchor, lag_ms, accepted_us) * 1000) / 1000,
        anchor=anchor.id,
    )


def wall_stamp(opened_us: int, accepted_us: int) -> Stamp:
    """The stamp in a room without a media clock: wall time since it opened."""
    return Stamp(
        epoch=WALL_EPOCH, pts_ms=(accepted_us - opened_us) // 1000, err_ms=None, anchor=None
    )


class RoomClock:
    """What one follower of the clock topic knows of one room: its recent anchors, in order.

    Duplicates and late arrivals are harmless: an anchor that is not newer than the last is left
    out. Nothing is compared across epochs but their order.
    """

    __slots__ = ("_following_since_us", "_lag_measured", "anchors", "lag_ms")

    def __init__(self) -> None:
        self.anchors: list[Anchor] = []
        self.lag_ms = limits.CLOCK_LAG_UNMEASURED_MS
        """How long after it was taken an anchor arrives here: the worst of late, slowly forgotten.
        A server clock that differs from the media process's counts as lag, either way."""
        self._lag_measured = False
        self._following_since_us: int | None = None

    def observe(self, anchor: Anchor, received_us: int) -> bool:
        """Take an anchor in; False if it is not news."""
        if self._following_since_us is None:
            self._following_since_us = received_us
        last = self.current
        if last is not None and (anchor.epoch, anchor.at_us) <= (last.epoch, last.at_us):
            return False
        self.anchors.append(anchor)
        del self.anchors[: -limits.ANCHORS_PER_ROOM]
        self._measure_lag(anchor, received_us)
        return True

    def _measure_lag(self, anchor: Anchor, received_us: int) -> None:
        # A follower that starts reads anchors from the past: their age is not its lag. Nor is
        # that of an anchor so late that its absence was stated as overdue.
        if self._following_since_us is None or anchor.at_us < self._following_since_us:
            return
        lag_ms = abs(received_us - anchor.at_us) / 1000
        if lag_ms < limits.ANCHOR_INTERVAL_S * 1000:
            self.lag_ms = max(lag_ms, self.lag_ms * 0.9) if self._lag_measured else lag_ms
            self._lag_measured = True

    @property
    def current(self) -> Anchor | None:
        """The newest anchor, or None before the first."""
        return self.anchors[-1] if self.anchors else None

    def at(self, server_us: int) -> Anchor | None:
        """The anchor that held at this server time: hindsight for requests not yet flushed."""
        for anchor in reversed(self.anchors):
            if anchor.at_us <= server_us:
                return anchor
        return self.anchors[0] if self.anchors else None
