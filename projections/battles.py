"""Battle boards: every battle as each of its rooms was told."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import ARRAY, Table, bindparam, column, func, select

from engagement.domain.events import ROOM_BATTLE_TYPES
from projections.projection import Placed, Row, Target
from projections.tables import BATTLE_BOARDS
from projections.upserts import keep_newest

_MERGE: Final = keep_newest(BATTLE_BOARDS, BATTLE_BOARDS.c.revision)

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

Key = tuple[str, str]
"""Room and battle."""


class BattlesProjection:
    """Totals are absolute and the revision is their version: what is not newer is a repeat.

    A fact says a part of a board; the rest stands as the facts before it said. So a batch is
    folded onto the rows that are there, in the order of the log, and not beside them.
    """

    name: ClassVar[str] = "battles"
    tables: ClassVar[tuple[Table, ...]] = (BATTLE_BOARDS,)
    types: ClassVar[frozenset[str]] = frozenset(ROOM_BATTLE_TYPES)

    def __init__(self) -> None:
        self._told: list[Row] = []

    def take(self, fact: Placed) -> None:
        """What one fact knows of a board."""
        self._told.append(_row(fact))

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """One per room and battle."""
        return {BATTLE_BOARDS: _folded(self._told, {}).values()}

    async def write(self, target: Target) -> int:
        """Move the boards on."""
        if not self._told:
            return 0
        keys = sorted({row[:_KEY] for row in self._told})
        rooms, battles = zip(*keys, strict=True)
        found = await target.execute(_KNOWN, {"rooms": list(rooms), "battles": list(battles)})
        changed = _folded(self._told, {row[:_KEY]: tuple(row) for row in found})
        if changed:
            await target.merge(_MERGE, BATTLE_BOARDS, changed.values())
        return len(changed)


def _folded(told: Iterable[Row], known: Mapping[Key, Row]) -> dict[Key, Row]:
    """The boards that change, as they are then."""
    changed: dict[Key, Row] = {}
    for row in told:
        key: Key = (row[0], row[1])
        before = changed.get(key) or known.get(key)
        if before is None:
            changed[key] = row
        elif row[_REVISION] > before[_REVISION]:
            changed[key] = tuple(
                old if new is None else new for new, old in zip(row, before, strict=True)
            )
    return changed


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


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="sorted").decode()


def _known() -> Any:
    text = BATTLE_BOARDS.c.room.type
    asked = (
        func.unnest(bindparam("rooms", type_=ARRAY(text)), bindparam("battles", type_=ARRAY(text)))
        .table_valued(column("room", text), column("battle", text))
        .render_derived(name="asked")
    )
    board = BATTLE_BOARDS.c
    return select(BATTLE_BOARDS).join(
        asked, (board.room == asked.c.room) & (board.battle == asked.c.battle)
    )


_KNOWN: Final = _known()
