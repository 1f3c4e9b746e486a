"""A room: its state, and how facts change it.

The processor decides on this state and the gateways answer from it; both get it the same way, by
folding facts: a checkpoint, then everything after it. `evolve` is therefore the only place where
a room changes. It is idempotent for every fact but `like.tapped` and the counts of presence,
whose duplicates are dropped by id before they get here.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

from msgspec import Struct, field

from engagement.domain import events, limits
from engagement.domain.events import Decided, unix_us
from engagement.domain.media_time import WALL_EPOCH, Stamp

Status = Literal["unknown", "open", "closed"]

NO_STAMP: Final = Stamp(epoch=WALL_EPOCH, pts_ms=0, err_ms=None, anchor=None)


class HeldComment(Struct, frozen=True):
    """A comment that waits for a moderator."""

    actor: str
    data: events.CommentHeld


class RoomState(Struct):
    """All that is needed to decide about a room's next request. Mutable: one owner folds it."""

    room: str
    status: Status = "unknown"
    title: str = ""
    host: str = ""
    session: str = ""
    opened_us: int = 0
    """When its first session began: zero of the wall clock's epoch."""
    recorded: bool = False

    muted_until_us: dict[str, int] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    authors: dict[str, str] = field(default_factory=dict)
    """Comment id → actor, the newest `RECENT_COMMENTS_PER_ROOM`."""
    held: dict[str, HeldComment] = field(default_factory=dict)

    leases: dict[str, str] = field(default_factory=dict)
    """Presence: session → actor. A set, so joining and leaving are idempotent."""
    joined_total: int = 0
    left_total: int = 0
    likes_total: int = 0
    """Sums of the activity. Gateways, which do not read it, have only what the windows told."""

    joined_counted: int = 0
    left_counted: int = 0
    likes_counted: int = 0
    """What the windows have told so far; the difference to the totals is the open window."""
    viewers_window: int = -1
    likes_window: int = -1
    """Versions of the newest windows."""
    online: int = 0
    """As the newest window told it: what gateways, which see no single joins, answer."""

    pending_joiners: list[str] = field(default_factory=list)
    pending_likers: dict[str, int] = field(default_factory=dict)
    viewers_since_us: int = 0
    likes_since_us: int = 0
    """When the open windows began; 0 while there is none."""
    viewers_newest: Decided | None = None
    likes_newest: Decided | None = None
    """Newest activity of the open windows: its time and stamp become the window's."""

    last_at_us: int = 0
    last_stamp: Stamp = NO_STAMP
    """Of the newest folded fact: what facts that no request caused are stamped with."""


def evolve(state: RoomState, fact: Decided) -> None:
    """Fold one fact into the room's state. Facts that change no state are passed over."""
    change = _CHANGES.get(fact.kind)
    if change is not None:
        change(state, fact, fact.data)
    if fact.at_us >= state.last_at_us:
        state.last_at_us, state.last_stamp = fact.at_us, fact.stamp


def _opened(state: RoomState, fact: Decided, data: events.RoomOpened) -> None:
    state.status = "open"
    state.title, state.host, state.session = data.title, data.host, data.session
    state.recorded = data.recorded
    # Wall time in a room without a media clock goes on across its sessions: a second session that
    # began at 0 again would be mixed into the first one's timeline.
    state.opened_us = state.opened_us or fact.at_us


def _closed(state: RoomState, fact: Decided, data: events.RoomClosed) -> None:
    if data.session != state.session:
        return
    state.status = "closed"
    state.leases.clear()
    state.online = 0
    state.held.clear()
    # Nothing is removed from a closed room, and closed rooms are many.
    state.authors.clear()
    state.joined_counted = max(state.joined_counted, state.joined_total)
    state.left_counted = max(state.left_counted, state.left_total)
    _end_viewers_window(state)


def _posted(state: RoomState, fact: Decided, data: events.CommentPosted) -> None:
    state.authors[fact.id] = str(fact.actor)
    if len(state.authors) > limits.RECENT_COMMENTS_PER_ROOM:
        del state.authors[next(iter(state.authors))]


def _held(state: RoomState, fact: Decided, data: events.CommentHeld) -> None:
    state.held[fact.id] = HeldComment(str(fact.actor), data)
    if len(state.held) > limits.HELD_COMMENTS_PER_ROOM:
        del state.held[next(iter(state.held))]


