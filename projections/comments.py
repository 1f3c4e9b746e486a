"""Comments: which of them were removed. The comments themselves are rows of the timeline.

A comment is shown when it is in the timeline and has no tombstone: so a removal counts wherever it
stands, before its comment or after it, and a comment's text is stored once.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from sqlalchemy import Table

from projections.projection import Placed, Row, Target
from projections.tables import TOMBSTONES
from projections.upserts import keep_first

_MERGE: Final = keep_first(TOMBSTONES)


class CommentsProjection:
    """One tombstone per removed comment; the first removal stands."""

    name: ClassVar[str] = "comments"
    tables: ClassVar[tuple[Table, ...]] = (TOMBSTONES,)
    types: ClassVar[frozenset[str]] = frozenset({"comment.removed"})

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def take(self, fact: Placed) -> None:
        """Bury the target, if it is not buried yet."""
        room, data = fact.raw.roomid, fact.data
        row = (room, data.target, data.by, fact.partition, fact.offset, fact.at)
        self._rows.setdefault((room, data.target), row)

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """One per removed comment."""
        return {TOMBSTONES: self._rows.values()}

    async def write(self, target: Target) -> int:
        """Insert the tombstones that are new."""
        if self._rows:
            await target.merge(_MERGE, TOMBSTONES, self._rows.values())
        return len(self._rows)
