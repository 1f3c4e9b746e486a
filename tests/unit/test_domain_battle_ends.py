"""PK battles: how they end, who has won, and what comes after."""

import msgspec
import pytest

from engagement.domain import limits
from engagement.domain.battle_events import Side, Supporter
from engagement.domain.battles import is_over, next_moment_us, takes_rooms
from engagement.domain.events import rfc3339
from tests.unit.battle_parts import (
    BATTLE,
    BLUE,
    PARTITIONS,
    RED,
    STARTED_US,
    Arena,
    accept,
    cancel,
    invitation,
    kinds,
    lost,
    mark,
    passed,
    refusal,
    settling,
    started,
)
from tests.unit.domain_parts import MS, S

GREEN = Side("green", "cid")


# --- the end -------------------------------------------------------------------------------------


def test_the_deadline_closes_the_books_only_when_all_partitions_have_told() -> None:
    arena = started()
    deadline_us = STARTED_US + 60 * S
    assert next_moment_us(arena.state) == deadline_us
    assert arena.ask(passed(deadline_us - 1), at_us=deadline_us - 1) == []
    assert arena.ask(passed(deadline_us), at_us=deadline_us) == []
    assert arena.state.status == "settling"
    assert takes_rooms(arena.state)
    arena.ask(passed(deadline_us + S, 1), at_us=deadline_us + S)
    assert arena.barriers == [(BATTLE, 1)]
    arena.ask(mark(0), at_us=deadline_us + S)
    arena.give("blue", 5, entry=1, ledger=1, at_us=deadline_us)
    arena.ask(mark(1), at_us=deadline_us + S)
    assert arena.ask(mark(1), at_us=deadline_us + S) == []
    [ended] = arena.ask(mark(2), at_us=deadline_us + S)
    assert (ended.kind, ended.at_us) == ("battle.ended", deadline_us + S)
    told = ended.data
    assert (told.result, told.winner, told.reason) == ("win", "blue", "deadline")
    assert told.totals == {"red": 0, "blue": 5}
    assert told.final_revision == arena.state.revision
    assert told.top == [Supporter("viv", "blue", 5)]


def test_a_battle_ends_once_whatever_comes_after() -> None:
    arena = settling()
    deadline_us = arena.state.deadline_us
    arena.close_books(deadline_us + S)
    revision = arena.state.revision
    for ledger in range(PARTITIONS):
        arena.ask(mark(ledger, 1))
        arena.ask(mark(ledger, 2))
    arena.ask(passed(deadline_us), at_us=deadline_us)
    arena.ask(passed(deadline_us + 9 * S, 2), at_us=deadline_us)
    arena.ask(lost("red"))
    assert refusal(arena.ask(cancel(), "ann")) == "battle_ended"
    assert refusal(arena.ask(accept(), "ann")) == "battle_ended"
    assert arena.kinds.count("ended") == 1
    assert arena.state.revision == revision
    assert next_moment_us(arena.state) is None


def test_the_deadlines_timer_told_twice_sends_no_barrier() -> None:
    arena = settling()
    deadline_us = arena.state.deadline_us
    arena.ask(passed(deadline_us + S), at_us=deadline_us + S)
    assert arena.barriers == []


def test_a_timer_that_was_slow_on_the_log_sends_no_barrier_and_begins_the_wait_anew() -> None:
    arena = settling()
    at_us = arena.state.deadline_us + S
    tries = arena.state.settle_tries
    slow_us = limits.BATTLE_LOG_SLOW_MS * MS
    arena.ask(passed(at_us, 1), at_us=at_us, now_us=at_us + slow_us + 1)
    assert (arena.barriers, arena.state.settle_tries) == ([], tries + 1)
    arena.ask(passed(at_us, 1), at_us=at_us, now_us=at_us + slow_us)
    assert (arena.barriers, arena.state.settle_tries) == ([(BATTLE, 1)], tries + 2)


def test_a_barrier_that_is_late_counts_beside_the_one_that_was_sent_for_it() -> None:
    arena = settling()
    at_us = arena.state.deadline_us + S
    arena.ask(passed(at_us, 1), at_us=at_us)
    arena.ask(passed(at_us, 2), at_us=at_us)
    arena.ask(passed(at_us, 2), at_us=at_us)
    assert arena.barriers == [(BATTLE, 1), (BATTLE, 2)]
    for ledger, barrier in ((0, 1), (1, 2), (2, 1)):
        arena.ask(mark(ledger, barrier), at_us=at_us)
    assert arena.kinds[-1] == "ended"


