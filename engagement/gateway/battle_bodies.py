"""Bodies and answers of the calls about battles."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from engagement.domain import limits
from engagement.domain.battle_events import ScoreWindow, Supporter
from engagement.domain.battles import BattleState
from engagement.domain.events import rfc3339
from engagement.domain.names import ROOM_ID_PATTERN

RoomName = Annotated[str, Meta(pattern=ROOM_ID_PATTERN)]


class WindowBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of the battle in which points count more."""

    after_s: Annotated[int, Meta(ge=0, le=limits.BATTLE_DURATION_S_MAX)]
    duration_s: Annotated[int, Meta(ge=1, le=limits.BATTLE_DURATION_S_MAX)]
    multiplier: Annotated[int, Meta(ge=2, le=limits.BATTLE_MULTIPLIER_MAX)]


class BattleBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks rooms to a battle."""

    rooms: Annotated[list[RoomName], Meta(min_length=2, max_length=limits.BATTLE_SIDES_MAX)]
    """The first one asks, unless another is the sender's."""
    duration_s: Annotated[int, Meta(ge=1, le=limits.BATTLE_DURATION_S_MAX)]
    rule: str = "coins"
    windows: Annotated[list[WindowBody], Meta(max_length=limits.BATTLE_WINDOWS_MAX)] = []
    punish_s: Annotated[int, Meta(ge=0, le=limits.BATTLE_PUNISH_S_MAX)] = 0


class SideView(Struct, frozen=True, omit_defaults=True):
    """One room of a battle."""

    room: str
    host: str
    score: int
    accepted: bool
    lost: str | UnsetType = UNSET
    """Why it cannot win any more."""


class BattleView(Struct, frozen=True, omit_defaults=True):
    """A battle as it is decided."""

    battle: str
    status: str
    """invited, running, settling (the deadline has passed, the last gifts are being counted),
    ended, declined, cancelled or expired."""
    sides: list[SideView]
    revision: int
    duration_s: int
    rule: str
    multiplier: int
    windows: list[ScoreWindow]
    punish_s: int
    punishing: bool
    top: list[Supporter]
    expires: str
    started: str | None
    deadline: str | None
    ended: str | None
    result: str | UnsetType = UNSET
    winner: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


def battle_view(state: BattleState) -> BattleView:
    """The answer to `GET /v1/battles/{battle}`."""
    return BattleView(
        battle=state.battle,
        status=state.status,
        sides=[
            SideView(side.room, side.host, side.score, side.accepted, side.lost or UNSET)
            for side in state.sides
        ],
        revision=state.revision,
        duration_s=state.duration_s,
        rule=state.rule,
        multiplier=state.multiplier,
        windows=state.windows,
        punish_s=state.punish_s,
        punishing=state.punishing,
        top=state.top,
        expires=rfc3339(state.expires_us),
        started=rfc3339(state.started_us) if state.started_us else None,
        deadline=rfc3339(state.deadline_us) if state.deadline_us else None,
        ended=rfc3339(state.ended_us) if state.ended_us else None,
        result=state.result or UNSET,
        winner=state.winner or UNSET,
        reason=state.ending if state.result else UNSET,
    )
