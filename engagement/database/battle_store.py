"""Loading and saving battles inside a decider's transaction, and which rooms they have taken."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from engagement.domain.battles import BattleState, is_over, takes_rooms

_BATTLES: Final = """SELECT battle, state FROM battles WHERE battle = ANY($1)"""
_WATCHED: Final = """SELECT state FROM battles WHERE "partition" = $1 AND status <> 'over'"""
_SAVE: Final = """
    INSERT INTO battles (battle, "partition", status, state)
    SELECT battle, $1, status, state
    FROM unnest($2::text[], $3::text[], $4::bytea[]) AS given(battle, status, state)
    ON CONFLICT (battle) DO UPDATE SET status = excluded.status, state = excluded.state
"""
# Battles of several partitions may want the same room: who asks about rooms waits for the others
# to commit. Hosts ask rarely; gifts never do.
_ONE_AT_A_TIME: Final = """SELECT pg_advisory_xact_lock($1)"""
_LOCK: Final = 0x62617474
_TAKEN: Final = """SELECT room, battle FROM battle_rooms WHERE room = ANY($1)"""
_TAKE: Final = """
    INSERT INTO battle_rooms (room, battle) SELECT unnest($1::text[]), $2
    ON CONFLICT (room) DO NOTHING
"""
_FREE: Final = """DELETE FROM battle_rooms WHERE battle = $1"""

_STATES: Final = msgspec.json.Decoder(BattleState)


async def load(connection: Any, names: Iterable[str]) -> dict[str, BattleState]:
    """These battles; one that nobody has heard of is a new state."""
    battles = {name: BattleState(name) for name in names}
    for row in await connection.fetch(_BATTLES, list(battles)):
        battles[row["battle"]] = _STATES.decode(row["state"])
    return battles


async def taken_rooms(connection: Any, rooms: Iterable[str]) -> dict[str, str]:
    """Which battle has taken each of these rooms; nobody else takes one before our commit."""
    await connection.execute(_ONE_AT_A_TIME, _LOCK)
    rows = await connection.fetch(_TAKEN, list(rooms))
    return {row["room"]: row["battle"] for row in rows}


async def watched(connection: Any, partition: int) -> list[BattleState]:
    """The battles of a partition to which something may still happen by itself."""
    return [_STATES.decode(row["state"]) for row in await connection.fetch(_WATCHED, partition)]


async def save(
    connection: Any,
    partition: int,
    battles: Mapping[str, BattleState],
    taking: Mapping[str, bool],
) -> None:
    """Write battles. `taking`: which of them held rooms before, to see what has changed."""
    if not battles:
        return
    names = sorted(battles)
    states = [battles[name] for name in names]
    await connection.execute(
        _SAVE,
        partition,
        names,
        ["over" if is_over(state) else "open" for state in states],
        [msgspec.json.encode(state) for state in states],
    )
    for name, state in zip(names, states, strict=True):
        if takes_rooms(state) and not taking[name]:
            await connection.execute(_TAKE, sorted(side.room for side in state.sides), name)
        elif taking[name] and not takes_rooms(state):
            await connection.execute(_FREE, name)


def decode_state(kept: bytes) -> BattleState:
    """A battle as it is kept."""
    return _STATES.decode(kept)
