"""What a PK battle makes of a request: facts, or a refusal. Pure.

When a battle ends is decided in log order. At the deadline it begins to settle. When gateways have
had the time to write what they had accepted by then, the owner's timer has a barrier sent through
every partition of the ledger's requests. All gifts before it are decided, paid and told before the
battle hears of it; when it has heard from all partitions, the books are closed and `battle.ended`
is told, once. A gift that was accepted after the deadline, or that is told after the end, is paid
and scores nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, field

from engagement.domain import battle_events as events
from engagement.domain import battle_requests as asks
from engagement.domain import limits
from engagement.domain.battle_events import EndReason, Side
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.battle_rules import RULES, multiplier_at
from engagement.domain.battles import (
    UNREVISED,
    BattleState,
    SideState,
    SupporterKey,
    evolve,
    ranked,
    revision_of,
)
from engagement.domain.events import SubjectFact, rfc3339
from engagement.domain.names import derived_id

_OUTCOMES_KEPT: Final = 64
"""Requests of hosts whose outcome is remembered: far more than one battle sees."""
_PLATFORM: Final = ("service", "admin")


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
    state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int
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


def score(
    state: BattleState, asked: BattleAsked, given: Mapping[SupporterKey, int]
) -> BattleDecision:
    """Tell the totals once, after all contributions of one record.

    `asked` is the newest of them; `given`: whoever has given since the last score → all the points
    that they have given.
    """
    totals = {side.room: side.score for side in state.sides}
    top = ranked(state.top, given)
    data = events.BattleScored(state.battle, state.revision + 1, totals, top)
    told = _fact(state, asked, "battle.scored", data)
    evolve(state, told)
    return BattleDecision([told], at_us=asked.at_us)


_BARRIER: Final = "barrier"
_Data = Iterator[tuple[str, Any]]
_Decide = Callable[[BattleState, BattleAsked, frozenset[str], int], _Data]


def _fact(state: BattleState, asked: BattleAsked, kind: str, data: Any) -> SubjectFact:
    about: str | int
    if kind == "battle.refused":
        about = data.request
    elif kind in UNREVISED:
        about = data.transfer
    else:
        about = revision_of(data)
    # Gateways' clocks differ and gifts come in any order; revisions go forward in time, too.
    at_us = asked.at_us if kind in UNREVISED else max(asked.at_us, state.told_us)
    by_itself = kind == "battle.scored" or isinstance(asked.request, _BY_ITSELF)
    return SubjectFact(
        kind=kind,
        id=derived_id(state.battle, kind, about),
        collection="battles",
        subject=state.battle,
        at_us=at_us,
        data=data,
        actor=UNSET if by_itself else asked.actor,
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
    if invitation.rule not in RULES:
        raise RefusedError("unknown_rule")
    own = [side.room for side in sides if side.host == asked.actor]
    if asked.role in _PLATFORM:
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
    yield from _start(state, asked, busy, now_us)


def _accept(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    sides = _own_sides(state, asked)
    if state.status in ("running", "settling"):
        return  # It has started, so they had.
    _check_invited(state, asked)
    for side in sides:
        if not side.accepted:
            yield _accepted(state, asked, side.room)
    yield from _start(state, asked, busy, now_us)


def _start(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    """Start as soon as all sides have accepted, if their rooms are still free."""
    if not all(side.accepted for side in state.sides):
        return
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
    if asked.role in _PLATFORM:
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


def _expired(
    state: BattleState, reason: Literal["timeout", "room_in_battle", "room_closed"]
) -> tuple[str, Any]:
    return "battle.expired", events.BattleExpired(state.battle, state.revision + 1, reason)


# --- gifts ---------------------------------------------------------------------------------------


def _contribute(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    gift: asks.Contribution = asked.request.data  # type: ignore[assignment]
    if state.status == "none" or gift.entry <= state.entries.get(gift.ledger, 0):
        return
    state.entries[gift.ledger] = gift.entry
    transfer = f"{gift.ledger}-{gift.entry}"
    is_side = any(side.room == gift.room for side in state.sides)
    in_time = state.started_us <= asked.at_us <= state.deadline_us
    if not (is_side and in_time and state.status in ("running", "settling")):
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
    if state.status == "settling":
        yield from _ask_for_barrier(state, passed, now_us)
    elif passed.barrier:
        return  # It has ended since.
    elif state.status == "invited" and passed_us >= state.expires_us:
        yield _expired(state, "timeout")
    elif state.status == "running" and passed_us >= state.deadline_us:
        _settle(state, state.deadline_us, "deadline")
    elif state.status == "running":
        yield from _windows(state, passed_us)
    elif state.punishing and passed_us >= state.ended_us + state.punish_s * 1_000_000:
        closed = events.BattleWindowClosed(state.battle, state.revision + 1, "punish")
        yield "battle.window.closed", closed


def _ask_for_barrier(state: BattleState, passed: asks.Passed, now_us: int) -> _Data:
    if passed.barrier != state.barrier + 1:
        return  # A repeat of an earlier one, or of the deadline's.
    state.settle_tries += 1
    if now_us - passed.at_us > limits.BATTLE_LOG_SLOW_MS * 1000:
        return  # Gateways may have been as slow as this was: they get their time again.
    state.barrier += 1
    yield _BARRIER, state.barrier


def _windows(state: BattleState, now_us: int) -> _Data:
    state.timed_us = max(state.timed_us, now_us)
    since_us = now_us - state.started_us
    multiplier = multiplier_at(since_us, state.windows)
    if multiplier == state.multiplier:
        return
    if state.multiplier > 1:
        yield _window_closed(state)
    if multiplier > 1:
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


def _window_closed(state: BattleState) -> tuple[str, Any]:
    closed = events.BattleWindowClosed(state.battle, state.revision + 1, "multiplier")
    return "battle.window.closed", closed


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
    elif state.status == "running":
        side.lost = loss.reason
        if sum(not each.lost for each in state.sides) < 2:
            _settle(state, asked.at_us, loss.reason)


def _marked(state: BattleState, asked: BattleAsked, busy: frozenset[str], now_us: int) -> _Data:
    mark: asks.Mark = asked.request.data  # type: ignore[assignment]
    if state.status != "settling":
        return
    # Of whichever barrier: all of them were sent after the deadline.
    state.marks.add(mark.ledger)
    if len(state.marks) < mark.partitions:
        return
    if state.multiplier > 1:
        yield _window_closed(state)
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
            top=state.top,
        ),
    )
    if state.punish_s and result == "win":
        until = rfc3339(state.ended_us + state.punish_s * 1_000_000)
        yield (
            "battle.window.opened",
            events.BattleWindowOpened(state.battle, state.revision + 1, "punish", 1, until),
        )


def _result(state: BattleState) -> tuple[Literal["win", "draw", "aborted"], str]:
    """A side that was lost cannot win; who breaks a battle off leaves it without a result."""
    if state.ending == "aborted":
        return "aborted", ""
    left = [side for side in state.sides if not side.lost]
    best = max(side.score for side in left)
    winners = [side.room for side in left if side.score == best]
    return ("win", winners[0]) if len(winners) == 1 else ("draw", "")


_BY_ITSELF: Final = (asks.BattleMarked, asks.BattleTimePassed, asks.BattleSideLost)
"""Requests that nobody made."""
_INTERNAL: Final = (asks.BattleContribute, *_BY_ITSELF)
"""Requests that no host made: repeats of these are known by what they are about."""

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
