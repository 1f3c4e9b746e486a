"""Comments as rows for SQL, and the tombstones of those that were removed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Table

from engagement.domain.events import unix_us
from projections.projection import Placed, TableName, copy, upsert
from projections.tables import COMMENTS, TOMBSTONES

_COLUMNS = ("partition", "offset", "room", "event_id", "actor", "posted_us", "text")

_BURY = """
INSERT INTO {table} (room, target, by, partition, "offset", epoch, pts_ms)
SELECT * FROM {{rows}}
ON CONFLICT (room, target) DO NOTHING
"""


class Rows(NamedTuple):
    """What a batch adds; `tombstones` keep the first removal of a target."""

    comments: list[tuple[int, int, str, str, str, int, str]]
    tombstones: list[tuple[str, str, str, int, int, int, int]]

    def __bool__(self) -> bool:
        return bool(self.comments or self.tombstones)


class CommentsProjection:
    """Comments append; a removal adds a tombstone, whether its comment is there yet or not."""

    name = "comments"
    tables: tuple[Table, ...] = (COMMENTS, TOMBSTONES)

    def fold(self, batch: Sequence[Placed]) -> Rows:
        """Rows of new comments and of new tombstones."""
        comments = []
        tombstones: dict[tuple[str, str], tuple[str, str, str, int, int, int, int]] = {}
        for fact in batch:
            raw = fact.raw
            if raw.type == "comment.posted":
                comments.append(
                    (
                        fact.partition,
                        fact.offset,
                        raw.roomid,
                        raw.id,
                        raw.actorid,
                        unix_us(raw.time),
                        # PostgreSQL's text holds no NUL; the timeline keeps the record as it was.
                        fact.data.text.replace("\0", "\ufffd"),
                    )
                )
            elif raw.type == "comment.removed":
                data = fact.data
                tombstones.setdefault(
                    (raw.roomid, data.target),
                    (
                        raw.roomid,
                        data.target,
                        data.by,
                        fact.partition,
                        fact.offset,
                        raw.mediaepoch,
                        raw.mediapts,
                    ),
                )
        return Rows(comments, list(tombstones.values()))

    async def write(self, connection: Any, rows: Rows, name_of: TableName) -> None:
        """COPY the comments, insert the tombstones that are new."""
        if rows.comments:
            await copy(connection, name_of(COMMENTS), _COLUMNS, rows.comments)
        if rows.tombstones:
            types = ("text", "text", "text", "int", "bigint", "int", "bigint")
            statement = _BURY.format(table=name_of(TOMBSTONES))
            await upsert(connection, statement, rows.tombstones, types)
