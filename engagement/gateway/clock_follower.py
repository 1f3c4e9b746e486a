"""The media clocks of all rooms, with what a gateway measures of them."""

from collections.abc import Callable

from engagement.domain.media_time import Anchor
from engagement.gateway import metrics
from engagement.log.room_clocks import RoomClocks


class ClockFollower(RoomClocks):
    """Counts what it drops and tells how far behind it is."""

    def __init__(self, told: Callable[[str, Anchor], None] = lambda room, anchor: None) -> None:
        super().__init__(told)
        self.dropped = metrics.FACTS_DROPPED.labels("clock_poison").inc
        self.lagged = metrics.CLOCK_LAG_MS.set

    def forget(self, room: str) -> None:
        """This room is let go; its next anchor makes a new clock."""
        self._clocks.pop(room, None)
