"""A PK battle: its state, and how facts change it.

A battle has two to nine rooms, one stream of facts with a revision, and one end. Its state is the
fold of its facts, and of what of its requests is not told: the repeats it knows, the gifts that it
still waits for. `battle_decisions` says what follows from a request.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field

from engagement.domain import battle_events as events
from engagement.domain import limits
from engagement.domain.battle_events import EndReason, ScoreWindow, Supporter
from engagement.domain.events import SubjectFact, unix_us

Status = Literal[
    "none", "invited", "running", "settling", "ended", "declined", "cancelled", "expired"
]
OPEN: Final = ("invited", "running", "settling")
"""As long as it is one of these something may still happen to a battle."""
UNREVISED: Final = ("battle.contributed", "battle.contribution.late", "battle.refused")
"""Facts that change nothing that is shown; they carry no revision of their own."""

SupporterKey = tuple[str, str]
"""Room and actor."""


class SideState(Struct):
    """One room of a battle."""

    room: str
    host: str
    accepted: bool = False
    score: int = 0
    lost: Literal["", "host_disconnected", "room_closed"] = ""
    """Why it cannot win any more."""


class BattleState(Struct):
    """All that is needed to decide about a battle's next request."""

    battle: str
    status: Status = "none"
    revision: int = 0
    sides: list[SideState] = field(default_factory=list)
    duration_s: int = 0
    rule: str = "coins"
    windows: list[ScoreWindow] = field(default_factory=list)
    punish_s: int = 0
    invited_us: int = 0
    expires_us: int = 0
    started_us: int = 0
    deadline_us: int = 0
    ended_us: int = 0
    told_us: int = 0
    """The time of the newest revision; no later one is earlier in time."""
    ending: EndReason = "deadline"
    """Why it ends, once it settles."""
    result: Literal["", "win", "draw", "aborted"] = ""
    winner: str = ""
    top: list[Supporter] = field(default_factory=list)
    """Who gave most, as the newest score told it."""
    timed_us: int = 0
    """Up to when windows were looked at."""
    multiplier: int = 1
    """Of the window that was told to be open."""
    punishing: bool = False
    entries: dict[int, int] = field(default_factory=dict)
    """Newest entry by ledger partition: what is not newer is a repeat."""
    settle_tries: int = 0
    """Grows whenever what a battle that settles waits for begins anew."""
    barrier: int = 0
    """Barriers that were sent; 0 before the first."""
    marks: set[int] = field(default_factory=set)
    """Ledger partitions that a barrier has passed."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """Request id → why it was refused, or empty: the newest requests of hosts."""


def is_over(state: BattleState) -> bool:
    """Whether nothing can happen to it any more."""
    return state.status not in OPEN and not state.punishing


def takes_rooms(state: BattleState) -> bool:
    """Whether no other battle may have its rooms."""
    return state.status in ("running", "settling") or state.punishing


def ranked(top: list[Supporter], given: Mapping[SupporterKey, int]) -> list[Supporter]:
    """The top after some have given: their new totals, all others unchanged.

    Points only grow, so nobody else can come into it.
    """
    points = {(each.room, each.actor): each.points for each in top}
    points.update(given)
    best = sorted(points.items(), key=lambda item: (-item[1], item[0]))
    return [Supporter(actor, room, total) for (room, actor), total in best[: limits.BATTLE_TOP]]


def next_moment_us(state: BattleState) -> int | None:
    """When the owner's timer has to tell the battle that time has passed; None: never.

    A battle that settles is not told by this: its barrier waits until the log is known to be well
    (`limits.BATTLE_SETTLE_MS` after the owner has seen it settle).
    """
    if state.status == "invited":
        return state.expires_us
    if state.status == "running":
        return min([state.deadline_us, *_boundaries_us(state)])
    if state.status == "ended" and state.punishing:
        return state.ended_us + state.punish_s * 1_000_000
    return None


def _boundaries_us(state: BattleState) -> Iterator[int]:
    """When windows open and close, after what was looked at already."""
    for window in state.windows:
        for since_s in (window.after_s, window.after_s + window.duration_s):
            moment_us = state.started_us + since_s * 1_000_000
            if moment_us > state.timed_us:
                yield moment_us


def revision_of(data: Any) -> int:
    """The revision that a fact brings the battle to."""
    revision: int = getattr(data, "revision", 0) or data.final_revision
    return revision


def evolve(state: BattleState, fact: SubjectFact) -> None:
    """Fold one fact into the battle's state."""
    change = _CHANGES.get(fact.kind)
    if change is not None:
        change(state, fact, fact.data)
    if fact.kind not in UNREVISED:
        state.revision = revision_of(fact.data)
        state.told_us = fact.at_us


def _invited(state: BattleState, fact: SubjectFact, data: events.BattleInvited) -> None:
    state.status = "invited"
    state.sides = [SideState(side.room, side.host) for side in data.sides]
    state.duration_s, state.rule, state.windows = data.duration_s, data.rule, data.windows
    state.punish_s = data.punish_s
    state.invited_us = fact.at_us
    state.expires_us = unix_us(data.expires)


def _accepted(state: BattleState, fact: SubjectFact, data: events.BattleAccepted) -> None:
    for side in state.sides:
        if side.room == data.room:
            side.accepted = True


def _started(state: BattleState, fact: SubjectFact, data: events.BattleStarted) -> None:
    state.status = "running"
    state.started_us, state.deadline_us = unix_us(data.started), unix_us(data.deadline)


def _contributed(state: BattleState, fact: SubjectFact, data: events.BattleContributed) -> None:
    for side in state.sides:
        if side.room == data.room:
            side.score += data.points


def _scored(state: BattleState, fact: SubjectFact, data: events.BattleScored) -> None:
    state.top = data.top


def _window(state: BattleState, fact: SubjectFact, data: Any) -> None:
    if data.kind == "punish":
        state.punishing = fact.kind == "battle.window.opened"
    else:
        state.multiplier = getattr(data, "multiplier", 1)


def _ended(state: BattleState, fact: SubjectFact, data: events.BattleEnded) -> None:
    state.status = "ended"
    state.ended_us = fact.at_us
    state.result = data.result
    state.winner = data.winner or ""
    state.ending = data.reason


def _became(status: Status) -> Callable[[BattleState, SubjectFact, Any], None]:
    def change(state: BattleState, fact: SubjectFact, data: Any) -> None:
        state.status = status

    return change


_CHANGES: Final[dict[str, Callable[[BattleState, SubjectFact, Any], None]]] = {
    "battle.invited": _invited,
    "battle.accepted": _accepted,
    "battle.declined": _became("declined"),
    "battle.cancelled": _became("cancelled"),
    "battle.expired": _became("expired"),
    "battle.started": _started,
    "battle.contributed": _contributed,
    "battle.scored": _scored,
    "battle.window.opened": _window,
    "battle.window.closed": _window,
    "battle.ended": _ended,
}
