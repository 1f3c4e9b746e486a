"""PK battles: two to nine rooms, one stream of facts with a revision, one end.

`decide` says what follows from a request, `evolve` folds it; a battle's state is the fold of its
facts, and of what of its requests is not told (the repeats it knows, the barrier).

When a battle ends: what counts is decided in log order. After the deadline the owner's timer sends
a barrier through every partition of the ledger's requests. All gifts before it are decided, paid
and told before the battle hears of it; when it has heard of all, the books are closed and
`battle.ended` is told, once. A gift accepted after the deadline, or behind the barrier, is paid
and scores nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, field

from engagement.domain import battle_events as events
from engagement.domain import battle_requests as asks
from engagement.domain import limits
from engagement.domain.battle_events import EndReason, ScoreWindow, Side, Supporter
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.battle_rules import RULES, multiplier_at
from engagement.domain.events import SubjectFact, rfc3339, unix_us
from engagement.domain.names import derived_id

Status = Literal[
    "none", "invited", "running", "settling", "ended", "declined", "cancelled", "expired"
]
OPEN: Final = ("invited", "running", "settling")
"""As long as it is one of these something may still happen to a battle."""
_OUTCOMES_KEPT: Final = 64
"""Requests of hosts whose outcome is remembered: far more than one battle sees."""


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
    expires_us: int = 0
    started_us: int = 0
    deadline_us: int = 0
    ended_us: int = 0
    ending: EndReason = "deadline"
    """Why it ends, once it settles."""
    result: Literal["", "win", "draw", "aborted"] = ""
    winner: str = ""
    points: dict[str, int] = field(default_factory=dict)
    """`<room> <actor>` → points; both are names without spaces."""
    timed_us: int = 0
    """Up to when windows were looked at."""
    multiplier: int = 1
    """Of the window that was told to be open."""
    punishing: bool = False
    entries: dict[int, int] = field(default_factory=dict)
    """Newest entry by ledger partition: what is not newer is a repeat."""
    barrier: int = 0
    """Barriers that were sent; 0 before the first."""
    marks: set[int] = field(default_factory=set)
    """Ledger partitions that the last barrier has passed."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """Request id → why it was refused, or empty: the newest requests of hosts."""


class BattleDecision(Struct):
    """What follows from one request."""

    facts: list[SubjectFact] = field(default_factory=list)
    barrier: int = 0
    """A barrier of this number is to be sent through all partitions of the ledger's requests."""
    at_us: int = 0
    """When the request was made."""


