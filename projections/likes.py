"""Likes: the monotone total of each room."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from sqlalchemy import Table

from projections.projection import Placed, Row, Target
from projections.tables import LIKES
from projections.upserts import keep_newest

_MERGE: Final = keep_newest(LIKES, LIKES.c.window)


class LikesProjection:
    """`room_total` is absolute and `window` its version: the maximum stands."""

    name: ClassVar[str] = "likes"
    tables: ClassVar[tuple[Table, ...]] = (LIKES,)
    types: ClassVar[frozenset[str]] = frozenset({"likes.counted"})

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def take(self, fact: Placed) -> None:
        """Keep the total if its window is newer."""
        room, data = fact.raw.roomid, fact.data
        known = self._rows.get(room)
        if known is None or data.window > known[1]:
            place = (fact.partition, fact.offset, fact.at)
            self._rows[room] = (room, data.window, data.room_total, *place)

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """One per room that was liked."""
        return {LIKES: self._rows.values()}

    async def write(self, target: Target) -> int:
        """Merge by window."""
        if self._rows:
            await target.merge(_MERGE, LIKES, self._rows.values())
        return len(self._rows)
