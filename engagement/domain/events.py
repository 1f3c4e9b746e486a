"""Facts: what happened, past tense, as CloudEvents 1.0 in structured JSON mode.

One `Fact` is one record of a fact topic. Its `data` is one of the frozen structs below; the
table at the end says which type has which data and which topic. Updates that viewers see carry
absolute values (apply the maximum: duplicates, gaps and reorder are harmless); deltas exist only
in the activity topic, in the ledger, and in `gift.sent`.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from engagement.domain import battle_events as battles
from engagement.domain import gift_events as gifts
from engagement.domain import ledger_events as ledger
from engagement.domain.media_time import Stamp

ROOM_TOPIC: Final = "live.room.v1"
ACTIVITY_TOPIC: Final = "live.activity.v1"
CLOCK_TOPIC: Final = "live.clock.v1"
LEDGER_TOPIC: Final = "live.ledger.v1"
CATALOGUE_TOPIC: Final = "live.catalogue.v1"
BATTLE_TOPIC: Final = "live.battle.v1"

SCHEMA_PREFIX: Final = "urn:live-engagement:schema:"


class RoomOpened(Struct, frozen=True):
    """A live session began."""

    title: str
    host: str
    session: str
    recorded: bool = False


class RoomClosed(Struct, frozen=True):
    """The live session ended; everyone has left."""

    session: str
    reason: str


class CommentPosted(Struct, frozen=True, omit_defaults=True):
    """A comment that all viewers see."""

    text: str
    lang: str | UnsetType = UNSET
    reply_to: str | UnsetType = UNSET


class CommentHeld(Struct, frozen=True, omit_defaults=True):
    """A comment that waits for a moderator; only moderators see it."""

    text: str
    reason: str
    lang: str | UnsetType = UNSET
    reply_to: str | UnsetType = UNSET


class CommentReleased(Struct, frozen=True):
    """A moderator let a held comment through; `comment.posted` with the held id follows."""

    target: str
    by: str


class CommentRemoved(Struct, frozen=True, omit_defaults=True):
    """A tombstone: the target is shown no more, live or in a replay."""

    target: str
    by: str
    reason: str | UnsetType = UNSET


class ViewerMuted(Struct, frozen=True):
    """The target's comments are refused until `until` (RFC 3339)."""

    target: str
    by: str
    until: str


class ViewerBanned(Struct, frozen=True):
    """Everything that the target asks of this room is refused."""

    target: str
    by: str


class ViewerUnbanned(Struct, frozen=True):
    """Mute and ban of the target are lifted."""

    target: str
    by: str


class ViewersCounted(Struct, frozen=True):
    """Presence folded over one window; `online` is absolute, `window` its version."""

    window: int
    """Index of the window: `accepted time / window_ms`, never decreasing in a room."""
    window_ms: int
    online: int
    joined: int
    left: int
    notable: list[str]
    sample: list[str]


class LikesCounted(Struct, frozen=True):
    """Likes folded over one window; `room_total` is absolute and monotone."""

    window: int
    window_ms: int
    count: int
    room_total: int
    top: list[str]


class ViewerJoined(Struct, frozen=True):
    """One lease began (activity)."""

    session: str
    entrance: Literal["socket", "http"]


class ViewerLeft(Struct, frozen=True):
    """One lease ended (activity); idempotent."""

    session: str
    reason: Literal["left", "expired", "closed"]


class LikeTapped(Struct, frozen=True):
    """One request's taps (activity)."""

    count: int


class RequestRefused(Struct, frozen=True):
    """A request that was accepted into the log but refused by the room (activity)."""

    request: str
    request_type: str
    code: str
    session: str


class RequestUnchanged(Struct, frozen=True):
    """A request that found everything as it wanted it: an open room opened again (activity).

    It is recorded so that a repeat after a crash is known to be one, when things have changed.
    """

    request_type: str


class ClockAnchored(Struct, frozen=True):
    """An anchor as it travels on the clock topic; its id is the event's id."""

    epoch: int
    engine: str
    rate: int
    rtp: int
    pts_ms: float
    wall_ms: float
    offset_ms: float
    err_ms: float
    at_us: int
    reason: str = ""
    """Why a step or an end happened: republish, engine_switch, gap, publisher_left …"""


FactData = (
    RoomOpened
    | RoomClosed
    | CommentPosted
    | CommentHeld
    | CommentReleased
    | CommentRemoved
    | ViewerMuted
    | ViewerBanned
    | ViewerUnbanned
    | ViewersCounted
    | LikesCounted
    | ViewerJoined
    | ViewerLeft
    | LikeTapped
    | RequestRefused
    | RequestUnchanged
    | ClockAnchored
    | gifts.GiftSent
    | gifts.GiftComboEnded
    | gifts.GiftReversed
    | ledger.TransferPosted
    | ledger.TransferRefused
    | ledger.GiftRefused
    | ledger.HoldPlaced
    | ledger.HoldResolved
    | ledger.GiftCatalogued
    | battles.BattleInvited
    | battles.BattleAccepted
    | battles.BattleDeclined
    | battles.BattleCancelled
    | battles.BattleExpired
    | battles.BattleStarted
    | battles.BattleScored
    | battles.BattleWindowOpened
    | battles.BattleWindowClosed
    | battles.BattleEnded
    | battles.BattleContributed
    | battles.BattleContributionLate
    | battles.BattleRefused
)

