"""Presence: the newest count of viewers in each room."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from sqlalchemy import Table

from projections.projection import Placed, Row, Target
from projections.tables import PRESENCE
from projections.upserts import keep_newest

_MERGE: Final = keep_newest(PRESENCE, PRESENCE.c.window)


class PresenceProjection:
    """`online` is absolute and `window` its version: the maximum stands."""

    name: ClassVar[str] = "presence"
    tables: ClassVar[tuple[Table, ...]] = (PRESENCE,)
    types: ClassVar[frozenset[str]] = frozenset({"viewers.counted"})

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def take(self, fact: Placed) -> None:
        """Keep the count if its window is newer."""
        room, data = fact.raw.roomid, fact.data
        known = self._rows.get(room)
        if known is None or data.window > known[1]:
            place = (fact.partition, fact.offset, fact.at)
            self._rows[room] = (room, data.window, data.online, *place)

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """One per room that was counted."""
        return {PRESENCE: self._rows.values()}

    async def write(self, target: Target) -> int:
        """Merge by window."""
        if self._rows:
            await target.merge(_MERGE, PRESENCE, self._rows.values())
        return len(self._rows)
