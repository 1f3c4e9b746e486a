"""All rooms of a partition: stamps, restarts, ids, and names that nobody opened."""

import pytest
from msgspec import UNSET

from engagement.domain import limits, room_partition
from engagement.domain.envelope import ClockEntry
from engagement.domain.media_time import Anchor, stamp
from engagement.domain.room_partition import RoomPartition
from tests.unit.domain_parts import (
    MS,
    ROOM,
    T0_US,
    WORDS,
    Rooms,
    S,
    asked,
    comment,
    join,
    kinds,
    opening,
    refusals,
    taps,
)


def test_each_request_is_stamped_by_its_own_anchor() -> None:
    rooms = Rooms().given_open()
    clock = [
        ClockEntry(Anchor(f"anchor-{n}", n, 90_000, 0, 1000.0 * n, T0_US / MS, 0, 1, T0_US), 2.0)
        for n in (1, 2)
    ]
    posted = rooms.take([asked(comment(), "v", at_us=T0_US + S, anchor=n) for n in (1, 0)], clock)
    assert [fact.stamp for fact in posted] == [
        stamp(clock[n].anchor, 2.0, T0_US + S) for n in (1, 0)
    ]
    assert [(f.stamp.epoch, f.stamp.pts_ms, f.stamp.anchor) for f in posted] == [
        (2, 3000, "anchor-2"),
        (1, 2000, "anchor-1"),
    ]


def test_what_was_decided_before_a_restart_is_known_after_it() -> None:
    before = Rooms().given_open()
    posted, refused = comment(number=1), comment("denied", number=2)
    before.when(posted, "v")
    before.when(refused, "v")
    after = Rooms()
    for fact in before.log:
        after.partition.recall(fact)
    assert after.partition.rooms == before.partition.rooms
    assert after.when(posted, "v") == after.when(refused, "v") == []
    assert refusals(after.when(posted, "w")) == ["id_reused"]
    assert after.partition.changed == {ROOM}


def test_an_id_from_before_the_checkpoint_is_known_without_its_fact() -> None:
    rooms = Rooms().given_open()
    rooms.partition.remember(comment(number=1).id, "v")
    assert rooms.when(comment(number=1), "v") == []


def test_a_window_that_was_open_at_a_checkpoint_is_told_after_it() -> None:
    before = Rooms().given_open()
    before.when(taps(3), "v")
    before.when(opening(), room="quiet")
    after = Rooms()
    after.partition.restore(before.state())
    after.partition.restore(before.state("quiet"))
    assert after.partition.changed == set()
    [counted] = after.after(250 * MS)
    assert (counted.kind, counted.data.room_total) == ("likes.counted", 3)


def test_rooms_do_not_know_of_each_other() -> None:
    rooms = Rooms().given_open()
    assert refusals(rooms.when(comment(), "v", room="other")) == ["room_not_found"]
    rooms.when(taps(), "v")
    assert kinds(rooms.when(opening(), room="other", at_us=T0_US + S)) == ["room.opened"]
    assert set(rooms.partition.rooms) == {ROOM, "other"}


def test_a_name_that_nobody_opened_is_not_kept() -> None:
    """Every made-up name became a room, in memory and in the checkpoints, for ever."""
    rooms = Rooms()
    for number in range(100):
        rooms.when(join(), "v", room=f"made-up-{number}")
    assert rooms.partition.rooms == {}
    assert rooms.partition.changed == set()
    recovering = RoomPartition(WORDS)
    for fact in rooms.log:
        recovering.recall(fact)
    assert recovering.rooms == {}


def test_activity_in_a_room_whose_opening_is_not_on_the_log_yet_is_kept() -> None:
    before = Rooms().given_open()
    [joined] = before.when(join(), "v", session="gw/1")
    [tapped] = before.when(taps(3), "v")
    for facts in ([joined], [tapped]):
        after = RoomPartition(WORDS)
        after.recall(facts[0])
        assert set(after.rooms) == after.changed == {ROOM}
    assert after.rooms[ROOM].likes_total == 3


def test_a_request_that_cannot_be_decided_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = Rooms().given_open()

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(room_partition, "decide", broken)
    with pytest.raises(RuntimeError):
        rooms.when(comment(number=1), "v")
    monkeypatch.undo()
    assert kinds(rooms.when(comment(number=1), "v")) == ["comment.posted"]


def test_ids_are_remembered_in_a_bounded_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEDUPE_IDS_PER_PARTITION", 10)
    rooms = Rooms().given_open()
    first = taps(number=1)
    rooms.when(first, "v")
    for _ in range(8):
        rooms.when(taps(), "v")
    assert rooms.when(first, "v") == []
    for _ in range(20):
        rooms.when(taps(), "v")
    assert kinds(rooms.when(first, "v")) == ["like.tapped"]
    assert first.actor is UNSET
