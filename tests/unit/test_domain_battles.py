"""PK battles: what they make of what hosts, viewers, the ledger and the clock ask of them."""

import itertools
from typing import Any

import msgspec
import pytest

from engagement.domain import limits
from engagement.domain.battle_batch import points_asked_about, rooms_asked_about
from engagement.domain.battle_events import Side, Supporter
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.battle_rules import multiplier_at
from engagement.domain.battles import BattleState, evolve, is_over, next_moment_us
from engagement.domain.events import DATA_OF_TYPE, rfc3339
from tests.unit.battle_parts import (
    BATTLE,
    BLUE,
    LEAD_US,
    PARTITIONS,
    RED,
    STARTED_US,
    Arena,
    accept,
    cancel,
    contribution,
    decline,
    invitation,
    kinds,
    lost,
    mark,
    passed,
    refusal,
    settling,
    started,
    window,
)
from tests.unit.domain_parts import MS, T0_US, S

GREEN = Side("green", "cid")


# --- invitations ---------------------------------------------------------------------------------


def test_a_battle_starts_when_all_sides_have_accepted() -> None:
    arena = Arena()
    arena.ask(invitation(RED, BLUE, GREEN), "ann")
    arena.ask(accept(), "cid")
    assert kinds(arena.facts) == ["invited", "accepted", "accepted"]
    facts = arena.ask(accept(), "bob", at_us=T0_US + S)
    assert kinds(facts) == ["accepted", "started"]
    told = facts[1].data
    assert told.sides == [RED, BLUE, GREEN]
    assert told.started == rfc3339(T0_US + S + LEAD_US)
    assert told.deadline == rfc3339(T0_US + 61 * S + LEAD_US)
    assert arena.taken == {"red": BATTLE, "blue": BATTLE, "green": BATTLE}


def test_a_battle_does_not_start_before_its_owner_has_decided_that_it_does() -> None:
    arena = Arena()
    arena.ask(invitation(), "ann")
    arena.ask(accept(), "bob", at_us=T0_US, now_us=T0_US + 5 * S)
    assert arena.state.started_us == T0_US + 5 * S + LEAD_US


def test_two_rooms_of_one_host_fight_at_once() -> None:
    arena = Arena()
    facts = arena.ask(invitation(RED, Side("blue", "ann")), "ann")
    assert kinds(facts) == ["invited", "accepted", "accepted", "started"]


def test_the_platform_asks_in_the_name_of_the_first_room_and_answers_for_all() -> None:
    arena = Arena()
    facts = arena.ask(invitation(), "backend", role="service")
    assert [fact.data.room for fact in facts if fact.kind == "battle.accepted"] == ["red"]
    facts = arena.ask(accept(), "backend", role="service")
    assert kinds(facts) == ["accepted", "started"]


@pytest.mark.parametrize(
    ("request_", "actor", "code"),
    [
        (invitation(RED), "ann", "bad_sides"),
        (invitation(RED, RED), "ann", "bad_sides"),
        (invitation(*(Side(f"r{n}", f"h{n}") for n in range(10))), "h0", "bad_sides"),
        (invitation(rule="darts"), "ann", "unknown_rule"),
        (invitation(), "mallory", "forbidden"),
    ],
    ids=["one side", "the same room twice", "ten sides", "unknown rule", "a foreign host"],
)
def test_an_invitation_that_makes_no_battle_is_refused(
    request_: Any, actor: str, code: str
) -> None:
    arena = Arena()
    assert refusal(arena.ask(request_, actor)) == code
    assert arena.state == BattleState(BATTLE, outcomes={request_.id: code})


def test_nine_sides_are_a_battle() -> None:
    arena = Arena()
    arena.ask(invitation(*(Side(f"r{n}", f"h{n}") for n in range(9))), "h0")
    for number in range(1, 9):
        arena.ask(accept(), f"h{number}")
    assert arena.state.status == "running"


def test_a_battle_of_the_same_name_is_refused() -> None:
    arena = started()
    assert refusal(arena.ask(invitation(), "ann")) == "battle_exists"


@pytest.mark.parametrize("answer", [accept, decline, cancel])
def test_an_answer_to_nothing_and_one_of_a_stranger_are_refused(answer: Any) -> None:
    arena = Arena()
    assert refusal(arena.ask(answer(), "ann")) == "battle_not_found"
    arena.ask(invitation(), "ann")
    assert refusal(arena.ask(answer(), "mallory")) == "forbidden"
    assert arena.state.status == "invited"


