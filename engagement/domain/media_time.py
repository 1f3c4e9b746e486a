"""Media time: anchors, epochs and the stamp of a fact.

An *epoch* is one continuous publication of one stream. An *anchor* ties, inside an epoch, an RTP
timestamp and a PTS to the server's wall clock. A *stamp* is the media time of the newest frame
that had been ingested when a request was accepted: the host cannot have reacted earlier.

Everything here is a pure function of its arguments, so a stamp can be derived again, to the
millisecond, from the fact's `time` and the anchor that the fact names.
"""

from typing import Final

from msgspec import Struct

from engagement.domain import limits

RTP_MODULUS: Final = 1 << 32
"""RTP timestamps are 32 bits and wrap (RFC 3550 section 5.1)."""

WALL_EPOCH: Final = 0
"""The epoch of a room without a media clock: `pts_ms` then counts wall time since it opened."""


class Anchor(Struct, frozen=True):
    """One tie between media time and the server's clock.

    `rtp` (rate ticks) and `pts_ms` name the same frame; the publisher captured it at `wall_ms`
    of its own clock, which is `wall_ms + offset_ms` of the server's. `err_ms` bounds the error of
    that tie, measured by whoever made the anchor.
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
    return anchor.pts_ms + (server_us / 1000 - anchor.server_ms)


def uncertainty_ms(anchor: Anchor, lag_ms: float, server_us: int) -> float:
    """Bound on the error of :func:`pts_at` at this server time.

    The anchor's own error, the drift since it, a deviation too small to be announced, the lag of
    whoever learnt of it, and all the time by which the next anchor is overdue: media may have
    stood still since.
    """
    age_ms = abs(server_us / 1000 - anchor.server_ms)
    since_ms = server_us / 1000 - anchor.at_us / 1000
    overdue_ms = max(0.0, since_ms - limits.ANCHOR_INTERVAL_S * 1000 - lag_ms)
    return (
        anchor.err_ms
        + age_ms * limits.DRIFT_PPM_MAX / 1e6
        + limits.ANCHOR_STEP_MS
        + lag_ms
        + overdue_ms
    )


def stamp(anchor: Anchor, lag_ms: float, accepted_us: int) -> Stamp:
    """The stamp of a request accepted at `accepted_us`; `pts_ms` may be negative."""
    return Stamp(
        epoch=anchor.epoch,
        pts_ms=round(pts_at(anchor, accepted_us)),
        err_ms=round(uncertainty_ms(anchor, lag_ms, accepted_us), 3),
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

    __slots__ = ("anchors", "lag_ms")

    def __init__(self) -> None:
        self.anchors: list[Anchor] = []
        self.lag_ms = 0.0

    def observe(self, anchor: Anchor, received_us: int) -> bool:
        """Take an anchor in; False if it is not news."""
        last = self.current
        if last is not None and (anchor.epoch, anchor.at_us) <= (last.epoch, last.at_us):
            return False
        self.anchors.append(anchor)
        del self.anchors[: -limits.ANCHORS_PER_ROOM]
        lag_ms = max(0.0, (received_us - anchor.at_us) / 1000)
        # A follower that starts reads anchors from the past: their age is not its lag.
        if lag_ms < limits.ANCHOR_INTERVAL_S * 1000:
            self.lag_ms = max(lag_ms, self.lag_ms * 0.9)
        return True

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
