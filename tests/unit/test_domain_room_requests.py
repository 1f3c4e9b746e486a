"""What a room makes of each request: facts, a refusal, or nothing new."""

import pytest

from engagement.domain import limits
from engagement.domain.events import rfc3339
from tests.unit.domain_parts import (
    HOST,
    T0_US,
    Rooms,
    S,
    ban,
    closing,
    comment,
    join,
    kinds,
    leave,
    mute,
    opening,
    refusals,
    release,
    removal,
    request_id,
    taps,
    unban,
)


def test_opening_a_room_begins_a_session_and_opening_it_again_changes_nothing() -> None:
    rooms = Rooms()
    [opened] = rooms.when(opening())
    assert (opened.kind, opened.data.host, rooms.state().status) == ("room.opened", HOST, "open")
    assert kinds(rooms.when(opening())) == ["request.unchanged"]
    assert rooms.state().session == opened.data.session


def test_only_the_host_or_the_platform_opens_a_room() -> None:
    assert refusals(Rooms().when(opening(HOST), "somebody")) == ["forbidden"]
    assert kinds(Rooms().when(opening(HOST), "backend", role="service")) == ["room.opened"]
    assert kinds(Rooms().when(opening(HOST), "root", role="admin")) == ["room.opened"]


def test_a_room_that_is_live_is_not_taken_over_by_another_host() -> None:
    rooms = Rooms().given_open()
    assert refusals(rooms.when(opening("other"), "other")) == ["room_taken"]


def test_a_closed_room_may_be_opened_by_another_host_under_another_session() -> None:
    rooms = Rooms().given_open()
    first = rooms.state().session
    rooms.when(closing())
    assert kinds(rooms.when(opening("other"), "other")) == ["room.opened"]
    assert rooms.state().host == "other"
    assert rooms.state().session != first


def test_nothing_is_accepted_in_a_room_that_was_never_opened() -> None:
    rooms = Rooms()
    for request in (comment(), taps(), join(), leave(), closing(), mute("x"), removal("x")):
        assert refusals(rooms.when(request, "viewer")) == ["room_not_found"]
    assert rooms.partition.rooms == {}
    assert rooms.partition.changed == set()


def test_nothing_but_leaving_and_closing_again_is_accepted_in_a_closed_room() -> None:
    rooms = Rooms().given_open()
    rooms.when(closing())
    for request in (comment(), taps(), join(), mute("x"), ban("x"), removal("x"), release("x")):
        assert refusals(rooms.when(request)) == ["room_closed"]
    assert kinds(rooms.when(closing())) == ["request.unchanged"]
    assert kinds(rooms.when(leave(), "viewer")) == ["request.unchanged"]


def test_only_the_host_or_the_platform_closes_a_room() -> None:
    rooms = Rooms().given_open()
    assert refusals(rooms.when(closing(), "viewer")) == ["forbidden"]
    assert refusals(rooms.when(closing(), "mod", role="moderator")) == ["forbidden"]
    assert kinds(rooms.when(closing(), "backend", role="service")) == ["room.closed"]


def test_closing_tells_the_last_windows_before_it_and_leaves_nobody_online() -> None:
    rooms = Rooms().given_open()
    rooms.when(join(), "viewer", session="gw/1")
    rooms.when(taps(3), "viewer")
    facts = rooms.when(closing())
    assert kinds(facts) == ["likes.counted", "viewers.counted", "room.closed"]
    assert (facts[0].data.room_total, facts[1].data.online, facts[1].data.joined) == (3, 0, 1)
    assert rooms.state().leases == {}
    assert rooms.after(1 * S) == []


def test_a_comment_keeps_its_id_and_may_be_removed_by_its_author() -> None:
    rooms = Rooms().given_open()
    [posted] = rooms.when(comment(number=7), "viewer")
    assert (posted.id, posted.cause, posted.data.text) == (request_id(7), request_id(7), "hello")
    assert refusals(rooms.when(removal(posted.id), "somebody")) == ["forbidden"]
    [removed] = rooms.when(removal(posted.id), "viewer")
    assert (removed.kind, removed.data.target, removed.data.by) == (
        "comment.removed",
        posted.id,
        "viewer",
    )


@pytest.mark.parametrize(
    ("actor", "role"),
    [(HOST, "viewer"), ("m", "moderator"), ("a", "admin"), ("s", "service")],
)
def test_host_moderator_admin_and_platform_moderate(actor: str, role: str) -> None:
    rooms = Rooms().given_open()
    [posted] = rooms.when(comment(), "viewer")
    for request in (removal(posted.id), mute("viewer"), ban("viewer"), unban("viewer")):
        assert refusals(rooms.when(request, actor, role=role)) == []


def test_viewers_and_hosts_of_other_rooms_do_not_moderate() -> None:
    rooms = Rooms().given_open()
    for request in (mute("x"), ban("x"), unban("x"), release("x")):
        assert refusals(rooms.when(request, "viewer")) == ["forbidden"]
    for request in (mute("x"), ban("x"), unban("x"), release("x")):
        assert refusals(rooms.when(request, "other", role="host")) == ["forbidden"]


