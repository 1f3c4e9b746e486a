"""Gifts as a room tells them: once each, in combos that add up and end."""

import msgspec
import pytest
from msgspec import UNSET

from engagement.domain import limits, requests
from engagement.domain.names import is_actor_id, is_request_id, is_room_id
from engagement.domain.rooms import RECORDED, entry_of, transfer_name
from tests.unit.domain_parts import MS, ROOM, T0_US, Rooms, S, closing, comment, kinds, opening
from tests.unit.domain_parts import request_id as id_of
from tests.unit.room_gift_parts import GiftedRooms


def opened() -> GiftedRooms:
    rooms = GiftedRooms()
    rooms.given_open()
    return rooms


def test_taps_of_one_viewer_and_gift_are_one_combo() -> None:
    rooms = opened()
    first, second = rooms.tap(count=2), rooms.tap(count=3, at_us=T0_US + 5 * S)
    assert (first.data.combo_count, second.data.combo_count) == (2, 5)
    assert first.data.combo == second.data.combo
    assert rooms.tap("wim").data.combo_count == rooms.tap(gift="fox").data.combo_count == 1


def test_taps_further_apart_than_the_window_are_two_combos() -> None:
    rooms = opened()
    rooms.tap(count=2)
    facts = rooms.when(rooms.paid(), "viv", at_us=T0_US + limits.COMBO_WINDOW_MS * MS + 1)
    assert kinds(facts) == ["gift.combo.ended", "gift.sent"]
    ended, sent = facts
    assert (ended.data.total_count, ended.data.total_coins, ended.data.reason) == (2, 20, "timeout")
    assert (ended.at_us, ended.actor, sent.data.combo_count) == (T0_US, "viv", 1)


def test_another_name_begins_another_combo() -> None:
    rooms = opened()
    rooms.tap(combo="spree")
    facts = rooms.when(rooms.paid(combo="again"), "viv")
    assert [facts[0].data.reason, facts[1].data.combo_name] == ["client", "again"]


def test_a_gift_that_is_no_combo_has_no_count() -> None:
    rooms = opened()
    sent = rooms.tap(combos=False)
    assert (sent.data.combo, sent.data.combo_count) == (UNSET, UNSET)
    assert rooms.state().combos == {}


def test_time_alone_ends_a_combo_once() -> None:
    rooms = opened()
    sent = rooms.tap()
    wait_us = (limits.COMBO_WINDOW_MS + limits.COMBO_GRACE_MS) * MS
    assert rooms.after(wait_us - 250 * MS) == []
    [ended] = rooms.after(250 * MS)
    assert (ended.kind, ended.data.combo, ended.stamp) == (
        "gift.combo.ended",
        sent.data.combo,
        sent.stamp,
    )
    assert rooms.after(10 * S) == []


def test_another_request_of_a_later_time_ends_what_is_over_before_it() -> None:
    rooms = opened()
    rooms.tap()
    assert kinds(rooms.when(comment(), "wim", at_us=T0_US + 7 * S)) == [
        "gift.combo.ended",
        "comment.posted",
    ]


def test_a_tap_that_comes_late_neither_sets_back_its_combo_nor_ends_it() -> None:
    rooms = opened()
    rooms.tap(at_us=T0_US + 2 * S)
    late = rooms.tap(at_us=T0_US)
    assert late.data.combo_count == 2
    [combo] = rooms.state().combos.values()
    assert combo.last_at_us == T0_US + 2 * S


def test_a_room_that_closes_ends_its_combos() -> None:
    rooms = opened()
    rooms.tap()
    facts = rooms.when(closing())
    ended = next(fact for fact in facts if fact.kind == "gift.combo.ended")
    assert ended.data.reason == "room_closed"
    assert rooms.state().combos == {}


def test_beyond_the_bound_the_combo_that_was_left_longest_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "COMBOS_PER_ROOM_MAX", 2)
    rooms = opened()
    for actor in ("ann", "bob"):
        rooms.tap(actor)
    rooms.tap("ann")
    facts = rooms.when(rooms.paid("cid"), "cid")
    assert [(fact.kind, fact.actor) for fact in facts] == [
        ("gift.combo.ended", "bob"),
        ("gift.sent", "cid"),
    ]


def test_an_entry_that_is_not_news_is_a_repeat() -> None:
    rooms = opened()
    paid = rooms.paid()
    rooms.when(paid, "viv")
    rooms.tap()
    assert rooms.when(paid, "viv") == []
    assert rooms.partition.repeats == 1


def test_a_gift_whose_id_somebody_else_has_used_is_told_all_the_same() -> None:
    rooms = opened()
    rooms.when(comment(number=7), "wim")
    sent = rooms.tap(number=7)
    assert sent.kind == "gift.sent"
    assert sent.id != id_of(7) == sent.cause


def test_what_is_taken_back_no_longer_counts_for_its_sender() -> None:
    rooms = opened()
    rooms.tap(count=5)
    sent = rooms.tap(count=2)
    [reversed_] = rooms.take_back(sent)
    assert (reversed_.data.coins, reversed_.data.session) == (20, rooms.state().session)
    assert rooms.state().supporters == {"viv": 50}


def test_what_is_taken_back_of_an_earlier_session_changes_nothing_in_this_one() -> None:
    rooms = opened()
    sent = rooms.tap(count=5)
    rooms.when(closing())
    rooms.now_us += S
    rooms.when(opening())
    rooms.tap(count=1)
    [reversed_] = rooms.take_back(sent)
    assert reversed_.data.session == ""
    assert rooms.state().supporters == {"viv": 10}


def test_only_so_many_senders_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUPPORTERS_PER_ROOM_MAX", 1)
    rooms = opened()
    for actor in ("ann", "bob", "ann"):
        rooms.tap(actor)
    assert rooms.state().supporters == {"ann": 20}


def test_a_refused_gift_is_told_to_its_sender_once() -> None:
    rooms = opened()
    data = requests.UnpaidGift("rose", 1, "insufficient_funds")
    unpaid = requests.GiftUnpaid(id=id_of(3), data=data)
    [refused] = rooms.when(unpaid, "viv")
    assert (refused.data.request, refused.data.code) == (id_of(3), "insufficient_funds")
    assert rooms.when(unpaid, "viv") == []


def test_a_combo_that_another_one_has_followed_is_not_ended_by_an_old_fact() -> None:
    rooms = opened()
    rooms.tap(combo="one")
    *_, second = rooms.when(rooms.paid(combo="two"), "viv")
    [ended] = [fact for fact in rooms.log if fact.kind == "gift.combo.ended"]
    rooms.partition.recall(ended)
    [combo] = rooms.state().combos.values()
    assert combo.combo == second.data.combo


def test_gifts_survive_a_restart_as_they_are() -> None:
    before = opened()
    before.tap(combo="spree")
    before.take_back(before.tap("wim"))
    after = Rooms()
    for fact in before.log:
        after.partition.recall(msgspec.structs.replace(fact))
    assert after.partition.rooms[ROOM] == before.state()


@pytest.mark.parametrize(("ledger", "name"), [(3, "3-17"), (RECORDED, "recorded-17")])
def test_a_transfer_is_named_by_its_entry(ledger: int, name: str) -> None:
    assert transfer_name(ledger, 17) == name
    assert entry_of(name) == (ledger, 17)


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, "\u00e9"])
def test_names_have_no_blanks_and_an_end(bad: str) -> None:
    assert not is_actor_id(bad)
    assert not is_room_id(bad)
    assert not is_request_id(bad)
    assert is_request_id("019c5f1e-7f7a-7bbb-8ccc-0123456789AB")
