"""What a PK battle tells, on `live.battle.v1` and in every room that takes part.

Every fact carries the battle's `revision`, which grows by one with each: whoever applies the
greatest revision is right, whatever was repeated, lost or reordered.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

EndReason = Literal["deadline", "host_disconnected", "room_closed", "aborted"]


class Side(Struct, frozen=True):
    """One room of a battle."""

    room: str
    host: str


class ScoreWindow(Struct, frozen=True):
    """A stretch of the battle in which points count more."""

    after_s: int
    """From the start."""
    duration_s: int
    multiplier: int


class BattleInvited(Struct, frozen=True):
    """The host of the first side asks the others."""

    battle: str
    revision: int
    sides: list[Side]
    duration_s: int
    rule: str
    windows: list[ScoreWindow]
    punish_s: int
    by: str
    expires: str


class BattleAccepted(Struct, frozen=True):
    """One side said yes; when all have, the battle starts."""

    battle: str
    revision: int
    room: str
    by: str


class BattleDeclined(Struct, frozen=True):
    """One side said no; the invitation is over."""

    battle: str
    revision: int
    room: str
    by: str


class BattleCancelled(Struct, frozen=True):
    """The inviting side took the invitation back."""

    battle: str
    revision: int
    by: str


class BattleExpired(Struct, frozen=True):
    """Nobody answered in time, or a room was taken meanwhile."""

    battle: str
    revision: int
    reason: Literal["timeout", "room_in_battle", "room_closed"]


class BattleStarted(Struct, frozen=True):
    """Gifts accepted from `started` to `deadline` score. The countdown is shown in media time."""

    battle: str
    revision: int
    sides: list[Side]
    started: str
    deadline: str
    duration_s: int
    rule: str


class Supporter(Struct, frozen=True):
    """Who gave how many points to which side."""

    actor: str
    room: str
    points: int


class BattleScored(Struct, frozen=True):
    """Absolute totals by room: the same for every room at the same revision."""

    battle: str
    revision: int
    totals: dict[str, int]
    top: list[Supporter]


class BattleWindowOpened(Struct, frozen=True):
    """From here on points count `multiplier`-fold; `punish` is the time after the end."""

    battle: str
    revision: int
    kind: Literal["multiplier", "punish"]
    multiplier: int
    until: str


class BattleWindowClosed(Struct, frozen=True):
    """The window is over."""

    battle: str
    revision: int
    kind: Literal["multiplier", "punish"]


class BattleEnded(Struct, frozen=True, omit_defaults=True):
    """Exactly one for a battle that started. Later gifts are paid, and score nothing."""

    battle: str
    final_revision: int
    totals: dict[str, int]
    result: Literal["win", "draw", "aborted"]
    reason: EndReason
    winner: str | UnsetType = UNSET
    """The room that won."""
    top: list[Supporter] = []


class BattleContributed(Struct, frozen=True):
    """A gift scored (battle topic only). Keyed by its gift: the same gift scores once."""

    battle: str
    revision: int
    """Of the `battle.scored` that includes it."""
    gift: str
    """The request that sent it."""
    room: str
    coins: int
    points: int
    transfer: str


class BattleContributionLate(Struct, frozen=True):
    """A paid gift that scores nothing: it was accepted after the deadline, or reached the log
    after the books were closed (battle topic only)."""

    battle: str
    gift: str
    room: str
    coins: int
    transfer: str


class BattleRefused(Struct, frozen=True):
    """A request about a battle that changed nothing (battle topic only)."""

    battle: str
    request: str
    request_type: str
    code: str