class RefusedError(Exception):
    """A request that changes nothing; `code` is told to the sender."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def handle(
    state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int = 0
) -> BattleDecision:
    """Decide about a request and fold what follows.

    `busy`: rooms that another battle has taken. A room is in one battle at a time. `now_us`: when
    it is decided, Unix µs; a battle does not start before that, however late its owner is.
    """
    decision = BattleDecision(at_us=asked.at_us)
    request = asked.request
    is_told = not isinstance(request, _INTERNAL)
    if is_told and request.id in state.outcomes:
        return decision
    code = ""
    try:
        for kind, data in _DECISIONS[type(request)](state, asked, busy, now_us):
            if kind == _BARRIER:
                decision.barrier = data
                continue
            told = _fact(state, asked, kind, data)
            evolve(state, told)
            decision.facts.append(told)
    except RefusedError as refusal:
        code = refusal.code
        tag = str(request.__struct_config__.tag)
        refused = events.BattleRefused(state.battle, request.id, tag, code)
        decision.facts.append(_fact(state, asked, "battle.refused", refused))
    if is_told:
        state.outcomes[request.id] = code
        if len(state.outcomes) > _OUTCOMES_KEPT:
            del state.outcomes[next(iter(state.outcomes))]
    return decision


def score_fact(state: BattleState, asked: BattleAsked) -> SubjectFact:
    """The totals after all contributions of one record, told once; folded by the caller."""
    totals = {side.room: side.score for side in state.sides}
    data = events.BattleScored(state.battle, state.revision + 1, totals, top_supporters(state))
    return _fact(state, asked, "battle.scored", data)


def top_supporters(state: BattleState) -> list[Supporter]:
    """Who gave most, over all sides."""
    best = sorted(state.points.items(), key=lambda item: (-item[1], item[0]))
    named = [(key.split(" ", 1), points) for key, points in best[: limits.BATTLE_TOP]]
    return [Supporter(actor, room, points) for (room, actor), points in named]


def is_over(state: BattleState) -> bool:
    """Whether nothing can happen to it any more."""
    return state.status not in OPEN and not state.punishing


def takes_rooms(state: BattleState) -> bool:
    """Whether no other battle may have its rooms."""
    return state.status in ("running", "settling") or state.punishing


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


_BARRIER: Final = "barrier"
_Data = Iterator[tuple[str, Any]]
_Decide = Callable[[BattleState, BattleAsked, frozenset[str], int], _Data]


def _fact(state: BattleState, asked: BattleAsked, kind: str, data: Any) -> SubjectFact:
    about: tuple[str | int, ...] = (getattr(data, "revision", asked.request.id),)
    if kind in ("battle.contributed", "battle.contribution.late"):
        about = (data.transfer,)
    elif kind == "battle.ended":
        about = (data.final_revision,)
    return SubjectFact(
        kind=kind,
        id=derived_id(state.battle, kind, *about),
        collection="battles",
        subject=state.battle,
        at_us=asked.at_us,
        data=data,
        actor=asked.actor,
        cause=asked.request.id,
    )


# --- hosts ---------------------------------------------------------------------------------------


def _invite(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    invitation: asks.Invitation = asked.request.data  # type: ignore[assignment]
    sides = invitation.sides
    if state.status != "none":
        raise RefusedError("battle_exists")
    rooms = [side.room for side in sides]
    if not 2 <= len(rooms) <= limits.BATTLE_SIDES_MAX or len(set(rooms)) < len(rooms):
        raise RefusedError("bad_sides")
    if len({side.host for side in sides}) < len(sides):
        raise RefusedError("same_host")
    if invitation.rule not in RULES:
        raise RefusedError("unknown_rule")
    own = [side.room for side in sides if side.host == asked.actor]
    if asked.role in ("service", "admin"):
        own = own or rooms[:1]
    if not own:
        raise RefusedError("forbidden")
    if busy.intersection(rooms):
        raise RefusedError("room_in_battle")
    yield (
        "battle.invited",
        events.BattleInvited(
            battle=state.battle,
            revision=state.revision + 1,
            sides=sides,
            duration_s=invitation.duration_s,
            rule=invitation.rule,
            windows=invitation.windows,
            punish_s=invitation.punish_s,
            by=asked.actor,
            expires=rfc3339(asked.at_us + limits.BATTLE_INVITATION_S * 1_000_000),
        ),
    )
    for room in own:
        yield _accepted(state, asked, room)


def _accept(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    sides = _own_sides(state, asked)
    if state.status in ("running", "settling") and all(side.accepted for side in sides):
        return
    _check_invited(state, asked)
    for side in sides:
        if not side.accepted:
            yield _accepted(state, asked, side.room)
    if all(side.accepted for side in state.sides):
        if busy.intersection(side.room for side in state.sides):
            yield _expired(state, "room_in_battle")
            return
        started_us = max(asked.at_us, now_us) + limits.BATTLE_LEAD_MS * 1000
        yield (
            "battle.started",
            events.BattleStarted(
                battle=state.battle,
                revision=state.revision + 1,
                sides=[Side(side.room, side.host) for side in state.sides],
                started=rfc3339(started_us),
                deadline=rfc3339(started_us + state.duration_s * 1_000_000),
                duration_s=state.duration_s,
                rule=state.rule,
            ),
        )
        yield from _windows(state, started_us)


def _decline(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    sides = _own_sides(state, asked)
    if state.status == "declined":
        return
    _check_invited(state, asked)
    declined = events.BattleDeclined(state.battle, state.revision + 1, sides[0].room, asked.actor)
    yield "battle.declined", declined


def _cancel(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    _own_sides(state, asked)
    if state.status == "cancelled" or (state.status, state.ending) == ("settling", "aborted"):
        return
    if state.status == "running":
        _settle(state, asked.at_us, "aborted")
        return
    _check_invited(state, asked)
    yield (
        "battle.cancelled",
        events.BattleCancelled(state.battle, state.revision + 1, asked.actor),
    )


def _own_sides(state: BattleState, asked: BattleAsked) -> list[SideState]:
    if state.status == "none":
        raise RefusedError("battle_not_found")
    if asked.role in ("service", "admin"):
        return state.sides
    own = [side for side in state.sides if side.host == asked.actor]
    if not own:
        raise RefusedError("forbidden")
    return own


def _check_invited(state: BattleState, asked: BattleAsked) -> None:
    if state.status == "invited" and asked.at_us >= state.expires_us:
        raise RefusedError("battle_expired")  # Its timer is on the way.
    if state.status != "invited":
        raise RefusedError(f"battle_{state.status}")


def _accepted(state: BattleState, asked: BattleAsked, room: str) -> tuple[str, Any]:
    accepted = events.BattleAccepted(state.battle, state.revision + 1, room, asked.actor)
    return "battle.accepted", accepted


def _expired(state: BattleState, reason: Any) -> tuple[str, Any]:
    return "battle.expired", events.BattleExpired(state.battle, state.revision + 1, reason)


# --- gifts ---------------------------------------------------------------------------------------


def _contribute(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    gift: asks.Contribution = asked.request.data  # type: ignore[assignment]
    if state.status == "none" or gift.entry <= state.entries.get(gift.ledger, 0):
        return
    state.entries[gift.ledger] = gift.entry
    transfer = f"{gift.ledger}-{gift.entry}"
    side = next((side for side in state.sides if side.room == gift.room), None)
    in_time = state.started_us <= asked.at_us <= state.deadline_us
    if side is None or state.status not in ("running", "settling") or not in_time:
        late = events.BattleContributionLate(
            state.battle, gift.gift, gift.room, gift.coins, transfer
        )
        yield "battle.contribution.late", late
        return
    points = RULES[state.rule](gift.coins, asked.at_us - state.started_us, state.windows)
    yield (
        "battle.contributed",
        events.BattleContributed(
            battle=state.battle,
            revision=state.revision + 1,
            gift=gift.gift,
            room=gift.room,
            coins=gift.coins,
            points=points,
            transfer=transfer,
        ),
    )


# --- time ----------------------------------------------------------------------------------------


def _time_passed(
    state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int
) -> _Data:
    passed: asks.Passed = asked.request.data  # type: ignore[assignment]
    passed_us = passed.at_us
    if state.status == "invited" and passed_us >= state.expires_us:
        yield _expired(state, "timeout")
    elif state.status == "running" and passed_us >= state.deadline_us:
        _settle(state, state.deadline_us, "deadline")
    elif state.status == "running":
        yield from _windows(state, passed_us)
    elif state.status == "settling":
        state.barrier += 1
        state.marks.clear()
        yield _BARRIER, state.barrier
    elif state.punishing and passed_us >= state.ended_us + state.punish_s * 1_000_000:
        closed = events.BattleWindowClosed(state.battle, state.revision + 1, "punish")
        yield "battle.window.closed", closed


def _windows(state: BattleState, now_us: int) -> _Data:
    state.timed_us = max(state.timed_us, now_us)
    multiplier = _multiplier(state, now_us)
    if multiplier == state.multiplier:
        return
    if state.multiplier > 1:
        closed = events.BattleWindowClosed(state.battle, state.revision + 1, "multiplier")
        yield "battle.window.closed", closed
    if multiplier > 1:
        since_us = now_us - state.started_us
        until_us = state.started_us + max(
            (window.after_s + window.duration_s) * 1_000_000
            for window in state.windows
            if window.after_s * 1_000_000 <= since_us and window.multiplier == multiplier
        )
        until = rfc3339(min(until_us, state.deadline_us))
        yield (
            "battle.window.opened",
            events.BattleWindowOpened(
                state.battle, state.revision + 1, "multiplier", multiplier, until
            ),
        )


def _multiplier(state: BattleState, now_us: int) -> int:
    return multiplier_at(now_us - state.started_us, state.windows)


def _settle(state: BattleState, deadline_us: int, reason: EndReason) -> None:
    """From here on nothing more is accepted into the score; what was, is still waited for."""
    state.status = "settling"
    state.ending = reason
    state.deadline_us = min(state.deadline_us, deadline_us)


def _side_lost(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    loss: asks.Loss = asked.request.data  # type: ignore[assignment]
    side = next((side for side in state.sides if side.room == loss.room), None)
    if side is None or side.lost:
        return
    if state.status == "invited":
        yield _expired(state, "room_closed")
    elif state.status in ("running", "settling"):
        side.lost = loss.reason
        if state.status == "running" and sum(not each.lost for each in state.sides) < 2:
            _settle(state, asked.at_us, loss.reason)


def _marked(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    mark: asks.Mark = asked.request.data  # type: ignore[assignment]
    if state.status != "settling" or mark.barrier != state.barrier:
        return
    state.marks.add(mark.ledger)
    if len(state.marks) < mark.partitions:
        return
    result, winner = _result(state)
    yield (
        "battle.ended",
        events.BattleEnded(
            battle=state.battle,
            final_revision=state.revision + 1,
            totals={side.room: side.score for side in state.sides},
            result=result,
            reason=state.ending,
            winner=winner or UNSET,
            top=top_supporters(state),
        ),
    )
    if state.punish_s and result == "win":
        until = rfc3339(asked.at_us + state.punish_s * 1_000_000)
        yield (
            "battle.window.opened",
            events.BattleWindowOpened(state.battle, state.revision + 1, "punish", 1, until),
        )


def _result(state: BattleState) -> tuple[Literal["win", "draw", "aborted"], str]:
    """A side that was lost cannot win; without any side there is no result."""
    left = [side for side in state.sides if not side.lost]
    if state.ending == "aborted" or not left:
        return "aborted", ""
    best = max(side.score for side in left)
    winners = [side.room for side in left if side.score == best]
    return ("win", winners[0]) if len(winners) == 1 else ("draw", "")


_INTERNAL: Final = (
    asks.BattleContribute,
    asks.BattleMarked,
    asks.BattleTimePassed,
    asks.BattleSideLost,
)

_DECISIONS: Final[dict[type, _Decide]] = {
    asks.BattleInvite: _invite,
    asks.BattleAccept: _accept,
    asks.BattleDecline: _decline,
    asks.BattleCancel: _cancel,
    asks.BattleContribute: _contribute,
    asks.BattleMarked: _marked,
    asks.BattleTimePassed: _time_passed,
    asks.BattleSideLost: _side_lost,
}


# --- folding -------------------------------------------------------------------------------------


def evolve(state: BattleState, fact: SubjectFact) -> None:
    """Fold one fact into the battle's state."""
    data = fact.data
    change = _CHANGES.get(fact.kind)
    if change is not None:
        change(state, fact, data)
    if fact.kind not in ("battle.contributed", "battle.contribution.late", "battle.refused"):
        state.revision = getattr(data, "revision", None) or data.final_revision