def test_a_declined_battle_is_over() -> None:
    arena = Arena()
    arena.ask(invitation(), "ann")
    [fact] = arena.ask(decline(), "bob")
    assert (fact.kind, fact.data.room, fact.data.by) == ("battle.declined", "blue", "bob")
    assert arena.ask(decline(), "bob") == []
    assert refusal(arena.ask(accept(), "bob")) == "battle_declined"
    assert is_over(arena.state)


def test_an_invitation_can_be_taken_back() -> None:
    arena = Arena()
    arena.ask(invitation(), "ann")
    assert kinds(arena.ask(cancel(), "ann")) == ["cancelled"]
    assert arena.ask(cancel(), "ann") == []
    assert refusal(arena.ask(accept(), "bob")) == "battle_cancelled"


def test_an_invitation_expires() -> None:
    arena = Arena()
    arena.ask(invitation(), "ann")
    end_us = T0_US + limits.BATTLE_INVITATION_S * S
    assert next_moment_us(arena.state) == end_us
    assert arena.ask(passed(end_us - 1)) == []
    assert refusal(arena.ask(accept(), "bob", at_us=end_us)) == "battle_expired"
    [fact] = arena.ask(passed(end_us))
    assert (fact.kind, fact.data.reason) == ("battle.expired", "timeout")
    assert refusal(arena.ask(accept(), "bob")) == "battle_expired"
    assert next_moment_us(arena.state) is None


def test_an_invitation_ends_with_one_of_its_rooms() -> None:
    arena = Arena()
    arena.ask(invitation(), "ann")
    assert arena.ask(lost("green")) == []
    [fact] = arena.ask(lost("blue"))
    assert (fact.kind, fact.data.reason) == ("battle.expired", "room_closed")


def test_a_repeated_request_of_a_host_changes_nothing() -> None:
    arena = Arena()
    first = invitation()
    arena.ask(first, "ann")
    before = msgspec.json.encode(arena.state)
    assert arena.ask(first, "ann") == []
    assert msgspec.json.encode(arena.state) == before


def test_an_accept_of_a_battle_that_has_started_changes_nothing() -> None:
    arena = started()
    assert arena.ask(accept(), "bob") == []
    assert refusal(arena.ask(decline(), "bob")) == "battle_running"


def test_a_battle_remembers_the_newest_outcomes_only() -> None:
    arena = started()
    for number in range(100):
        arena.ask(decline(number), "bob")
    assert len(arena.state.outcomes) == 64
    assert set(arena.state.outcomes.values()) == {"battle_running"}


# --- rooms that are taken ------------------------------------------------------------------------


def test_a_room_that_fights_is_not_asked_to_another_battle() -> None:
    arena = Arena("one", "two")
    arena.ask(invitation(), "ann")
    arena.ask(accept(), "bob")
    code = refusal(arena.ask(invitation(RED, GREEN), "ann", battle="two"))
    assert code == "room_in_battle"


def test_of_two_invitations_the_one_that_starts_first_gets_the_room() -> None:
    arena = Arena("one", "two")
    arena.ask(invitation(), "ann", battle="one")
    arena.ask(invitation(RED, GREEN), "ann", battle="two")
    arena.ask(accept(), "cid", battle="two")
    facts = arena.ask(accept(), "bob", battle="one")
    assert kinds(facts) == ["accepted", "expired"]
    assert facts[1].data.reason == "room_in_battle"
    assert arena.taken == {"red": "two", "green": "two"}


def test_a_room_is_free_again_when_its_battle_has_ended() -> None:
    arena = settling()
    arena.close_books(arena.state.deadline_us + S)
    assert arena.taken == {}
    assert is_over(arena.state)


# --- gifts ---------------------------------------------------------------------------------------


def test_a_gift_scores_for_its_room() -> None:
    arena = started()
    facts = arena.give("red", 30, entry=1)
    assert kinds(facts) == ["contributed", "scored"]
    contributed, scored = facts[0].data, facts[1].data
    assert (contributed.points, contributed.transfer) == (30, "0-1")
    assert contributed.revision == scored.revision
    assert scored.totals == {"red": 30, "blue": 0}
    assert scored.top == [Supporter("viv", "red", 30)]


def test_a_gift_is_told_once_however_often_the_ledger_tells_it() -> None:
    arena = started()
    arena.give("red", 30, entry=7, ledger=2)
    assert arena.give("red", 30, entry=7, ledger=2) == []
    assert arena.give("red", 30, entry=6, ledger=2) == []
    assert kinds(arena.give("red", 30, entry=6, ledger=1)) == ["contributed", "scored"]


