"""What gateways and timers read of battles and rooms. Never a decision."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.battle_store import decode_state
from engagement.domain.battles import BattleState
from engagement.domain.events import unix_us

_BATTLE: Final = text("SELECT state FROM battles WHERE battle = :battle")
_CLOSED: Final = text("""
    SELECT room, max(closed_at) AS closed_at FROM room_sessions WHERE room = ANY(:rooms)
    GROUP BY room HAVING bool_and(closed_at IS NOT NULL)
""").bindparams(bindparam("rooms", type_=ARRAY(Text)))


class BattleQueries:
    """Reads over any connection of the pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def battle(self, name: str) -> BattleState | None:
        """A battle as it is decided; None when there is none."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_BATTLE, {"battle": name})).one_or_none()
        return None if row is None else decode_state(row.state)

    async def closed_rooms(self, rooms: Iterable[str]) -> dict[str, int]:
        """Those of these rooms whose sessions have all ended, as far as the projection has come →
        when the last one did, Unix µs."""
        wanted = sorted(set(rooms))
        if not wanted:
            return {}
        async with self._engine.connect() as connection:
            found = await connection.execute(_CLOSED, {"rooms": wanted})
            return {row.room: unix_us(row.closed_at.isoformat()) for row in found}
