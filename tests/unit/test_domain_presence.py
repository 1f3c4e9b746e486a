"""Windows and leases: floods folded, ghosts ended, nobody sent away who is there."""

from engagement.domain import limits
from tests.unit.domain_parts import (
    HOST,
    MS,
    ROOM,
    T0_US,
    Rooms,
    S,
    asked,
    closing,
    comment,
    join,
    kinds,
    leave,
    opening,
    renewal,
    taps,
)

TTL_US = limits.GATEWAY_LEASE_TTL_S * S
HTTP_TTL_US = limits.HTTP_LEASE_TTL_S * S


def renewing(rooms: Rooms, time_us: int, *gateways: str) -> list[str]:
    """The kinds of facts in so much time in which these gateways renew their leases."""
    seen: list[str] = []
    for _ in range(0, time_us, 5 * S):
        for gateway in gateways:
            rooms.renewed(gateway)
        seen += kinds(rooms.after(5 * S))
    return seen


def test_a_window_tells_how_many_came_and_went_and_who_can_be_named() -> None:
    rooms = Rooms().given_open()
    rooms.when(join(), HOST, session="gw/0")
    for number in range(1, 8):
        rooms.when(join(), f"viewer-{number}", session=f"gw/{number}")
    rooms.when(leave(), "viewer-7", session="gw/7")
    assert rooms.after(249 * MS) == []
    [counted] = rooms.after(1 * MS)
    data = counted.data
    assert (counted.kind, data.online, data.joined, data.left) == ("viewers.counted", 7, 8, 1)
    assert (data.window, data.window_ms) == (T0_US // (250 * MS), 250)
    assert data.notable == [HOST]
    assert data.sample == [f"viewer-{number}" for number in range(1, limits.SAMPLE_MAX + 1)]
    assert rooms.after(1 * S) == []


def test_likes_are_told_once_a_window_with_a_total_that_only_grows() -> None:
    rooms = Rooms().given_open()
    for actor, count in (("b", 2), ("a", 5), ("c", 2), ("d", 1), ("a", 1)):
        rooms.when(taps(count), actor)
    [counted] = rooms.after(250 * MS)
    assert (counted.data.count, counted.data.room_total) == (11, 11)
    assert counted.data.top == ["a", "b", "c"]
    rooms.when(taps(1), "z")
    [counted] = rooms.after(250 * MS)
    assert (counted.data.count, counted.data.room_total, counted.data.top) == (1, 12, ["z"])


def test_a_request_of_the_next_window_closes_the_last_one_before_it_is_decided() -> None:
    rooms = Rooms().given_open()
    rooms.when(taps(), "viewer")
    facts = rooms.when(comment(), "viewer", at_us=T0_US + 250 * MS)
    assert kinds(facts) == ["likes.counted", "comment.posted"]


def test_a_repeat_closes_no_window() -> None:
    rooms = Rooms().given_open()
    late = comment(number=1)
    rooms.when(late, "viewer", at_us=T0_US + 5 * S)
    rooms.when(taps(), "viewer")
    assert rooms.when(late, "viewer", at_us=T0_US + 5 * S) == []


def test_windows_never_decrease_when_the_clock_of_a_gateway_does() -> None:
    rooms = Rooms().given_open()
    windows = []
    for at_us in (T0_US, T0_US - 900 * MS, T0_US + 100 * MS):
        rooms.when(taps(), "viewer", at_us=at_us)
        [counted] = rooms.after(1 * S)
        windows.append(counted.data.window)
    assert windows == sorted(set(windows))


def test_a_gateway_whose_clock_is_ahead_does_not_hold_a_window_open() -> None:
    """It was closed when the others' clocks had got there: an hour later."""
    rooms = Rooms().given_open()
    rooms.when(taps(), "viewer", at_us=T0_US + 3600 * S)
    assert kinds(rooms.after(250 * MS)) == ["likes.counted"]


def test_windows_of_a_recorded_room_follow_the_recording() -> None:
    rooms = Rooms().given_open(recorded=True)
    rooms.when(taps(), "viewer", at_us=T0_US)
    rooms.when(join(), "viewer", at_us=T0_US)
    rooms.renewed()
    assert rooms.after(HTTP_TTL_US * 2) == []
    facts = rooms.when(taps(), "viewer", at_us=T0_US + 250 * MS)
    assert kinds(facts) == ["viewers.counted", "likes.counted", "like.tapped"]


def test_viewers_of_a_gateway_that_dies_leave_when_its_leases_run_out() -> None:
    rooms = Rooms().given_open()
    rooms.renewed("dying")
    rooms.when(join(), "viewer", session="dying/1")
    rooms.when(join(), "other", session="alive/1")
    seen = renewing(rooms, TTL_US + 5 * S, "alive")
    assert seen == ["viewers.counted", "viewer.left", "viewers.counted"]
    left = next(fact for fact in rooms.log if fact.kind == "viewer.left")
    assert (left.actor, left.data.reason) == ("viewer", "expired")
    assert rooms.state().leases == {"alive/1": "other"}


def test_nobody_leaves_while_nothing_at_all_is_heard() -> None:
    """A broker that was away for longer than a lease made everyone leave, for good."""
    rooms = Rooms().given_open()
    rooms.renewed("gw")
    rooms.when(join(), "viewer", session="gw/1")
    assert kinds(rooms.after(10 * TTL_US)) == ["viewers.counted"]
    assert renewing(rooms, TTL_US * 2, "gw") == []
    assert rooms.state().leases == {"gw/1": "viewer"}


def test_a_worker_that_was_stopped_for_a_while_lets_nobody_leave() -> None:
    rooms = Rooms().given_open()
    rooms.renewed("gw")
    rooms.when(join(), "viewer", session="gw/1")
    rooms.after(1 * S)
    rooms.renewed("gw")
    assert rooms.partition.tick(rooms.now_us + 10 * TTL_US) == []


def test_the_clock_of_a_gateway_does_not_shorten_its_leases() -> None:
    rooms = Rooms().given_open()
    for _ in range(10):
        rooms.take([asked(renewal(), "gw", room="", at_us=T0_US - 3600 * S)], gateway="gw")
        rooms.when(join(), "viewer", session="gw/1", at_us=T0_US - 3600 * S)
        rooms.after(5 * S)
    assert rooms.state().leases == {"gw/1": "viewer"}


def test_after_a_restart_leases_begin_anew() -> None:
    rooms = Rooms().given_open()
    rooms.when(join(), "viewer", session="gone/1")
    rooms.when(join(), "silent")
    restarted = Rooms()
    restarted.partition.restore(rooms.state())
    assert renewing(restarted, TTL_US - 5 * S, "gw") == ["viewers.counted"]
    assert renewing(restarted, 10 * S, "gw") == ["viewer.left", "viewers.counted"]
    assert restarted.state().leases == {"http/silent": "silent"}
    assert renewing(restarted, HTTP_TTL_US, "gw") == ["viewer.left", "viewers.counted"]


def test_a_viewer_without_a_socket_stays_as_long_as_they_ask_for_anything() -> None:
    rooms = Rooms().given_open()
    rooms.when(join(), "viewer")
    for _ in range(4):
        assert "viewer.left" not in renewing(rooms, HTTP_TTL_US - 5 * S, "gw")
        rooms.when(comment(), "viewer")
    assert "viewer.left" in renewing(rooms, HTTP_TTL_US + 5 * S, "gw")


def test_a_viewer_who_comes_back_and_lapses_again_leaves_again() -> None:
    rooms = Rooms().given_open()
    for _ in range(2):
        rooms.when(join(), "viewer")
        renewing(rooms, HTTP_TTL_US + 5 * S, "gw")
    left = [fact for fact in rooms.log if fact.kind == "viewer.left"]
    assert len({fact.id for fact in left}) == len(left) == 2
    assert rooms.state().left_total == 2


def test_leases_of_viewers_who_left_are_forgotten() -> None:
    rooms = Rooms().given_open()
    for number in range(50):
        rooms.when(join(), f"viewer-{number}")
        rooms.when(leave(), f"viewer-{number}")
    renewing(rooms, 5 * S, *(f"gateway-{number}" for number in range(50)))
    leases = rooms.partition._leases
    assert leases._viewers == {}
    renewing(rooms, TTL_US + 10 * S, "gw")
    assert set(leases._gateways) == {"gw"}


def test_closing_tells_that_nobody_is_there_also_when_all_have_been_counted() -> None:
    """The last window said that people were there; who came later believed it."""
    rooms = Rooms().given_open()
    rooms.when(join(), "viewer", session="gw/1")
    rooms.after(1 * S)
    [counted, closed] = rooms.when(closing())
    assert (counted.kind, counted.data.online, counted.data.joined) == ("viewers.counted", 0, 0)
    assert (closed.kind, rooms.state().online) == ("room.closed", 0)


def test_a_session_that_reopens_begins_with_nobody_and_goes_on_counting() -> None:
    rooms = Rooms().given_open()
    rooms.when(join(), "viewer", session="gw/1")
    rooms.when(taps(5), "viewer")
    rooms.when(closing())
    rooms.when(opening())
    rooms.when(join(), "viewer", session="gw/1")
    rooms.when(taps(2), "viewer")
    likes, viewers = sorted(rooms.after(1 * S), key=lambda fact: fact.kind)
    assert (likes.data.room_total, likes.data.count) == (7, 2)
    assert (viewers.data.online, viewers.data.joined, viewers.data.left) == (1, 1, 0)
    assert rooms.state(ROOM).leases == {"gw/1": "viewer"}