def test_the_gifts_of_one_record_are_told_as_one_score() -> None:
    arena = started()
    record = [
        BattleAsked(BATTLE, f"u{n}", "viewer", STARTED_US + n * MS, contribution(entry=n, coins=n))
        for n in (3, 1, 2)
    ]
    in_order = [record[1], record[2], record[0]]
    facts = arena.take(in_order, T0_US)
    assert kinds(facts) == ["contributed", "contributed", "contributed", "scored"]
    assert {fact.data.revision for fact in facts} == {facts[-1].data.revision}
    assert facts[-1].data.totals == {"red": 6, "blue": 0}
    assert facts[-1].at_us == STARTED_US + 3 * MS
    assert arena.state.revision == facts[-1].data.revision


def test_the_score_is_told_before_whatever_else_changes_the_battle() -> None:
    arena = settling()
    arena.ask(passed(T0_US, 1))
    asked = [contribution(entry=1), *(mark(ledger) for ledger in range(PARTITIONS))]
    record = [BattleAsked(BATTLE, "viv", "viewer", STARTED_US, each) for each in asked]
    facts = arena.take(record, T0_US)
    assert kinds(facts) == ["contributed", "scored", "ended"]
    assert facts[1].data.revision + 1 == facts[2].data.final_revision
    assert facts[2].data.totals == {"red": 10, "blue": 0}


@pytest.mark.parametrize(
    "offset_us", [-LEAD_US, -1, 60 * S + 1], ids=["asked", "just before", "after the deadline"]
)
def test_a_gift_that_was_not_accepted_during_the_battle_scores_nothing(offset_us: int) -> None:
    arena = started()
    [fact] = arena.give(entry=1, at_us=STARTED_US + offset_us)
    assert (fact.kind, fact.data.coins) == ("battle.contribution.late", 10)
    assert arena.state.sides[0].score == 0


@pytest.mark.parametrize("offset_us", [0, 60 * S], ids=["at the start", "at the deadline"])
def test_a_gift_of_the_first_and_of_the_last_moment_scores(offset_us: int) -> None:
    arena = started()
    assert kinds(arena.give(entry=1, at_us=STARTED_US + offset_us)) == ["contributed", "scored"]


def test_a_gift_in_a_room_that_does_not_fight_scores_nothing() -> None:
    arena = started()
    assert kinds(arena.give("green", entry=1)) == ["contribution.late"]


def test_a_gift_to_a_battle_that_nobody_knows_is_passed_over() -> None:
    arena = Arena()
    assert arena.give(entry=1) == []
    assert arena.state == BattleState(BATTLE)


def test_a_gift_that_is_told_after_the_end_scores_nothing() -> None:
    arena = settling()
    arena.close_books(arena.state.deadline_us + S)
    assert kinds(arena.give(entry=1)) == ["contribution.late"]


def test_the_top_names_who_gave_most() -> None:
    arena = started()
    for entry, (actor, coins) in enumerate(
        [("a", 5), ("b", 6), ("c", 7), ("d", 4), ("d", 4), ("a", 1)], start=1
    ):
        arena.give("red", coins, entry=entry, actor=actor)
    assert arena.state.top == [
        Supporter("d", "red", 8),
        Supporter("c", "red", 7),
        Supporter("a", "red", 6),
    ]


def test_by_the_rule_of_gifts_every_tap_is_a_point() -> None:
    arena = started(rule="gifts")
    arena.give("blue", 1_000, entry=1)
    assert arena.state.sides[1].score == 1


# --- windows -------------------------------------------------------------------------------------


def test_points_count_more_in_a_window() -> None:
    arena = started(windows=[window(10, 5, 3)])
    arena.give(entry=1, at_us=STARTED_US + 10 * S - 1)
    arena.give(entry=2, at_us=STARTED_US + 10 * S)
    arena.give(entry=3, at_us=STARTED_US + 15 * S - 1)
    arena.give(entry=4, at_us=STARTED_US + 15 * S)
    points = [fact.data.points for fact in arena.facts if fact.kind == "battle.contributed"]
    assert points == [10, 30, 30, 10]


def test_the_best_of_the_windows_that_are_open_counts() -> None:
    windows = [window(0, 10, 2), window(5, 2, 5)]
    assert [multiplier_at(s * S, windows) for s in (0, 4, 5, 6, 7, 10)] == [2, 2, 5, 5, 2, 1]