def test_marks_that_nobody_waits_for_are_passed_over() -> None:
    arena = started()
    for ledger in range(PARTITIONS):
        assert arena.ask(mark(ledger)) == []
    assert arena.state.marks == set()


def test_equal_scores_are_a_draw() -> None:
    arena = started()
    arena.give("red", 5, entry=1)
    arena.give("blue", 5, entry=2)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    ended = arena.close_books(arena.state.deadline_us + S)[-1].data
    assert (ended.result, ended.winner) == ("draw", msgspec.UNSET)


def test_the_winner_of_many_sides_is_the_one_with_most_points() -> None:
    arena = Arena()
    arena.ask(invitation(RED, BLUE, GREEN), "ann")
    for host in ("bob", "cid"):
        arena.ask(accept(), host)
    for entry, (room, coins) in enumerate([("red", 5), ("blue", 5), ("green", 6)], start=1):
        arena.give(room, coins, entry=entry)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    ended = arena.close_books(arena.state.deadline_us + S)[-1].data
    assert (ended.result, ended.winner) == ("win", "green")


def test_a_host_breaks_a_battle_off_and_nobody_wins() -> None:
    arena = started()
    arena.give("red", 5, entry=1)
    assert arena.ask(cancel(), "bob", at_us=STARTED_US + 2 * S) == []
    assert arena.ask(cancel(), "ann", at_us=STARTED_US + 3 * S) == []
    assert arena.ask(accept(), "bob") == []
    assert arena.state.deadline_us == STARTED_US + 2 * S
    assert kinds(arena.give("red", 5, entry=2, at_us=STARTED_US + 3 * S)) == ["contribution.late"]
    ended = arena.close_books(STARTED_US + 4 * S)[-1].data
    assert (ended.result, ended.reason, ended.winner) == ("aborted", "aborted", msgspec.UNSET)
    assert ended.totals == {"red": 5, "blue": 0}


def test_a_battle_that_is_being_counted_is_not_broken_off() -> None:
    arena = settling()
    assert refusal(arena.ask(cancel(), "ann")) == "battle_settling"


# --- sides that are lost -------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["room_closed", "host_disconnected"])
def test_who_leaves_a_duel_has_lost_it(reason: str) -> None:
    arena = started()
    arena.give("red", 100, entry=1)
    assert arena.ask(lost("red", reason), at_us=STARTED_US + 9 * S) == []
    ended = arena.close_books(STARTED_US + 11 * S)[-1].data
    assert (ended.result, ended.winner, ended.reason) == ("win", "blue", reason)
    assert ended.totals == {"red": 100, "blue": 0}


def test_of_three_sides_one_may_leave_and_cannot_win() -> None:
    arena = Arena()
    arena.ask(invitation(RED, BLUE, GREEN), "ann")
    for host in ("bob", "cid"):
        arena.ask(accept(), host)
    arena.give("red", 100, entry=1)
    arena.give("green", 1, entry=2)
    assert arena.ask(lost("red")) == []
    assert arena.ask(lost("red", "host_disconnected")) == []
    assert (arena.state.status, arena.state.sides[0].lost) == ("running", "room_closed")
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    ended = arena.close_books(arena.state.deadline_us + S)[-1].data
    assert (ended.winner, ended.reason) == ("green", "deadline")


def test_who_leaves_after_the_deadline_has_still_won() -> None:
    arena = started()
    arena.give("red", 5, entry=1)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    assert arena.ask(lost("red"), at_us=arena.state.deadline_us + S) == []
    assert arena.close_books(arena.state.deadline_us + S)[-1].data.winner == "red"


# --- after the end -------------------------------------------------------------------------------


def test_the_loser_is_punished_for_a_while() -> None:
    arena = started(punish_s=30)
    arena.give("red", 5, entry=1)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    end_us = arena.state.deadline_us + S
    facts = arena.close_books(end_us)
    assert kinds(facts) == ["ended", "window.opened"]
    opened = facts[1].data
    assert (opened.kind, opened.until) == ("punish", rfc3339(end_us + 30 * S))
    assert takes_rooms(arena.state)
    assert not is_over(arena.state)
    assert next_moment_us(arena.state) == end_us + 30 * S
    assert arena.ask(passed(end_us + 30 * S - 1)) == []
    [closed] = arena.ask(passed(end_us + 30 * S))
    assert (closed.kind, closed.data.kind) == ("battle.window.closed", "punish")
    assert is_over(arena.state)
    assert arena.taken == {}


def test_nobody_is_punished_for_a_draw() -> None:
    arena = settling(punish_s=30)
    assert kinds(arena.close_books(arena.state.deadline_us + S)) == ["ended"]