ROOM_BATTLE_TYPES: Final[dict[str, type[Struct]]] = {
    "battle.invited": battles.BattleInvited,
    "battle.accepted": battles.BattleAccepted,
    "battle.declined": battles.BattleDeclined,
    "battle.cancelled": battles.BattleCancelled,
    "battle.expired": battles.BattleExpired,
    "battle.started": battles.BattleStarted,
    "battle.scored": battles.BattleScored,
    "battle.window.opened": battles.BattleWindowOpened,
    "battle.window.closed": battles.BattleWindowClosed,
    "battle.ended": battles.BattleEnded,
}
"""What a battle tells in every room that takes part: recorded there, too, and stamped."""

DATA_OF_TYPE: Final[dict[str, type[Struct]]] = {
    "room.opened": RoomOpened,
    "room.closed": RoomClosed,
    "comment.posted": CommentPosted,
    "comment.held": CommentHeld,
    "comment.released": CommentReleased,
    "comment.removed": CommentRemoved,
    "viewer.muted": ViewerMuted,
    "viewer.banned": ViewerBanned,
    "viewer.unbanned": ViewerUnbanned,
    "viewers.counted": ViewersCounted,
    "likes.counted": LikesCounted,
    "viewer.joined": ViewerJoined,
    "viewer.left": ViewerLeft,
    "like.tapped": LikeTapped,
    "request.refused": RequestRefused,
    "request.unchanged": RequestUnchanged,
    "clock.epoch.opened": ClockAnchored,
    "clock.anchored": ClockAnchored,
    "clock.stepped": ClockAnchored,
    "clock.epoch.closed": ClockAnchored,
    "gift.sent": gifts.GiftSent,
    "gift.combo.ended": gifts.GiftComboEnded,
    "gift.reversed": gifts.GiftReversed,
    "transfer.posted": ledger.TransferPosted,
    "transfer.refused": ledger.TransferRefused,
    "gift.refused": ledger.GiftRefused,
    "hold.placed": ledger.HoldPlaced,
    "hold.resolved": ledger.HoldResolved,
    "gift.catalogued": ledger.GiftCatalogued,
    **ROOM_BATTLE_TYPES,
    "battle.contributed": battles.BattleContributed,
    "battle.contribution.late": battles.BattleContributionLate,
    "battle.refused": battles.BattleRefused,
}
"""Every fact type and the shape of its data: the source of the committed JSON Schemas."""

TOPIC_OF_TYPE: Final[dict[str, str]] = {
    **dict.fromkeys(DATA_OF_TYPE, ROOM_TOPIC),
    **dict.fromkeys(
        (
            "viewer.joined",
            "viewer.left",
            "like.tapped",
            "request.refused",
            "request.unchanged",
            "comment.held",
        ),
        ACTIVITY_TOPIC,
    ),
    **dict.fromkeys(
        ("clock.epoch.opened", "clock.anchored", "clock.stepped", "clock.epoch.closed"),
        CLOCK_TOPIC,
    ),
    **dict.fromkeys(
        ("transfer.posted", "transfer.refused", "gift.refused", "hold.placed", "hold.resolved"),
        LEDGER_TOPIC,
    ),
    "gift.catalogued": CATALOGUE_TOPIC,
    **dict.fromkeys(
        ("battle.contributed", "battle.contribution.late", "battle.refused"), BATTLE_TOPIC
    ),
}
"""Where a fact of each type is recorded. The room topic is the timeline that everyone sees; what
a battle tells its rooms (`ROOM_BATTLE_TYPES`) is recorded in the battle topic, too."""

SCHEMA_OF_TYPE: Final = {name: f"{SCHEMA_PREFIX}{name}:1" for name in DATA_OF_TYPE}