def _released(state: RoomState, fact: Decided, data: events.CommentReleased) -> None:
    state.held.pop(data.target, None)


def _removed(state: RoomState, fact: Decided, data: events.CommentRemoved) -> None:
    state.authors.pop(data.target, None)
    state.held.pop(data.target, None)


def _muted(state: RoomState, fact: Decided, data: events.ViewerMuted) -> None:
    mutes = state.muted_until_us
    mutes.pop(data.target, None)
    mutes[data.target] = unix_us(data.until)
    if len(mutes) > limits.MUTES_PER_ROOM_MAX:
        over = [who for who, until_us in mutes.items() if until_us <= fact.at_us]
        for who in over or [next(iter(mutes))]:
            del mutes[who]


def _banned(state: RoomState, fact: Decided, data: events.ViewerBanned) -> None:
    state.banned.add(data.target)


def _unbanned(state: RoomState, fact: Decided, data: events.ViewerUnbanned) -> None:
    state.banned.discard(data.target)
    state.muted_until_us.pop(data.target, None)


def _joined(state: RoomState, fact: Decided, data: events.ViewerJoined) -> None:
    if data.session in state.leases:
        return
    state.leases[data.session] = str(fact.actor)
    state.joined_total += 1
    if len(state.pending_joiners) < limits.NOTABLE_MAX + limits.SAMPLE_MAX:
        state.pending_joiners.append(str(fact.actor))
    _touch_viewers_window(state, fact)


def _left(state: RoomState, fact: Decided, data: events.ViewerLeft) -> None:
    if state.leases.pop(data.session, None) is None:
        return
    state.left_total += 1
    _touch_viewers_window(state, fact)


def has_uncounted_viewers(state: RoomState) -> bool:
    """Whether someone came or went whom no window has told."""
    return state.joined_total > state.joined_counted or state.left_total > state.left_counted


def _touch_viewers_window(state: RoomState, fact: Decided) -> None:
    if not has_uncounted_viewers(state):
        return  # Told already: a crash had lost this coming or going, but not its window.
    state.viewers_since_us = state.viewers_since_us or fact.at_us
    state.viewers_newest = fact


def _end_viewers_window(state: RoomState) -> None:
    state.pending_joiners.clear()
    state.viewers_since_us = 0
    state.viewers_newest = None


def _tapped(state: RoomState, fact: Decided, data: events.LikeTapped) -> None:
    state.likes_total += data.count
    if state.likes_total <= state.likes_counted:
        return  # Told already: a crash had lost this tap, but not the window that told it.
    actor = str(fact.actor)
    state.pending_likers[actor] = state.pending_likers.get(actor, 0) + data.count
    state.likes_since_us = state.likes_since_us or fact.at_us
    state.likes_newest = fact


def _viewers_counted(state: RoomState, fact: Decided, data: events.ViewersCounted) -> None:
    if data.window <= state.viewers_window:
        return
    state.viewers_window = data.window
    state.online = data.online
    state.joined_counted += data.joined
    state.left_counted += data.left
    if not has_uncounted_viewers(state):
        _end_viewers_window(state)


def _likes_counted(state: RoomState, fact: Decided, data: events.LikesCounted) -> None:
    state.likes_window = max(state.likes_window, data.window)
    state.likes_counted = max(state.likes_counted, data.room_total)
    state.pending_likers.clear()
    if state.likes_total <= state.likes_counted:
        state.likes_since_us = 0
        state.likes_newest = None


_CHANGES: Final[dict[str, Callable[[RoomState, Decided, Any], None]]] = {
    "room.opened": _opened,
    "room.closed": _closed,
    "comment.posted": _posted,
    "comment.held": _held,
    "comment.released": _released,
    "comment.removed": _removed,
    "viewer.muted": _muted,
    "viewer.banned": _banned,
    "viewer.unbanned": _unbanned,
    "viewer.joined": _joined,
    "viewer.left": _left,
    "like.tapped": _tapped,
    "viewers.counted": _viewers_counted,
    "likes.counted": _likes_counted,
}


def is_muted(state: RoomState, actor: str, at_us: int) -> bool:
    """Whether this actor's comments are refused at this time."""
    return state.muted_until_us.get(actor, 0) > at_us


def may_moderate(state: RoomState, actor: str, role: str) -> bool:
    """Moderators, admins and the platform's backend; and the room's own host."""
    return role in ("moderator", "admin", "service") or actor == state.host
