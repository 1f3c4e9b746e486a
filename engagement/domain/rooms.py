"""A room: its state, and how facts change it.

The processor decides on this state and the gateways answer from it; both get it the same way, by
folding facts: a checkpoint, then everything after it. `evolve` is therefore the only place where
a room changes. It is idempotent for every fact but `like.tapped` and the counts of presence,
whose duplicates are dropped by id before they get here.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, field

from engagement.domain import events, limits
from engagement.domain.battle_events import Side, Supporter
from engagement.domain.events import Decided, unix_us
from engagement.domain.gift_events import GiftComboEnded, GiftReversed, GiftSent
from engagement.domain.media_time import WALL_EPOCH, Stamp
from engagement.domain.requests import RECORDED

Status = Literal["unknown", "open", "closed"]

NO_STAMP: Final = Stamp(epoch=WALL_EPOCH, pts_ms=0, err_ms=None, anchor=None)


class HeldComment(Struct, frozen=True):
    """A comment that waits for a moderator."""

    actor: str
    data: events.CommentHeld


class Combo(Struct):
    """Taps of one viewer on one gift in quick succession. Display only."""

    combo: str
    actor: str
    gift: str
    name: str
    """What the client calls it; empty when it does not."""
    count: int
    coins: int
    last_at_us: int
    last_stamp: Stamp


class RoomBattle(Struct):
    """The room's newest battle, as its facts told it here."""

    battle: str
    revision: int
    status: Literal["invited", "running", "ended"]
    sides: list[Side]
    totals: dict[str, int] = field(default_factory=dict)
    started: str = ""
    deadline: str = ""
    top: list[Supporter] = field(default_factory=list)
    multiplier: int = 1
    punish_until: str = ""
    result: str = ""
    winner: str = ""
    reason: str = ""


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
    session_us: int = 0
    """When the present session began."""

    muted_until_us: dict[str, int] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    authors: dict[str, str] = field(default_factory=dict)
    """Comment id → actor, the newest `RECENT_COMMENTS_PER_ROOM`."""
    held: dict[str, HeldComment] = field(default_factory=dict)

    combos: dict[str, Combo] = field(default_factory=dict)
    """Open ones, by `gifts.combo_key`, longest untouched first."""
    entries: dict[int, int] = field(default_factory=dict)
    """Newest ledger entry known here, by ledger partition: what is not newer is a repeat."""
    supporters: dict[str, int] = field(default_factory=dict)
    """Coins of this session by sender."""
    battle: RoomBattle | None = None
    revisions: dict[str, int] = field(default_factory=dict)
    """Newest revision of each of the last battles, the newest battle last."""

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
    state.session_us = fact.at_us
    state.supporters.clear()
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


def transfer_name(ledger: int, entry: int) -> str:
    """How a ledger entry is called outside; :func:`entry_of` is the inverse."""
    return f"recorded-{entry}" if ledger == RECORDED else f"{ledger}-{entry}"


def entry_of(transfer: str) -> tuple[int, int]:
    """Ledger partition and entry. Raises ValueError when it is no transfer's name."""
    ledger, _, entry = transfer.partition("-")
    return (RECORDED if ledger == "recorded" else int(ledger)), int(entry)


def combo_key(actor: str, gift: str) -> str:
    """A viewer has one open combo per gift."""
    return f"{actor} {gift}"


def _gift_sent(state: RoomState, fact: Decided, data: GiftSent) -> None:
    _know_entry(state, data.transfer)
    actor = str(fact.actor)
    coins = state.supporters
    if actor in coins or len(coins) < limits.SUPPORTERS_PER_ROOM_MAX:
        coins[actor] = coins.get(actor, 0) + data.coins
    if data.combo is UNSET:
        return
    key = combo_key(actor, data.gift)
    combo = state.combos.pop(key, None)
    if combo is None or combo.combo != data.combo:
        combo = Combo(data.combo, actor, data.gift, "", 0, 0, fact.at_us, fact.stamp)
    combo.count += data.count
    combo.coins += data.coins
    combo.name = data.combo_name or ""
    if fact.at_us >= combo.last_at_us:
        combo.last_at_us, combo.last_stamp = fact.at_us, fact.stamp
    state.combos[key] = combo