def test_windows_open_and_close_by_the_timer() -> None:
    arena = started(windows=[window(0, 10, 2), window(5, 2, 5)], duration_s=8)
    opened = [fact.data for fact in arena.facts if fact.kind == "battle.window.opened"]
    assert [(each.multiplier, each.until) for each in opened] == [
        (2, rfc3339(arena.state.deadline_us))
    ]
    moments = []
    while (moment_us := next_moment_us(arena.state)) != arena.state.deadline_us:
        assert moment_us is not None
        moments.append(moment_us - STARTED_US)
        arena.ask(passed(moment_us), at_us=moment_us)
    assert moments == [5 * S, 7 * S]
    told = [(f.kind[14:], f.data) for f in arena.facts if "window" in f.kind][1:]
    assert [(kind, getattr(data, "multiplier", 0)) for kind, data in told] == [
        ("closed", 0),
        ("opened", 5),
        ("closed", 0),
        ("opened", 2),
    ]
    assert told[1][1].until == rfc3339(STARTED_US + 7 * S)


def test_a_window_that_is_open_closes_before_the_end() -> None:
    arena = settling(windows=[window(0, 100, 2)])
    facts = arena.close_books(arena.state.deadline_us + S)
    assert kinds(facts) == ["window.closed", "ended"]
    assert arena.state.multiplier == 1


def test_after_a_window_points_count_as_before() -> None:
    arena = started(windows=[window(10, 5, 3)])
    [opened] = arena.ask(passed(STARTED_US + 10 * S))
    assert (opened.data.multiplier, opened.data.until) == (3, rfc3339(STARTED_US + 15 * S))
    assert kinds(arena.ask(passed(STARTED_US + 15 * S))) == ["window.closed"]
    assert arena.state.multiplier == 1


# --- what is told --------------------------------------------------------------------------------


def test_revisions_grow_by_one_and_never_go_back_in_time() -> None:
    arena = started(windows=[window(5, 5, 2)], punish_s=10)
    arena.give("red", 5, entry=1, at_us=STARTED_US + 4 * S)
    arena.ask(passed(STARTED_US + 5 * S), at_us=STARTED_US + 5 * S)
    arena.give("blue", 5, entry=2, at_us=STARTED_US + 3 * S)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    arena.close_books(arena.state.deadline_us + S)
    arena.ask(passed(arena.state.deadline_us + 12 * S), at_us=arena.state.deadline_us + 12 * S)
    unrevised = ("battle.contributed", "battle.contribution.late", "battle.refused")
    told = [fact for fact in arena.facts if fact.kind not in unrevised]
    revisions = [getattr(f.data, "revision", 0) or f.data.final_revision for f in told]
    assert revisions == list(range(1, len(told) + 1))
    assert all(a.at_us <= b.at_us for a, b in itertools.pairwise(told))
    assert len({fact.id for fact in arena.facts}) == len(arena.facts)


def test_what_nobody_asked_for_names_no_actor() -> None:
    arena = settling()
    arena.give(entry=1)
    arena.close_books(arena.state.deadline_us + S)
    named = {fact.kind: fact.actor for fact in arena.facts}
    assert named["battle.started"] == "bob"
    assert named["battle.contributed"] == "viv"
    assert named["battle.scored"] is msgspec.UNSET
    assert named["battle.ended"] is msgspec.UNSET


def test_a_battle_is_the_fold_of_its_facts() -> None:
    arena = started(windows=[window(0, 5, 2)], punish_s=10)
    arena.give("red", 5, entry=1)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    arena.close_books(arena.state.deadline_us + S)
    folded = BattleState(BATTLE)
    for fact in arena.facts:
        data = msgspec.json.decode(msgspec.json.encode(fact.data), type=DATA_OF_TYPE[fact.kind])
        evolve(folded, msgspec.structs.replace(fact, data=data))
    told_apart = ("entries", "settle_tries", "barrier", "marks", "outcomes", "timed_us")
    for name in told_apart:
        setattr(folded, name, getattr(arena.state, name))
    assert folded == arena.state


def test_a_state_survives_its_encoding() -> None:
    arena = settling(windows=[window(0, 5, 2)])
    arena.give(entry=1)
    arena.ask(mark(1))
    kept = msgspec.json.encode(arena.state)
    assert msgspec.json.decode(kept, type=BattleState) == arena.state


# --- what has to be looked up --------------------------------------------------------------------


def test_only_invitations_and_acceptances_ask_about_rooms() -> None:
    arena = started()
    other = invitation(RED, GREEN)

    def asked(request: Any, battle: str = BATTLE) -> BattleAsked:
        return BattleAsked(battle, "ann", "viewer", T0_US, request)

    record = [asked(cancel()), asked(contribution(entry=1)), asked(passed(T0_US))]
    assert rooms_asked_about(record, arena.battles) == set()
    assert rooms_asked_about([asked(accept())], arena.battles) == {"red", "blue"}
    assert rooms_asked_about([asked(other, "new")], arena.battles) == {"red", "green"}
    assert points_asked_about(record) == {(BATTLE, "red", "ann")}