def _on_invited(state: BattleState, fact: SubjectFact, data: events.BattleInvited) -> None:
    state.status = "invited"
    state.sides = [SideState(side.room, side.host) for side in data.sides]
    state.duration_s, state.rule, state.windows = data.duration_s, data.rule, data.windows
    state.punish_s = data.punish_s
    state.expires_us = unix_us(data.expires)


def _on_accepted(state: BattleState, fact: SubjectFact, data: events.BattleAccepted) -> None:
    for side in state.sides:
        if side.room == data.room:
            side.accepted = True


def _on_started(state: BattleState, fact: SubjectFact, data: events.BattleStarted) -> None:
    state.status = "running"
    state.started_us, state.deadline_us = unix_us(data.started), unix_us(data.deadline)


def _on_contributed(state: BattleState, fact: SubjectFact, data: events.BattleContributed) -> None:
    for side in state.sides:
        if side.room == data.room:
            side.score += data.points
    key = f"{data.room} {fact.actor}"
    if key in state.points or len(state.points) < limits.BATTLE_SUPPORTERS_MAX:
        state.points[key] = state.points.get(key, 0) + data.points


def _on_window(state: BattleState, fact: SubjectFact, data: Any) -> None:
    if data.kind == "punish":
        state.punishing = fact.kind == "battle.window.opened"
    else:
        state.multiplier = getattr(data, "multiplier", 1)


def _on_ended(state: BattleState, fact: SubjectFact, data: events.BattleEnded) -> None:
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
    "battle.invited": _on_invited,
    "battle.accepted": _on_accepted,
    "battle.declined": _became("declined"),
    "battle.cancelled": _became("cancelled"),
    "battle.expired": _became("expired"),
    "battle.started": _on_started,
    "battle.contributed": _on_contributed,
    "battle.window.opened": _on_window,
    "battle.window.closed": _on_window,
    "battle.ended": _on_ended,
}