class Fact(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A CloudEvent (v1.0.2, JSON event format) with our extension attributes.

    Attribute names are lower-case letters and digits, as CloudEvents demands.
    """

    specversion: str
    id: str
    type: str
    source: str
    """`/rooms/<room>`, `/accounts/<user>`, `/battles/<battle>` or `/gifts/<gift>`; with `id` it
    identifies the event."""
    time: str
    """When the gateway accepted the request, RFC 3339 UTC with µs."""
    datacontenttype: str
    dataschema: str
    roomid: str | UnsetType = UNSET
    """The room it happened in; a fact of the ledger, the catalogue or a battle names none."""
    accountid: str | UnsetType = UNSET
    """The user whose wallet it is about (ledger)."""
    battleid: str | UnsetType = UNSET
    actorid: str | UnsetType = UNSET
    mediaepoch: int | UnsetType = UNSET
    mediapts: int | UnsetType = UNSET
    """ms in the epoch; may be negative before the first frame."""
    mediaerr: float | UnsetType = UNSET
    """Uncertainty in ms; absent in epoch 0, which is wall time since the room opened."""
    mediaanchor: str | UnsetType = UNSET
    causationid: str | UnsetType = UNSET
    """The request that caused it."""
    traceparent: str | UnsetType = UNSET
    data: Any
    """One of `FactData`; `Raw` bytes when the fact was decoded by its head only."""

    @property
    def topic(self) -> str:
        """The topic this fact is recorded in."""
        return TOPIC_OF_TYPE[self.type]


class RawFact(Struct, frozen=True, kw_only=True):
    """A fact as read from a topic, its data still bytes: what filters and folds decode first.

    Unknown attributes are allowed: within a version changes are additive.
    """

    id: str
    type: str
    time: str
    roomid: str = ""
    accountid: str = ""
    battleid: str = ""
    actorid: str = ""
    mediaepoch: int = 0
    mediapts: int = 0
    mediaerr: float | None = None
    mediaanchor: str | None = None
    causationid: str = ""
    data: Raw = Raw(b"{}")

    def decode(self) -> Any:
        """The data as its struct; KeyError on an unknown type, ValidationError on bad data."""
        return _DATA_DECODERS[self.type].decode(self.data)


_DATA_DECODERS: Final = {
    name: msgspec.json.Decoder(struct) for name, struct in DATA_OF_TYPE.items()
}

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(unix_us: int) -> str:
    """Unix time in µs as RFC 3339 in UTC, always with six decimals."""
    second, fraction = divmod(unix_us, 1_000_000)
    return f"{_to_the_second(second)}.{fraction:06d}Z"


@lru_cache(maxsize=256)
def _to_the_second(unix_s: int) -> str:
    # Most facts of a moment share their second: formatting it was a third of encoding them.
    return (_UNIX_EPOCH + timedelta(seconds=unix_s)).strftime("%Y-%m-%dT%H:%M:%S")


def unix_us(time: str) -> int:
    """The inverse of :func:`rfc3339`; takes any RFC 3339 time."""
    return (datetime.fromisoformat(time) - _UNIX_EPOCH) // timedelta(microseconds=1)


class Decided(Struct, frozen=True):
    """A fact as the domain decides and folds it, before it has a wire form."""

    kind: str
    id: str
    room: str
    at_us: int
    stamp: Stamp
    data: Any
    """One of `FactData`."""
    actor: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET


def fact(decided: Decided) -> Fact:
    """The wire form of a decided fact."""
    kind, stamp = decided.kind, decided.stamp
    return Fact(
        specversion="1.0",
        id=decided.id,
        type=kind,
        source="/rooms/" + decided.room,
        time=rfc3339(decided.at_us),
        datacontenttype="application/json",
        dataschema=SCHEMA_OF_TYPE[kind],
        roomid=decided.room,
        actorid=decided.actor,
        mediaepoch=stamp.epoch,
        mediapts=stamp.pts_ms,
        mediaerr=UNSET if stamp.err_ms is None else stamp.err_ms,
        mediaanchor=UNSET if stamp.anchor is None else stamp.anchor,
        causationid=decided.cause,
        traceparent=decided.traceparent,
        data=decided.data,
    )


class SubjectFact(Struct, frozen=True):
    """A fact about an account, a battle or a gift: no room, and so no place in media time."""

    kind: str
    id: str
    collection: Literal["accounts", "battles", "gifts"]
    subject: str
    """The key of its record."""
    at_us: int
    data: Any
    actor: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET


def subject_fact(told: SubjectFact) -> Fact:
    """The wire form of a fact about no room."""
    return Fact(
        specversion="1.0",
        id=told.id,
        type=told.kind,
        source=f"/{told.collection}/{told.subject}",
        time=rfc3339(told.at_us),
        datacontenttype="application/json",
        dataschema=SCHEMA_OF_TYPE[told.kind],
        accountid=told.subject if told.collection == "accounts" else UNSET,
        battleid=told.subject if told.collection == "battles" else UNSET,
        actorid=told.actor,
        causationid=told.cause,
        traceparent=told.traceparent,
        data=told.data,
    )


def decided(raw: RawFact) -> Decided:
    """The inverse of :func:`fact`, for folding what is already on the log.

    Raises KeyError on an unknown type, msgspec.ValidationError on bad data.
    """
    return Decided(
        kind=raw.type,
        id=raw.id,
        room=raw.roomid,
        at_us=unix_us(raw.time),
        stamp=Stamp(raw.mediaepoch, raw.mediapts, raw.mediaerr, raw.mediaanchor),
        data=raw.decode(),
        actor=raw.actorid or UNSET,
        cause=raw.causationid or UNSET,
    )
