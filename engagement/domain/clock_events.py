"""Clock events and anchors: the two shapes of one thing, on the clock topic and in memory."""

from typing import Final, Literal, get_args

from engagement.domain.events import ClockAnchored, Decided
from engagement.domain.media_time import Anchor, Stamp

ClockKind = Literal["clock.epoch.opened", "clock.anchored", "clock.stepped", "clock.epoch.closed"]
CLOCK_KINDS: Final = frozenset(get_args(ClockKind))


def anchor_of(event_id: str, kind: str, data: ClockAnchored) -> Anchor:
    """The anchor that a clock event announced."""
    return Anchor(
        id=event_id,
        epoch=data.epoch,
        rate=data.rate,
        rtp=data.rtp,
        pts_ms=data.pts_ms,
        wall_ms=data.wall_ms,
        offset_ms=data.offset_ms,
        err_ms=data.err_ms,
        at_us=data.at_us,
        ended=kind == "clock.epoch.closed",
    )


def clock_event(
    room: str, kind: ClockKind, anchor: Anchor, *, engine: str, reason: str = ""
) -> Decided:
    """The clock event that announces an anchor; :func:`anchor_of` is its inverse."""
    data = ClockAnchored(
        epoch=anchor.epoch,
        engine=engine,
        rate=anchor.rate,
        rtp=anchor.rtp,
        pts_ms=anchor.pts_ms,
        wall_ms=anchor.wall_ms,
        offset_ms=anchor.offset_ms,
        err_ms=anchor.err_ms,
        at_us=anchor.at_us,
        reason=reason,
    )
    return Decided(
        kind=kind,
        id=anchor.id,
        room=room,
        at_us=anchor.at_us,
        stamp=Stamp(anchor.epoch, round(anchor.pts_ms), anchor.err_ms, None),
        data=data,
    )
