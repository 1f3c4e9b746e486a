"""The media clocks of all rooms, as `live.clock.v1` tells them: for whoever stamps or shows."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engagement.domain.clock_events import anchor_of
from engagement.domain.events import ClockAnchored, RawFact
from engagement.domain.media_time import Anchor, RoomClock
from engagement.domain.names import is_room_id

_FACTS = msgspec.json.Decoder(RawFact)


class RoomClocks:
    """Keeps a `RoomClock` per room and tells each news once.

    The last anchor of an epoch that was closed stands: media time stands still there, until a new
    epoch opens.
    """

    def __init__(self, told: Callable[[str, Anchor], None] = lambda room, anchor: None) -> None:
        self._clocks: dict[str, RoomClock] = {}
        self.told = told
        self.dropped: Callable[[], None] = lambda: None
        """Told of each record that is no anchor."""
        self.lagged: Callable[[float], None] = lambda lag_ms: None
        """Told how far behind the clock topic this follower is, in ms."""

    def clock(self, room: str) -> RoomClock | None:
        """The clock of a room, or None when it has none."""
        return self._clocks.get(room)

    def handle(self, partition: int, records: Sequence[Any]) -> None:
        """Take records of the clock topic in."""
        for record in records:
            if record.value is None:
                continue  # A tombstone: the room's clock was forgotten by an operator.
            try:
                self._observe(record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
                self.dropped()

    def _observe(self, value: bytes) -> None:
        fact = _FACTS.decode(value)
        data = fact.decode()
        if not isinstance(data, ClockAnchored) or not is_room_id(fact.roomid):
            self.dropped()
            return
        clock = self._clocks.get(fact.roomid)
        if clock is None:
            clock = self._clocks[fact.roomid] = RoomClock()
        anchor = anchor_of(fact.id, fact.type, data)
        if clock.observe(anchor, time.time_ns() // 1000):
            self.lagged(clock.lag_ms)
            self.told(fact.roomid, anchor)
