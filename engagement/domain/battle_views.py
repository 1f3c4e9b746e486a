"""A room's battle as it is told: live, in a snapshot, and of any time in the past."""

from msgspec import Struct

from engagement.domain.battle_events import Supporter
from engagement.domain.rooms import RoomBattle


class RoomSideView(Struct, frozen=True):
    """One room of a battle."""

    room: str
    host: str
    score: int


class RoomBattleView(Struct, frozen=True):
    """A room's newest battle, as its facts told it."""

    battle: str
    status: str
    """invited, running or ended."""
    sides: list[RoomSideView]
    revision: int
    started: str
    """RFC 3339; empty before the start."""
    deadline: str
    multiplier: int
    result: str
    """win, draw or aborted; empty before the end."""
    winner: str
    """The room that won."""
    top: list[Supporter]
    punish_until: str


def battle_view(battle: RoomBattle) -> RoomBattleView:
    """The battle as it is told."""
    totals = battle.totals
    return RoomBattleView(
        battle=battle.battle,
        status=battle.status,
        sides=[
            RoomSideView(side.room, side.host, totals.get(side.room, 0)) for side in battle.sides
        ],
        revision=battle.revision,
        started=battle.started,
        deadline=battle.deadline,
        multiplier=battle.multiplier,
        result=battle.result,
        winner=battle.winner,
        top=battle.top,
        punish_until=battle.punish_until,
    )
