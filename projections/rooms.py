"""Rooms: what each room is, and whether it is open."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table

from engagement.domain.events import unix_us
from projections.projection import Placed, TableName, upsert
from projections.tables import ROOMS

_OPEN = """
INSERT INTO {table} (room, status, title, host, session, recorded, opened_us, "offset")
SELECT room, 'open', title, host, session, recorded, opened_us, "offset"
FROM {{rows}} AS r(room, title, host, session, recorded, opened_us, "offset")
ON CONFLICT (room) DO UPDATE SET
  status = excluded.status,
  title = excluded.title,
  host = excluded.host,
  session = excluded.session,
  recorded = excluded.recorded,
  opened_us = excluded.opened_us,
  closed_us = NULL,
  "offset" = excluded."offset"
"""

_CLOSE = """
UPDATE {table} AS old SET status = 'closed', closed_us = r.closed_us, "offset" = r."offset"
FROM {{rows}} AS r(room, session, closed_us, "offset")
WHERE old.room = r.room AND old.session = r.session
"""

Opened = tuple[str, str, str, str, bool, int, int]
Closed = tuple[str, str, int, int]


class RoomsProjection:
    """The newest session of each room."""

    name = "rooms"
    tables: tuple[Table, ...] = (ROOMS,)

    def fold(self, batch: Sequence[Placed]) -> list[tuple[dict[str, Opened], dict[str, Closed]]]:
        """Steps of (opened, closed); a room that opens again after closing begins a new step."""
        steps: list[tuple[dict[str, Opened], dict[str, Closed]]] = []
        for fact in batch:
            raw, data = fact.raw, fact.data
            if raw.type == "room.opened":
                if not steps or raw.roomid in steps[-1][1] or raw.roomid in steps[-1][0]:
                    steps.append(({}, {}))
                steps[-1][0][raw.roomid] = (
                    raw.roomid,
                    data.title.replace("\0", "\ufffd"),
                    data.host,
                    data.session,
                    data.recorded,
                    unix_us(raw.time),
                    fact.offset,
                )
            elif raw.type == "room.closed":
                if not steps or raw.roomid in steps[-1][1]:
                    steps.append(({}, {}))
                steps[-1][1][raw.roomid] = (
                    raw.roomid,
                    data.session,
                    unix_us(raw.time),
                    fact.offset,
                )
        return steps

    async def write(
        self,
        connection: Any,
        rows: list[tuple[dict[str, Opened], dict[str, Closed]]],
        name_of: TableName,
    ) -> None:
        """Openings, then closings, step by step."""
        table = name_of(ROOMS)
        for opened, closed in rows:
            if opened:
                types = ("text", "text", "text", "text", "bool", "bigint", "bigint")
                await upsert(connection, _OPEN.format(table=table), list(opened.values()), types)
            if closed:
                await upsert(
                    connection,
                    _CLOSE.format(table=table),
                    list(closed.values()),
                    ("text", "text", "bigint", "bigint"),
                )