def _combo_ended(state: RoomState, fact: Decided, data: GiftComboEnded) -> None:
    key = combo_key(str(fact.actor), data.gift)
    combo = state.combos.get(key)
    if combo is not None and combo.combo == data.combo:
        del state.combos[key]


def _gift_reversed(state: RoomState, fact: Decided, data: GiftReversed) -> None:
    _know_entry(state, data.transfer)
    actor = str(fact.actor)
    if data.session == state.session and actor in state.supporters:
        state.supporters[actor] = max(0, state.supporters[actor] - data.coins)


def _know_entry(state: RoomState, transfer: str) -> None:
    ledger, entry = entry_of(transfer)
    state.entries[ledger] = max(entry, state.entries.get(ledger, 0))


def revision_of(fact: Decided) -> int:
    """The revision that a battle's fact carries."""
    revision: int = fact.data.final_revision if fact.kind == "battle.ended" else fact.data.revision
    return revision


def is_news(state: RoomState, battle: str, revision: int) -> bool:
    """Whether a battle has told this room nothing as new as this, however long ago."""
    return revision > state.revisions.get(battle, 0)


def _know_revision(state: RoomState, battle: str, revision: int) -> None:
    state.revisions.pop(battle, None)
    state.revisions[battle] = revision
    if len(state.revisions) > limits.BATTLES_KNOWN_PER_ROOM:
        del state.revisions[next(iter(state.revisions))]


def _battle_told(state: RoomState, fact: Decided, data: Any) -> None:
    revision = revision_of(fact)
    if not is_news(state, data.battle, revision):
        return
    _know_revision(state, data.battle, revision)
    battle = state.battle
    if fact.kind == "battle.started":
        state.battle = _new_battle(data, revision, "running")
        state.battle.started, state.battle.deadline = data.started, data.deadline
        return
    if fact.kind == "battle.invited":
        # An invitation to another battle must not hide the one that goes on.
        if battle is None or battle.status != "running":
            state.battle = _new_battle(data, revision, "invited")
        return
    if battle is None or battle.battle != data.battle:
        return
    battle.revision = revision
    if fact.kind == "battle.scored":
        battle.totals, battle.top = data.totals, data.top
    elif fact.kind == "battle.ended":
        battle.status, battle.multiplier = "ended", 1
        battle.totals, battle.top = data.totals, data.top
        battle.result, battle.reason = data.result, data.reason
        battle.winner = data.winner or ""
    elif fact.kind in ("battle.declined", "battle.cancelled", "battle.expired"):
        state.battle = None
    elif fact.kind.startswith("battle.window."):
        _battle_window(battle, fact.kind == "battle.window.opened", data)


def _new_battle(data: Any, revision: int, status: Literal["invited", "running"]) -> RoomBattle:
    totals = {side.room: 0 for side in data.sides}
    return RoomBattle(data.battle, revision, status, list(data.sides), totals)


def _battle_window(battle: RoomBattle, opened: bool, data: Any) -> None:
    if data.kind == "punish":
        battle.punish_until = data.until if opened else ""
    else:
        battle.multiplier = data.multiplier if opened else 1


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
    "gift.sent": _gift_sent,
    "gift.combo.ended": _combo_ended,
    "gift.reversed": _gift_reversed,
    **dict.fromkeys(events.ROOM_BATTLE_TYPES, _battle_told),
}


def is_muted(state: RoomState, actor: str, at_us: int) -> bool:
    """Whether this actor's comments are refused at this time."""
    return state.muted_until_us.get(actor, 0) > at_us


def may_moderate(state: RoomState, actor: str, role: str) -> bool:
    """Moderators, admins and the platform's backend; and the room's own host."""
    return role in ("moderator", "admin", "service") or actor == state.host
