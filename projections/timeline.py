"""Timeline: every fact of a room, byte for byte, in the order of its media time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table

from projections.projection import Placed, TableName, copy
from projections.tables import TIMELINE

_COLUMNS = ("partition", "offset", "room", "epoch", "pts_ms", "type", "event_id", "event")

Row = tuple[int, int, str, int, int, str, str, str]


class TimelineProjection:
    """Append only; one row per fact."""

    name = "timeline"
    tables: tuple[Table, ...] = (TIMELINE,)

    def fold(self, batch: Sequence[Placed]) -> list[Row]:
        """One row per fact."""
        return [
            (
                fact.partition,
                fact.offset,
                fact.raw.roomid,
                fact.raw.mediaepoch,
                fact.raw.mediapts,
                fact.raw.type,
                fact.raw.id,
                fact.value,
            )
            for fact in batch
        ]

    async def write(self, connection: Any, rows: list[Row], name_of: TableName) -> None:
        """COPY."""
        await copy(connection, name_of(TIMELINE), _COLUMNS, rows)
