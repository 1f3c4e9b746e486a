"""Battle boards: every battle as each of its rooms was told."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Table

from engagement.domain.events import ROOM_BATTLE_TYPES
from projections.projection import Placed, Row, Target
from projections.tables import BATTLE_BOARDS
from projections.upserts import keep_known

_MERGE: Final = keep_known(BATTLE_BOARDS, BATTLE_BOARDS.c.revision)

_STATUS: Final = {
    "battle.invited": "invited",
    "battle.declined": "declined",
    "battle.cancelled": "cancelled",
    "battle.expired": "expired",
    "battle.started": "running",
    "battle.ended": "ended",
}
"""What each fact says of how the battle stands; the others say nothing of it."""
_KEY: Final = len(BATTLE_BOARDS.primary_key.columns)
_REVISION: Final = _KEY
"""Where the revision is in a row: right after the key."""


class BattlesProjection:
    """Totals are absolute and the revision is their version: the greatest stands."""

    name: ClassVar[str] = "battles"
    tables: ClassVar[tuple[Table, ...]] = (BATTLE_BOARDS,)
    types: ClassVar[frozenset[str]] = frozenset(ROOM_BATTLE_TYPES)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def take(self, fact: Placed) -> None:
        """Merge what one fact knows into what is known."""
        row = _row(fact)
        key = row[:_KEY]
        known = self._rows.get(key)
        self._rows[key] = row if known is None else _merged(known, row)

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """One per room and battle."""
        return {BATTLE_BOARDS: self._rows.values()}

    async def write(self, target: Target) -> int:
        """Merge by revision."""
        if self._rows:
            await target.merge(_MERGE, BATTLE_BOARDS, self._rows.values())
        return len(self._rows)


def _row(fact: Placed) -> Row:
    data, kind = fact.data, fact.raw.type
    revision = data.final_revision if kind == "battle.ended" else data.revision
    return (
        fact.raw.roomid,
        data.battle,
        revision,
        _STATUS.get(kind),
        _json(getattr(data, "sides", None)),
        _json(getattr(data, "totals", None)),
        _json(getattr(data, "top", None)),
        getattr(data, "started", None),
        getattr(data, "deadline", None),
        getattr(data, "result", None),
        getattr(data, "winner", None) or None,
        data.reason if kind in ("battle.ended", "battle.expired") else None,
        fact.partition,
        fact.offset,
    )


def _merged(known: Row, row: Row) -> Row:
    """As the table merges: the newer row stands, but for what it does not know."""
    newer, older = (row, known) if row[_REVISION] > known[_REVISION] else (known, row)
    return tuple(
        older_value if value is None else value
        for value, older_value in zip(newer, older, strict=True)
    )


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="sorted").decode()
