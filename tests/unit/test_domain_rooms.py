"""How facts change a room: bounds, repeats, and facts that a crash left on their own."""

import msgspec
import pytest
from msgspec import UNSET

from engagement.domain import events, limits
from engagement.domain.events import Decided, decided, fact, rfc3339, unix_us
from engagement.domain.rooms import NO_STAMP, RoomState, evolve, is_muted
from tests.unit.domain_parts import (
    MS,
    ROOM,
    T0_US,
    Rooms,
    S,
    ban,
    closing,
    comment,
    join,
    kinds,
    mute,
    opening,
    release,
    removal,
    request_id,
    taps,
    unban,
)


def decided_fact(kind: str, data: events.FactData, at_us: int = T0_US, actor: str = "a") -> Decided:
    return Decided(kind, request_id(), ROOM, at_us, NO_STAMP, data, actor)


def test_the_log_is_the_state_folding_all_facts_gives_the_same_room() -> None:
    rooms = Rooms().given_open()
    for number in range(3):
        rooms.when(join(), f"v{number}", session=f"gw/{number}")
        rooms.when(taps(number + 1), f"v{number}")
        rooms.when(comment(), f"v{number}")
    rooms.when(comment("held"), "v1")
    rooms.when(mute("v1"))
    rooms.when(ban("v2"))
    rooms.after(300 * MS)
    rooms.when(join(), "v9", session="gw/9")
    folded = RoomState(ROOM)
    for each in rooms.log:
        evolve(
            folded,
            decided(msgspec.json.decode(msgspec.json.encode(fact(each)), type=events.RawFact)),
        )
    assert folded == rooms.state()


def test_a_fact_of_the_log_is_the_fact_that_was_decided() -> None:
    rooms = Rooms().given_open()
    [posted] = rooms.when(comment("naïve 🎉"), "viewer")
    raw = msgspec.json.decode(msgspec.json.encode(fact(posted)), type=events.RawFact)
    assert decided(raw) == posted
    assert fact(posted).topic == events.ROOM_TOPIC
    [tapped] = rooms.when(taps(), "viewer")
    assert fact(tapped).topic == events.ACTIVITY_TOPIC


def test_times_are_rfc_3339_with_microseconds_and_back() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(T0_US + 1) == "2023-11-14T22:13:20.000001Z"
    assert unix_us(rfc3339(T0_US + 123_456)) == T0_US + 123_456
    assert unix_us("2023-11-14T23:13:20+01:00") == T0_US


def test_authors_are_remembered_for_the_newest_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECENT_COMMENTS_PER_ROOM", 3)
    rooms = Rooms().given_open()
    ids = [rooms.when(comment(), "viewer")[0].id for _ in range(5)]
    assert list(rooms.state().authors) == ids[2:]


def test_the_oldest_held_comment_is_denied_when_too_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HELD_COMMENTS_PER_ROOM", 2)
    rooms = Rooms().given_open()
    ids = [rooms.when(comment("held"), "viewer")[0].id for _ in range(3)]
    assert list(rooms.state().held) == ids[1:]


def test_mutes_that_have_ended_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entry was dropped, ended or not: also one that had just been prolonged."""
    monkeypatch.setattr(limits, "MUTES_PER_ROOM_MAX", 2)
    rooms = Rooms().given_open()
    rooms.when(mute("a", 10))
    rooms.when(mute("b", 1))
    rooms.when(mute("c", 10), at_us=T0_US + 2 * S)
    assert set(rooms.state().muted_until_us) == {"a", "c"}
    rooms.when(mute("a", 100), at_us=T0_US + 3 * S)
    rooms.when(mute("d", 10), at_us=T0_US + 4 * S)
    assert set(rooms.state().muted_until_us) == {"a", "d"}
    assert is_muted(rooms.state(), "a", T0_US + 50 * S)


def test_a_repeated_fact_that_replaces_state_changes_nothing() -> None:
    rooms = Rooms().given_open()
    rooms.when(mute("a"))
    rooms.when(ban("b"))
    [posted] = rooms.when(comment(), "viewer")
    rooms.when(removal(posted.id), "viewer")
    rooms.when(unban("a"))
    [held] = rooms.when(comment("held"), "viewer")
    rooms.when(release(held.id))
    rooms.when(closing())
    before = msgspec.json.encode(rooms.state())
    for each in rooms.log[-2:]:
        evolve(rooms.state(), each)
    assert msgspec.json.encode(rooms.state()) == before


def test_the_closing_of_an_earlier_session_does_not_close_this_one() -> None:
    rooms = Rooms().given_open()
    [closed] = rooms.when(closing())
    rooms.when(opening())
    evolve(rooms.state(), closed)
    assert rooms.state().status == "open"


def test_a_closed_room_keeps_no_authors() -> None:
    rooms = Rooms().given_open()
    rooms.when(comment(), "viewer")
    rooms.when(closing())
    assert rooms.state().authors == {}


def test_wall_time_goes_on_across_sessions_of_a_room_without_a_clock() -> None:
    """It began at 0 again, and the second session was mixed into the first one's timeline."""
    rooms = Rooms().given_open()
    rooms.when(closing(), at_us=T0_US + 10 * S)
    [opened] = rooms.when(opening(), at_us=T0_US + 60 * S)
    [posted] = rooms.when(comment(), "viewer", at_us=T0_US + 61 * S)
    assert (opened.stamp.pts_ms, posted.stamp.pts_ms) == (60_000, 61_000)
    assert (posted.stamp.epoch, posted.stamp.err_ms, posted.stamp.anchor) == (0, None, None)


