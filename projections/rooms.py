"""Rooms: their live sessions, and where each room's newest fact stands."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from sqlalchemy import Table

from engagement.domain.events import DATA_OF_TYPE
from projections.projection import Placed, Row, Target
from projections.tables import ROOMS, SESSIONS
from projections.upserts import fill_in, keep_newest

_MERGE_NEWEST: Final = keep_newest(ROOMS, ROOMS.c.offset)
_MERGE_SESSIONS: Final = fill_in(SESSIONS)

_UNKNOWN: Final = (None, None, None, None, None)
"""title, host, recorded, opened_offset, opened_at of a session whose opening was not seen."""
_OPEN: Final = (None, None, None)
"""reason, closed_offset, closed_at of a session that is live."""


class RoomsProjection:
    """Sessions are never forgotten, so an opening that is repeated after the end opens nothing."""

    name: ClassVar[str] = "rooms"
    tables: ClassVar[tuple[Table, ...]] = (ROOMS, SESSIONS)
    types: ClassVar[frozenset[str]] = frozenset(DATA_OF_TYPE)

    def __init__(self) -> None:
        self._newest: dict[str, Placed] = {}
        self._opened: dict[tuple[str, str], Placed] = {}
        self._closed: dict[tuple[str, str], Placed] = {}

    def take(self, fact: Placed) -> None:
        """Remember the newest fact, and the first opening and closing of each session."""
        raw = fact.raw
        self._newest[raw.roomid] = fact
        if raw.type == "room.opened":
            self._opened.setdefault((raw.roomid, fact.data.session), fact)
        elif raw.type == "room.closed":
            self._closed.setdefault((raw.roomid, fact.data.session), fact)

    def rows(self) -> Mapping[Table, Iterable[Row]]:
        """One per room, and one per session."""
        sessions = dict.fromkeys([*self._opened, *self._closed])
        return {
            ROOMS: [_newest_row(fact) for fact in self._newest.values()],
            SESSIONS: [self._session_row(session) for session in sessions],
        }

    async def write(self, target: Target) -> int:
        """Move the rooms on; merge what became known of sessions."""
        rows = [_newest_row(fact) for fact in self._newest.values()]
        if rows:
            await target.merge(_MERGE_NEWEST, ROOMS, rows)
        if not self._opened and not self._closed:
            return len(rows)
        sessions = list(self.rows()[SESSIONS])
        await target.merge(_MERGE_SESSIONS, SESSIONS, sessions)
        return len(rows) + len(sessions)

    def _session_row(self, session: tuple[str, str]) -> Row:
        opened, closed = self._opened.get(session), self._closed.get(session)
        beginning: Row = _UNKNOWN
        end: Row = _OPEN
        if opened is not None:
            data = opened.data
            title, host = data.title.replace("\0", "\ufffd"), data.host
            beginning = (title, host, data.recorded, opened.offset, opened.at)
        if closed is not None:
            end = (closed.data.reason.replace("\0", "\ufffd"), closed.offset, closed.at)
        known = opened or closed
        partition = known.partition if known is not None else 0
        return (*session, partition, *beginning, *end)


def _newest_row(fact: Placed) -> Row:
    raw = fact.raw
    place = (fact.partition, fact.offset, fact.at)
    return (raw.roomid, raw.mediaepoch, raw.mediapts, *place)
