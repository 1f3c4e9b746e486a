"""Loading and saving battles inside a decider's transaction, and which rooms they have taken."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from engagement.domain.battle_batch import PointsKey
from engagement.domain.battles import BattleState, is_over, takes_rooms
from engagement.domain.ledger import BrokenInvariantError

_BATTLES: Final = """SELECT battle, state FROM battles WHERE battle = ANY($1)"""
_WATCHED: Final = """SELECT state FROM battles WHERE "partition" = $1 AND status = 'open'"""
_SAVE: Final = """
    INSERT INTO battles (battle, "partition", status, state)
    SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::bytea[])
    ON CONFLICT (battle) DO UPDATE SET status = excluded.status, state = excluded.state
"""
_POINTS: Final = """
    SELECT known.battle, known.room, known.actor, points FROM battle_points AS known
    JOIN unnest($1::text[], $2::text[], $3::text[]) AS asked(battle, room, actor)
    USING (battle, room, actor)
"""
_SAVE_POINTS: Final = """
    INSERT INTO battle_points (battle, room, actor, points)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
    ON CONFLICT (battle, room, actor) DO UPDATE SET points = excluded.points
"""
# Battles of several partitions may want the same room: who asks about rooms waits for the others
# to commit. Hosts ask rarely; gifts never do.
_ONE_AT_A_TIME: Final = """SELECT pg_advisory_xact_lock($1)"""
_LOCK: Final = 0x62617474
_TAKEN: Final = """SELECT room, battle FROM battle_rooms WHERE room = ANY($1)"""
_TAKE: Final = """
    INSERT INTO battle_rooms (room, battle) SELECT unnest($1::text[]), $2
    ON CONFLICT (room) DO NOTHING RETURNING room
"""
_FREE: Final = """DELETE FROM battle_rooms WHERE battle = $1"""

_STATES: Final = msgspec.json.Decoder(BattleState)


async def load(connection: Any, names: Iterable[str]) -> dict[str, BattleState]:
    """These battles; one that nobody has heard of is a new state."""
    battles = {name: BattleState(name) for name in names}
    for row in await connection.fetch(_BATTLES, list(battles)):
        battles[row["battle"]] = decode_state(row["state"])
    return battles


async def points(connection: Any, keys: Iterable[PointsKey]) -> dict[PointsKey, int]:
    """What these supporters have given so far, those who have given nothing left out."""
    asked = sorted(keys)
    if not asked:
        return {}
    rows = await connection.fetch(_POINTS, *map(list, zip(*asked, strict=True)))
    return {(row["battle"], row["room"], row["actor"]): row["points"] for row in rows}


async def taken_rooms(connection: Any, rooms: Iterable[str]) -> dict[str, str]:
    """Which battle has taken each of these rooms; nobody else takes one before our commit."""
    await connection.execute(_ONE_AT_A_TIME, _LOCK)
    rows = await connection.fetch(_TAKEN, list(rooms))
    return {row["room"]: row["battle"] for row in rows}


async def watched(connection: Any, partition: int) -> list[BattleState]:
    """The battles of a partition to which something may still happen by itself."""
    return [decode_state(row["state"]) for row in await connection.fetch(_WATCHED, partition)]


async def save(
    connection: Any,
    battles: Mapping[str, BattleState],
    homes: Mapping[str, int],
    taking: Mapping[str, bool],
    given: Mapping[PointsKey, int],
) -> None:
    """Write battles, and all points of whoever gave. `homes`: their partitions; `taking`: which of
    them held rooms before.

    Raises BrokenInvariantError when a battle has started in a room that another one has taken.
    """
    names = sorted(name for name, state in battles.items() if _is_known(state))
    if not names:
        return
    states = [battles[name] for name in names]
    await connection.execute(
        _SAVE,
        names,
        [homes[name] for name in names],
        ["over" if is_over(state) else "open" for state in states],
        [msgspec.json.encode(state) for state in states],
    )
    if given:
        rows = sorted((*key, total) for key, total in given.items())
        await connection.execute(_SAVE_POINTS, *map(list, zip(*rows, strict=True)))
    # Freed first: what one battle of the batch gives up another one may have taken.
    for name in names:
        if taking[name] and not takes_rooms(battles[name]):
            await connection.execute(_FREE, name)
    for name in names:
        if takes_rooms(battles[name]) and not taking[name]:
            rooms = sorted(side.room for side in battles[name].sides)
            taken = await connection.fetch(_TAKE, rooms, name)
            if len(taken) < len(rooms):
                raise BrokenInvariantError(f"{name} has started in rooms that it cannot have")


def _is_known(state: BattleState) -> bool:
    """Whether anybody has asked for this battle; a refusal of it is an outcome."""
    return state.status != "none" or bool(state.outcomes)


def decode_state(kept: bytes) -> BattleState:
    """A battle as it is kept."""
    return _STATES.decode(kept)