def test_a_muted_viewer_is_refused_until_the_mute_ends() -> None:
    rooms = Rooms().given_open()
    [muted] = rooms.when(mute("viewer", 60))
    assert muted.data.until == rfc3339(T0_US + 60 * S)
    assert refusals(rooms.when(comment(), "viewer", at_us=T0_US + 60 * S - 1)) == ["muted"]
    assert refusals(rooms.when(comment(), "viewer", at_us=T0_US + 60 * S)) == []
    assert kinds(rooms.when(taps(), "viewer")) == ["like.tapped"]


def test_unbanning_lifts_mute_and_ban() -> None:
    rooms = Rooms().given_open()
    rooms.when(mute("viewer"))
    rooms.when(ban("viewer"))
    rooms.when(unban("viewer"))
    assert refusals(rooms.when(comment(), "viewer")) == []


def test_a_banned_viewer_is_refused_everything_but_leaving() -> None:
    """Leaving was refused, too: the viewer was then present until the gateway died."""
    rooms = Rooms().given_open()
    rooms.when(join(), "viewer", session="gw/1")
    rooms.when(ban("viewer"))
    for request in (comment(), taps(), join()):
        assert refusals(rooms.when(request, "viewer")) == ["banned"]
    assert kinds(rooms.when(leave(), "viewer", session="gw/1")) == ["viewer.left"]
    assert rooms.state().leases == {}


def test_a_ban_does_not_hold_who_may_moderate() -> None:
    rooms = Rooms().given_open()
    rooms.when(ban(HOST), "m", role="moderator")
    assert refusals(rooms.when(comment(), HOST)) == []


def test_the_list_of_bans_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MUTES_PER_ROOM_MAX", 2)
    rooms = Rooms().given_open()
    for viewer in ("a", "b"):
        assert kinds(rooms.when(ban(viewer))) == ["viewer.banned"]
    assert refusals(rooms.when(ban("c"))) == ["too_many_bans"]
    assert kinds(rooms.when(ban("b"))) == ["viewer.banned"]


def test_a_denied_comment_is_refused_and_a_held_one_waits_for_a_moderator() -> None:
    rooms = Rooms().given_open()
    assert refusals(rooms.when(comment("this is denied"), "viewer")) == ["moderated"]
    [held] = rooms.when(comment("this is held", number=1), "viewer")
    assert (held.kind, held.data.reason) == ("comment.held", "word_held")
    posted, released = rooms.when(release(held.id), "mod", role="moderator")
    assert (posted.kind, posted.id, posted.actor) == ("comment.posted", held.id, "viewer")
    assert (released.kind, released.data.by) == ("comment.released", "mod")
    assert rooms.state().held == {}


def test_a_comment_that_is_not_held_cannot_be_released() -> None:
    rooms = Rooms().given_open()
    assert refusals(rooms.when(release(request_id(1)))) == ["comment_not_held"]


def test_a_held_comment_may_be_taken_back_by_its_author() -> None:
    """Only posted comments were known by author: a held one could not be taken back."""
    rooms = Rooms().given_open()
    [held] = rooms.when(comment("held"), "viewer")
    assert refusals(rooms.when(removal(held.id), "other")) == ["forbidden"]
    assert kinds(rooms.when(removal(held.id), "viewer")) == ["comment.removed"]
    assert refusals(rooms.when(release(held.id))) == ["comment_not_held"]


def test_joining_twice_and_leaving_twice_change_nothing() -> None:
    rooms = Rooms().given_open()
    assert kinds(rooms.when(join(), "viewer", session="gw/1")) == ["viewer.joined"]
    assert kinds(rooms.when(join(), "viewer", session="gw/1")) == ["request.unchanged"]
    assert kinds(rooms.when(leave(), "viewer", session="gw/1")) == ["viewer.left"]
    assert kinds(rooms.when(leave(), "viewer", session="gw/1")) == ["request.unchanged"]
    state = rooms.state()
    assert (state.joined_total, state.left_total, state.leases) == (1, 1, {})


def test_a_viewer_without_a_socket_has_one_lease_of_their_own() -> None:
    rooms = Rooms().given_open()
    [joined] = rooms.when(join(), "viewer")
    assert (joined.data.session, joined.data.entrance) == ("http/viewer", "http")
    [second] = rooms.when(join(), "viewer", session="gw/1")
    assert second.data.entrance == "socket"
    assert rooms.state().leases == {"http/viewer": "viewer", "gw/1": "viewer"}


def test_a_request_is_decided_once_and_somebody_elses_use_of_its_id_is_refused() -> None:
    rooms = Rooms().given_open()
    first = comment(number=1)
    assert kinds(rooms.when(first, "viewer")) == ["comment.posted"]
    assert rooms.when(first, "viewer") == []
    assert rooms.partition.repeats == 1
    assert refusals(rooms.when(first, "thief")) == ["id_reused"]
    assert rooms.when(first, "thief") == []
    assert rooms.when(first, "viewer") == []


def test_a_refused_request_stays_refused() -> None:
    rooms = Rooms().given_open()
    rooms.when(mute("viewer", 60))
    request = comment(number=1)
    assert refusals(rooms.when(request, "viewer")) == ["muted"]
    assert rooms.when(request, "viewer", at_us=T0_US + 100 * S) == []


def test_a_request_that_changed_nothing_is_not_decided_again() -> None:
    """An `open` of an open room left no trace: repeated after the `close`, it opened it again."""
    rooms = Rooms().given_open()
    again = opening(number=1)
    rooms.when(again)
    rooms.when(closing())
    assert rooms.when(again) == []
    assert rooms.state().status == "closed"
