"""The record of `live.battle-requests.v1`: what hosts ask of battles, the gifts that score in
them, and the timers that move them on. Internal format."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from engagement.domain import limits
from engagement.domain.battle_events import ScoreWindow, Side
from engagement.domain.requests import RequestId, Role


class Invitation(Struct, frozen=True):
    """Who fights, for how long, and how points are counted."""

    sides: list[Side]
    """The first one invites."""
    duration_s: Annotated[int, Meta(ge=1, le=limits.BATTLE_DURATION_S_MAX)]
    rule: str = "coins"
    windows: list[ScoreWindow] = []
    punish_s: Annotated[int, Meta(ge=0, le=limits.BATTLE_PUNISH_S_MAX)] = 0


class SideAnswer(Struct, frozen=True):
    """The rooms in whose name the answer is given: those that the sender hosts."""

    rooms: list[str]


class Nothing(Struct, frozen=True):
    """No data."""


class Contribution(Struct, frozen=True):
    """A paid gift, from the ledger's outbox."""

    gift: str
    """The request that sent it."""
    room: str
    actor: str
    coins: int
    ledger: int
    entry: int
    """Entries of one ledger partition come in order: what is not newer is a repeat."""


class Mark(Struct, frozen=True):
    """All gifts before the barrier in this ledger partition have been told."""

    ledger: int
    partitions: int
    """Of the ledger: so many marks close the books."""
    barrier: int


class Passed(Struct, frozen=True, omit_defaults=True):
    """A timer: this wall time has passed."""

    at_us: int
    barrier: int = 0
    """Of a battle that settles: the barrier that is due. 0: an earlier timer."""


class Loss(Struct, frozen=True):
    """A side is gone."""

    room: str
    reason: Literal["host_disconnected", "room_closed"]


class _BattleRequest(Struct, frozen=True, tag_field="type", kw_only=True):
    id: RequestId


class BattleInvite(_BattleRequest, tag="battle.invite", frozen=True):
    """`PUT /v1/battles/{battle}`."""

    data: Invitation


class BattleAccept(_BattleRequest, tag="battle.accept", frozen=True):
    """`POST /v1/battles/{battle}/accept`."""

    data: SideAnswer


class BattleDecline(_BattleRequest, tag="battle.decline", frozen=True):
    """`POST /v1/battles/{battle}/decline`."""

    data: SideAnswer


class BattleCancel(_BattleRequest, tag="battle.cancel", frozen=True):
    """`POST /v1/battles/{battle}/cancel`: of an invitation; of a battle that runs, its abort."""

    data: SideAnswer


class BattleContribute(_BattleRequest, tag="battle.contribute", frozen=True):
    """Internal: from the ledger's outbox."""

    data: Contribution


class BattleMarked(_BattleRequest, tag="battle.marked", frozen=True):
    """Internal: from the ledger's outbox."""

    data: Mark


class BattleTimePassed(_BattleRequest, tag="battle.time_passed", frozen=True):
    """Internal: the owner's timer."""

    data: Passed


class BattleSideLost(_BattleRequest, tag="battle.side_lost", frozen=True):
    """Internal: the owner saw a room close or a host's stream end."""

    data: Loss


BattleRequest = (
    BattleInvite
    | BattleAccept
    | BattleDecline
    | BattleCancel
    | BattleContribute
    | BattleMarked
    | BattleTimePassed
    | BattleSideLost
)


class BattleAsked(Struct, frozen=True):
    """One request about a battle."""

    battle: str
    actor: str
    role: Role
    at_us: int
    request: BattleRequest


class BattleEnvelope(Struct, frozen=True, omit_defaults=True):
    """One flush of a gateway, a ledger partition, or a timer."""

    origin: str
    asks: list[BattleAsked]
    v: Literal[1] = 1
