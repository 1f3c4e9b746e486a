"""Presence: the newest count of viewers in each room, and how many came and went."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table

from projections.projection import Placed, TableName, upsert
from projections.tables import PRESENCE

_COUNT = """
INSERT INTO {table} AS old ("room", "window", online, joined_total, left_total, "offset")
SELECT * FROM {{rows}}
ON CONFLICT (room) DO UPDATE SET
  "window" = excluded."window",
  online = excluded.online,
  joined_total = old.joined_total + excluded.joined_total,
  left_total = old.left_total + excluded.left_total,
  "offset" = excluded."offset"
"""

Row = tuple[str, int, int, int, int, int]


class PresenceProjection:
    """`online` is absolute; joins and leaves are summed over the windows, each counted once."""

    name = "presence"
    tables: tuple[Table, ...] = (PRESENCE,)

    def fold(self, batch: Sequence[Placed]) -> list[Row]:
        """One row per room that was counted."""
        rows: dict[str, Row] = {}
        for fact in batch:
            if fact.raw.type == "viewers.counted":
                room, data = fact.raw.roomid, fact.data
                _, _, _, joined, left, _ = rows.get(room, (room, 0, 0, 0, 0, 0))
                rows[room] = (
                    room,
                    data.window,
                    data.online,
                    joined + data.joined,
                    left + data.left,
                    fact.offset,
                )
        return list(rows.values())

    async def write(self, connection: Any, rows: list[Row], name_of: TableName) -> None:
        """Upsert: facts of a room come in order, so the newest window stands."""
        types = ("text", "bigint", "int", "bigint", "bigint", "bigint")
        await upsert(connection, _COUNT.format(table=name_of(PRESENCE)), rows, types)
