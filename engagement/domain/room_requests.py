"""What a room makes of a request: facts, or a refusal. Pure."""

from collections.abc import Callable
from typing import Final

from msgspec import UNSET

from engagement.domain import events, limits, requests, rooms
from engagement.domain.envelope import Accepted
from engagement.domain.events import Decided, FactData, rfc3339
from engagement.domain.gifts import close_combos
from engagement.domain.media_time import Stamp
from engagement.domain.moderation import Moderator
from engagement.domain.names import derived_id
from engagement.domain.presence import close_windows, session_of
from engagement.domain.rooms import RoomState


class RefusedError(Exception):
    """A request that the room does not grant; `code` is told to the sender."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def decide(state: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    """The facts that follow from one request, in the order in which they are recorded.

    The fact that carries the request's own id comes last: once it is on the log, so is the rest,
    and a repeat of the request is known to be one. Every request gives at least one: a refusal is a
    `request.refused`, one that changes nothing a `request.unchanged`. Without the latter a repeat
    after a crash would be decided by what came in between: an `open` of an open room, then its
    `close`, then the same `open` once more.
    """
    kind = asked.request.__struct_config__.tag
    try:
        _check(state, asked, str(kind))
        facts = _DECISIONS[str(kind)](state, asked, stamp, moderator)
        return facts or [_unchanged(asked, stamp)]
    except RefusedError as refusal:
        return [refused(asked, stamp, refusal.code)]


def refused(asked: Accepted, stamp: Stamp, code: str) -> Decided:
    """The record of a refusal; its id derives from the request, so a repeat is recognised."""
    request = asked.request
    data = events.RequestRefused(
        request=request.id,
        request_type=str(request.__struct_config__.tag),
        code=code,
        session=asked.session or "",
    )
    fact_id = derived_id(asked.room, "refused", asked.actor, request.id)
    return _fact(asked, stamp, "request.refused", data, fact_id)


def _unchanged(asked: Accepted, stamp: Stamp) -> Decided:
    kind = str(asked.request.__struct_config__.tag)
    return _fact(asked, stamp, "request.unchanged", events.RequestUnchanged(kind))


def _check(state: RoomState, asked: Accepted, kind: str) -> None:
    if kind == "room.open":
        return
    if state.status == "unknown":
        raise RefusedError("room_not_found")
    if kind == "room.leave":
        return  # Whoever may not stay may go: a refused leave would be a viewer who never left.
    if state.status == "closed" and kind != "room.close":
        raise RefusedError("room_closed")
    if asked.actor in state.banned and not rooms.may_moderate(state, asked.actor, asked.role):
        raise RefusedError("banned")
    if kind in requests.MODERATION_TYPES and not rooms.may_moderate(state, asked.actor, asked.role):
        raise RefusedError("forbidden")


def _fact(
    asked: Accepted, stamp: Stamp, kind: str, data: FactData, fact_id: str | None = None
) -> Decided:
    request_id = asked.request.id
    return Decided(
        kind=kind,
        id=request_id if fact_id is None else fact_id,
        room=asked.room,
        at_us=asked.at_us,
        stamp=stamp,
        data=data,
        actor=asked.actor,
        cause=request_id,
        traceparent=asked.traceparent,
    )


def _post(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    if rooms.is_muted(s, asked.actor, asked.at_us):
        raise RefusedError("muted")
    comment: requests.CommentText = asked.request.data  # type: ignore[assignment]
    judgement = moderator.judge(comment.text)
    if judgement.verdict == "deny":
        raise RefusedError("moderated")
    if judgement.verdict == "hold":
        held = events.CommentHeld(comment.text, judgement.reason, comment.lang, comment.reply_to)
        return [_fact(asked, stamp, "comment.held", held)]
    posted = events.CommentPosted(comment.text, comment.lang, comment.reply_to)
    return [_fact(asked, stamp, "comment.posted", posted)]


def _tap(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    taps: requests.LikeTaps = asked.request.data  # type: ignore[assignment]
    return [_fact(asked, stamp, "like.tapped", events.LikeTapped(taps.count))]


def _join(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    session = session_of(asked)
    if session in s.leases:
        return []
    joined = events.ViewerJoined(session, "http" if asked.session is UNSET else "socket")
    return [_fact(asked, stamp, "viewer.joined", joined)]


def _leave(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    session = session_of(asked)
    if session not in s.leases:
        return []
    return [_fact(asked, stamp, "viewer.left", events.ViewerLeft(session, "left"))]


def _remove(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    target: requests.CommentTarget = asked.request.data  # type: ignore[assignment]
    held = s.held.get(target.target)
    author = s.authors.get(target.target) if held is None else held.actor
    if author != asked.actor and not rooms.may_moderate(s, asked.actor, asked.role):
        raise RefusedError("forbidden")
    removed = events.CommentRemoved(target.target, asked.actor, target.reason)
    return [_fact(asked, stamp, "comment.removed", removed)]


def _release(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    target: requests.CommentTarget = asked.request.data  # type: ignore[assignment]
    held = s.held.get(target.target)
    if held is None:
        raise RefusedError("comment_not_held")
    posted = events.CommentPosted(held.data.text, held.data.lang, held.data.reply_to)
    return [
        Decided(
            kind="comment.posted",
            id=target.target,
            room=asked.room,
            at_us=asked.at_us,
            stamp=stamp,
            data=posted,
            actor=held.actor,
            cause=asked.request.id,
        ),
        _fact(asked, stamp, "comment.released", events.CommentReleased(target.target, asked.actor)),
    ]


def _mute(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    mute: requests.Mute = asked.request.data  # type: ignore[assignment]
    until = rfc3339(asked.at_us + mute.seconds * 1_000_000)
    muted = events.ViewerMuted(mute.target, asked.actor, until)
    return [_fact(asked, stamp, "viewer.muted", muted)]


def _ban(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    viewer: requests.ViewerTarget = asked.request.data  # type: ignore[assignment]
    if len(s.banned) >= limits.MUTES_PER_ROOM_MAX and viewer.target not in s.banned:
        raise RefusedError("too_many_bans")
    banned = events.ViewerBanned(viewer.target, asked.actor)
    return [_fact(asked, stamp, "viewer.banned", banned)]


def _unban(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    viewer: requests.ViewerTarget = asked.request.data  # type: ignore[assignment]
    unbanned = events.ViewerUnbanned(viewer.target, asked.actor)
    return [_fact(asked, stamp, "viewer.unbanned", unbanned)]


def _open(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    opening: requests.RoomOpening = asked.request.data  # type: ignore[assignment]
    if asked.role not in ("service", "admin") and asked.actor != opening.host:
        raise RefusedError("forbidden")
    if s.status == "open":
        if s.host != opening.host:
            raise RefusedError("room_taken")
        return []
    session = derived_id(asked.room, "session", asked.request.id)
    opened = events.RoomOpened(opening.title, opening.host, session, opening.recorded)
    return [_fact(asked, stamp, "room.opened", opened)]


def _close(s: RoomState, asked: Accepted, stamp: Stamp, moderator: Moderator) -> list[Decided]:
    closing: requests.RoomClosing = asked.request.data  # type: ignore[assignment]
    if s.status == "closed":
        return []
    if asked.role not in ("service", "admin") and asked.actor != s.host:
        raise RefusedError("forbidden")
    closed = events.RoomClosed(s.session, closing.reason)
    return [*close_combos(s), *close_windows(s), _fact(asked, stamp, "room.closed", closed)]


_DECISIONS: Final[dict[str, Callable[[RoomState, Accepted, Stamp, Moderator], list[Decided]]]] = {
    "comment.post": _post,
    "like.tap": _tap,
    "room.join": _join,
    "room.leave": _leave,
    "comment.remove": _remove,
    "comment.release": _release,
    "viewer.mute": _mute,
    "viewer.ban": _ban,
    "viewer.unban": _unban,
    "room.open": _open,
    "room.close": _close,
}