def test_a_tap_that_a_crash_lost_after_its_window_was_told_is_counted_once() -> None:
    """The window's total was taken for the sum of the taps; repeated taps came on top of it."""
    state = RoomState(ROOM, status="open")
    counted = events.LikesCounted(1, 250, 3, 3, ["a"])
    evolve(state, decided_fact("likes.counted", counted))
    for _ in range(3):
        evolve(state, decided_fact("like.tapped", events.LikeTapped(1)))
    assert (state.likes_total, state.likes_newest) == (3, None)
    evolve(state, decided_fact("like.tapped", events.LikeTapped(1)))
    assert state.likes_total == 4
    assert state.likes_newest is not None


def test_a_join_that_a_crash_lost_after_its_window_was_told_is_told_once() -> None:
    state = RoomState(ROOM, status="open")
    counted = events.ViewersCounted(1, 250, 1, 1, 0, [], ["a"])
    evolve(state, decided_fact("viewers.counted", counted))
    evolve(state, decided_fact("viewer.joined", events.ViewerJoined("gw/1", "socket")))
    assert (state.leases, state.joined_total, state.viewers_newest) == ({"gw/1": "a"}, 1, None)
    evolve(state, decided_fact("viewer.left", events.ViewerLeft("gw/1", "left")))
    assert state.viewers_newest is not None


def test_coming_and_going_twice_under_other_ids_is_one_coming_and_one_going() -> None:
    state = RoomState(ROOM, status="open")
    for _ in range(2):
        evolve(state, decided_fact("viewer.joined", events.ViewerJoined("gw/1", "socket")))
    for _ in range(2):
        evolve(state, decided_fact("viewer.left", events.ViewerLeft("gw/1", "left")))
    assert (state.joined_total, state.left_total, state.leases) == (1, 1, {})


def test_an_old_window_changes_nothing() -> None:
    state = RoomState(ROOM, status="open")
    for window, online in ((5, 9), (4, 1)):
        data = events.ViewersCounted(window, 250, online, 0, 0, [], [])
        evolve(state, decided_fact("viewers.counted", data))
    assert (state.viewers_window, state.online) == (5, 9)


def test_a_window_that_told_only_a_part_leaves_the_rest_open() -> None:
    rooms = Rooms().given_open()
    rooms.when(join(), "a", session="gw/1")
    rooms.when(join(), "b", session="gw/2")
    rooms.when(taps(2), "a")
    evolve(
        rooms.state(),
        decided_fact("viewers.counted", events.ViewersCounted(1, 250, 1, 1, 0, [], [])),
    )
    evolve(rooms.state(), decided_fact("likes.counted", events.LikesCounted(1, 250, 1, 1, [])))
    told = {each.kind: each.data for each in rooms.after(250 * MS)}
    assert told["viewers.counted"].joined == 1
    assert told["likes.counted"].room_total == 2


def test_facts_without_an_effect_on_the_room_are_passed_over() -> None:
    state = RoomState(ROOM, status="open")
    refused = events.RequestRefused(request_id(), "comment.post", "muted", "")
    evolve(state, decided_fact("request.refused", refused, at_us=T0_US + 5))
    assert state == RoomState(ROOM, status="open", last_at_us=T0_US + 5)
    evolve(state, decided_fact("request.unchanged", events.RequestUnchanged("x"), at_us=T0_US))
    assert state.last_at_us == T0_US + 5


def test_joiners_beyond_what_a_window_can_name_are_only_counted() -> None:
    rooms = Rooms().given_open()
    names = limits.NOTABLE_MAX + limits.SAMPLE_MAX
    for number in range(names + 5):
        rooms.when(join(), f"v{number}", session=f"gw/{number}")
    assert len(rooms.state().pending_joiners) == names
    [counted] = rooms.after(250 * MS)
    assert counted.data.joined == names + 5


def test_kinds_and_topics_are_the_tables() -> None:
    assert set(events.TOPIC_OF_TYPE) == set(events.DATA_OF_TYPE) == set(events.SCHEMA_OF_TYPE)
    assert kinds([]) == []
    assert fact(decided_fact("viewer.banned", events.ViewerBanned("x", "y"))).mediaerr is UNSET
