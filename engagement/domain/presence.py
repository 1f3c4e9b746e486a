"""Presence and likes, folded into windows before they cost anything.

Single joins, leaves and taps are facts of the activity topic. What viewers see is one count per
room and window. The open window is no state of its own: it is the difference between the totals
(folded from the activity) and what the windows have told, so a restart loses nothing of it.
"""

from collections.abc import Iterator

from msgspec import UNSET

from engagement.domain import events, limits
from engagement.domain.envelope import Accepted
from engagement.domain.events import Decided
from engagement.domain.names import derived_id
from engagement.domain.rooms import RoomState

WINDOW_US = limits.WINDOW_MS * 1000

HTTP_GATEWAY = "http"
"""Stands in for the gateway in sessions of clients without a socket: `http/<actor>`."""


def session_of(asked: Accepted) -> str:
    """The lease that a request is about: its socket's, or the actor's own without one."""
    return f"{HTTP_GATEWAY}/{asked.actor}" if asked.session is UNSET else asked.session


def gateway_of(session: str) -> str:
    """The gateway that holds a session (`<gateway>/<n>`)."""
    return session.partition("/")[0]


def has_open_window(state: RoomState) -> bool:
    """Whether anything waits to be told."""
    return state.viewers_newest is not None or state.likes_newest is not None


def due_windows(state: RoomState, now_us: int) -> list[Decided]:
    """The windows of this room that have ended by `now_us`."""
    due: list[Decided] = []
    if state.viewers_newest is not None and _ended(state.viewers_since_us, now_us):
        due.append(_count_viewers(state, state.viewers_newest, online=len(state.leases)))
    if state.likes_newest is not None and _ended(state.likes_since_us, now_us):
        due.append(_count_likes(state, state.likes_newest))
    return due


def close_windows(state: RoomState) -> Iterator[Decided]:
    """The last windows of a session that ends: nothing is left untold, nobody is left online."""
    if state.likes_newest is not None:
        yield _count_likes(state, state.likes_newest)
    if state.viewers_newest is not None or state.online:
        yield _count_viewers(state, state.viewers_newest, online=0)


def expired(state: RoomState, session: str) -> Decided:
    """The leaving of a session whose lease ran out.

    Its id derives from the lease and from how many had left before: a session without a socket
    may come back and lapse again.
    """
    return Decided(
        kind="viewer.left",
        id=derived_id(state.room, "expired", session, state.left_total),
        room=state.room,
        at_us=state.last_at_us,
        stamp=state.last_stamp,
        data=events.ViewerLeft(session, "expired"),
        actor=state.leases[session],
    )


def _ended(since_us: int, now_us: int) -> bool:
    # A gateway whose clock is ahead must not hold a window open until the others' get there.
    is_ahead = since_us - now_us > limits.CLOCK_SKEW_MS * 1000
    return is_ahead or now_us >= (since_us // WINDOW_US + 1) * WINDOW_US


def _count_viewers(state: RoomState, newest: Decided | None, online: int) -> Decided:
    # A window that was told already (late activity) gives its number to the next one.
    window = max(state.viewers_since_us // WINDOW_US, state.viewers_window + 1)
    joiners = list(dict.fromkeys(state.pending_joiners))
    data = events.ViewersCounted(
        window=window,
        window_ms=limits.WINDOW_MS,
        online=online,
        joined=max(0, state.joined_total - state.joined_counted),
        left=max(0, state.left_total - state.left_counted),
        notable=[who for who in joiners if who == state.host][: limits.NOTABLE_MAX],
        sample=[who for who in joiners if who != state.host][: limits.SAMPLE_MAX],
    )
    return _window_fact(state, newest, "viewers.counted", window, data)


def _count_likes(state: RoomState, newest: Decided) -> Decided:
    window = max(state.likes_since_us // WINDOW_US, state.likes_window + 1)
    top = sorted(state.pending_likers.items(), key=lambda item: (-item[1], item[0]))
    data = events.LikesCounted(
        window=window,
        window_ms=limits.WINDOW_MS,
        count=state.likes_total - state.likes_counted,
        room_total=state.likes_total,
        top=[actor for actor, _ in top[: limits.TOP_LIKERS_MAX]],
    )
    return _window_fact(state, newest, "likes.counted", window, data)


def _window_fact(
    state: RoomState, newest: Decided | None, kind: str, window: int, data: events.FactData
) -> Decided:
    return Decided(
        kind=kind,
        id=derived_id(state.room, kind, window),
        room=state.room,
        at_us=state.last_at_us if newest is None else newest.at_us,
        stamp=state.last_stamp if newest is None else newest.stamp,
        data=data,
    )
