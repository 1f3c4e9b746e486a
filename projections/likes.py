"""Likes: the monotone total of each room."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table

from projections.projection import Placed, TableName, upsert
from projections.tables import LIKES

_COUNT = """
INSERT INTO {table} AS old (room, "window", total, "offset")
SELECT * FROM {{rows}}
ON CONFLICT (room) DO UPDATE SET
  "window" = greatest(old."window", excluded."window"),
  total = greatest(old.total, excluded.total),
  "offset" = excluded."offset"
"""

Row = tuple[str, int, int, int]


class LikesProjection:
    """Absolute totals: the maximum stands."""

    name = "likes"
    tables: tuple[Table, ...] = (LIKES,)

    def fold(self, batch: Sequence[Placed]) -> list[Row]:
        """One row per room that was counted."""
        rows: dict[str, Row] = {}
        for fact in batch:
            if fact.raw.type == "likes.counted":
                room, data = fact.raw.roomid, fact.data
                _, window, total, _ = rows.get(room, (room, 0, 0, 0))
                rows[room] = (
                    room,
                    max(window, data.window),
                    max(total, data.room_total),
                    fact.offset,
                )
        return list(rows.values())

    async def write(self, connection: Any, rows: list[Row], name_of: TableName) -> None:
        """Upsert by maximum."""
        types = ("text", "bigint", "bigint", "bigint")
        await upsert(connection, _COUNT.format(table=name_of(LIKES)), rows, types)
