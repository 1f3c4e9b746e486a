"""The media clocks of all rooms, with what a gateway measures of them."""

from collections.abc import Callable

from engagement.domain.media_time import Anchor
from engagement.gateway import metrics
from engagement.log.room_clocks import RoomClocks


def follow_clocks(
    told: Callable[[str, Anchor], None] = lambda room, anchor: None,
) -> RoomClocks:
    """Clocks that count what they drop and tell how far behind they are."""
    clocks = RoomClocks(told)
    clocks.dropped = metrics.FACTS_DROPPED.labels("clock_poison").inc
    clocks.lagged = metrics.CLOCK_LAG_MS.set
    return clocks
