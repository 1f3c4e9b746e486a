"""Gifts added up: who gave most in a room (this session, that day, ever), and what a host earned.

Sums are not idempotent, and a fact can be on the log twice. What is counted is known by its ledger
entry, which only grows in a room, per ledger partition: a table keeps the newest one, moved in the
same transaction as the sums.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from sqlalchemy import ARRAY, Integer, Table, bindparam, column, func, select

from engagement.domain.events import rfc3339, unix_us
from engagement.domain.rooms import entry_of
from projections.projection import Placed, Row, Target
from projections.tables import EARNINGS, GIFT_ENTRIES, LEADERBOARD
from projections.upserts import add_up, keep_newest

_ADD_LEADERS: Final = add_up(LEADERBOARD, (LEADERBOARD.c.coins, LEADERBOARD.c.gifts))
_ADD_EARNINGS: Final = add_up(EARNINGS, (EARNINGS.c.coins, EARNINGS.c.gifts))
_MOVE_ENTRIES: Final = keep_newest(GIFT_ENTRIES, GIFT_ENTRIES.c.entry)

SESSION: Final = "session"
DAY: Final = "day"
ALL: Final = "all"
"""Periods of a leaderboard; their keys are the session's id, the UTC date, and nothing."""


class _Counted(NamedTuple):
    """A gift, or one that was taken back: coins and gifts are negative then."""

    room: str
    ledger: int
    entry: int
    actor: str
    to: str
    session: str
    day: str
    coins: int
    earned: int
    gifts: int
    partition: int
    offset: int


class GiftsProjection:
    """Leaderboards and earnings."""

    name: ClassVar[str] = "gifts"
    tables: ClassVar[tuple[Table, ...]] = (GIFT_ENTRIES, LEADERBOARD, EARNINGS)
    types: ClassVar[frozenset[str]] = frozenset({"gift.sent", "gift.reversed"})

    def __init__(self) -> None:
        self._counted: list[_Counted] = []

    def take(self, fact: Placed) -> None:
        """One gift more, or less."""
        raw, data = fact.raw, fact.data
        ledger, entry = entry_of(data.transfer)
        taken_back = raw.type == "gift.reversed"
        sign = -1 if taken_back else 1
        at = data.sent if taken_back else raw.time
        self._counted.append(
            _Counted(
                room=raw.roomid,
                ledger=ledger,
                entry=entry,
                actor=raw.actorid,
                to=data.to,
                session=data.session,
                day=_day(at),
                coins=sign * data.coins,
                earned=sign * data.earned,
                gifts=sign * data.count,
                partition=fact.partition,
                offset=fact.offset,
            )
        )

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """What the tables hold after these facts alone."""
        return _added_up(self._counted, {})

    async def write(self, target: Target) -> int:
        """Add to what is there, but for what was counted already."""
        if not self._counted:
            return 0
        places = {(each.room, each.ledger) for each in self._counted}
        found = await target.execute(
            _ENTRIES, {"rooms": [room for room, _ in places], "ledgers": [at for _, at in places]}
        )
        known = {(row.room, row.ledger): row.entry for row in found}
        rows = _added_up(self._counted, known)
        for table, statement in _STATEMENTS.items():
            if rows[table]:
                await target.merge(statement, table, rows[table])
        return sum(map(len, rows.values()))


def _day(at: str) -> str:
    """The UTC date of an RFC 3339 time."""
    return rfc3339(unix_us(at))[:10]


def _added_up(
    counted: Iterable[_Counted], known: Mapping[tuple[str, int], int]
) -> dict[Table, list[Row]]:
    entries: dict[tuple[str, int], Any] = {}
    leaders: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    earned: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    newest = dict(known)
    for gift in counted:
        at = (gift.room, gift.ledger)
        if gift.entry <= newest.get(at, -1):
            continue
        newest[at] = gift.entry
        entries[at] = (*at, gift.entry, gift.partition, gift.offset)
        for period, key in ((SESSION, gift.session), (DAY, gift.day), (ALL, "")):
            if key or period == ALL:
                _add(leaders[gift.room, period, key, gift.actor], gift.coins, gift)
        _add(earned[gift.to, gift.day, gift.room], gift.earned, gift)
    return {
        GIFT_ENTRIES: list(entries.values()),
        LEADERBOARD: [(*key, *sums) for key, sums in leaders.items()],
        EARNINGS: [(*key, *sums) for key, sums in earned.items()],
    }


def _add(sums: list[int], coins: int, gift: _Counted) -> None:
    sums[0] += coins
    sums[1] += gift.gifts
    sums[2:] = gift.partition, gift.offset


def _known_entries() -> Any:
    text = GIFT_ENTRIES.c.room.type
    asked = (
        func.unnest(
            bindparam("rooms", type_=ARRAY(text)), bindparam("ledgers", type_=ARRAY(Integer))
        )
        .table_valued(column("room", text), column("ledger", Integer))
        .render_derived(name="asked")
    )
    return select(GIFT_ENTRIES.c.room, GIFT_ENTRIES.c.ledger, GIFT_ENTRIES.c.entry).join(
        asked,
        (GIFT_ENTRIES.c.room == asked.c.room) & (GIFT_ENTRIES.c.ledger == asked.c.ledger),
    )


_ENTRIES: Final = _known_entries()
_STATEMENTS: Final = {
    GIFT_ENTRIES: _MOVE_ENTRIES,
    LEADERBOARD: _ADD_LEADERS,
    EARNINGS: _ADD_EARNINGS,
}
