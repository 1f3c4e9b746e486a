"""What clients and our own processes ask for: imperative, validated, not yet decided.

A client's request is ``{"id": "<uuid>", "type": …, "data": {…}}`` (api.md). The tagged union below
*is* the validation: msgspec refuses unknown types, unknown or missing fields and values out of
bounds, and names the field in its error.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from engagement.domain import limits
from engagement.domain.names import ACTOR_ID_PATTERN, REQUEST_ID_PATTERN

RECORDED: Final = -1
"""In place of a ledger partition: gifts of recordings are numbered by their importer."""

RequestId = Annotated[str, Meta(pattern=REQUEST_ID_PATTERN, description="UUID; idempotency key")]
ActorName = Annotated[str, Meta(pattern=ACTOR_ID_PATTERN)]
Role = Literal["viewer", "host", "moderator", "service", "admin"]


class Empty(Struct, frozen=True, forbid_unknown_fields=True):
    """No data."""


class CommentText(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The text of a comment, and what it answers."""

    text: Annotated[str, Meta(min_length=1, max_length=limits.COMMENT_CHARS_MAX)]
    lang: Annotated[str, Meta(max_length=35)] | UnsetType = UNSET
    """BCP 47 language tag."""
    reply_to: RequestId | UnsetType = UNSET


class LikeTaps(Struct, frozen=True, forbid_unknown_fields=True):
    """Taps since the client's last request."""

    count: Annotated[int, Meta(ge=1, le=limits.LIKE_COUNT_MAX)] = 1


class GiftOrder(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One tap on a gift."""

    gift: Annotated[str, Meta(min_length=1, max_length=64)]
    count: Annotated[int, Meta(ge=1, le=limits.GIFT_COUNT_MAX)] = 1
    to: ActorName | UnsetType = UNSET
    combo: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET


class CommentTarget(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The comment that a moderator or its author acts on."""

    target: RequestId
    reason: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET


class Mute(Struct, frozen=True, forbid_unknown_fields=True):
    """Silence a viewer for a time."""

    target: ActorName
    seconds: Annotated[int, Meta(ge=1, le=limits.MUTE_S_MAX)]


class ViewerTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """The viewer that a moderator acts on."""

    target: ActorName


class ReleaseReport(Struct, frozen=True, forbid_unknown_fields=True):
    """How far from its stamp a client released an event, signed: positive is late."""

    event: Annotated[str, Meta(min_length=1, max_length=64)]
    error_ms: Annotated[float, Meta(ge=-3_600_000, le=3_600_000)]
    basis: Literal["webrtc", "hls", "vod", "synthetic", "wall"]


class RoomOpening(Struct, frozen=True, forbid_unknown_fields=True):
    """Start a live session."""

    title: Annotated[str, Meta(max_length=limits.TITLE_CHARS_MAX)]
    host: ActorName
    recorded: bool = False
    """An imported recording: its windows follow the recording's time, never the wall clock."""


class RoomClosing(Struct, frozen=True, forbid_unknown_fields=True):
    """End a live session."""

    reason: Annotated[str, Meta(max_length=200)] = "closed"


class GatewayLease(Struct, frozen=True, forbid_unknown_fields=True):
    """A gateway says that the sessions it opened are still there."""

    gateway: Annotated[str, Meta(min_length=1, max_length=64)]


class PaidGift(Struct, frozen=True, omit_defaults=True):
    """What the ledger tells a room of a gift that it has booked."""

    gift: str
    name: str
    tier: int
    animation: str
    count: int
    unit_price: int
    coins: int
    earned: int
    to: str
    ledger: int
    """The ledger partition; `RECORDED` for a gift of a recording, which no ledger has booked."""
    entry: int
    """The entry in it. Entries of one ledger partition reach a room in order, so whatever is not
    newer than the newest one known there is a repeat, however late it comes."""
    combos: bool = True
    combo: str | UnsetType = UNSET
    """What the client calls the combo."""
    battle: str | UnsetType = UNSET


class UnpaidGift(Struct, frozen=True):
    """What the ledger tells a room of a gift that it has refused."""

    gift: str
    count: int
    code: str


class ReversedGift(Struct, frozen=True):
    """What the ledger tells a room of a gift that it has taken back."""

    gift: RequestId
    """The request that sent it."""
    coins: int
    earned: int
    to: str
    sent_us: int
    """When it was accepted, Unix µs."""
    ledger: int
    entry: int
    reason: str
    count: int = 1


class BattleNews(Struct, frozen=True):
    """A fact of a battle, as it is told to one of its rooms."""

    kind: str
    battle: str
    revision: int
    data: Raw
    """One of `battle_events`, as JSON."""


class _Request(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    id: RequestId
    actor: ActorName | UnsetType = UNSET
    """On whose behalf; only a `service` principal may set it."""


class CommentPost(_Request, tag="comment.post", frozen=True, omit_defaults=True):
    """Say something in the room."""

    data: CommentText


class LikeTap(_Request, tag="like.tap", frozen=True, omit_defaults=True):
    """Tap the heart."""

    data: LikeTaps


class RoomJoin(_Request, tag="room.join", frozen=True, omit_defaults=True):
    """Be present without a socket, for `HTTP_LEASE_TTL_S`; renewed by every further request."""

    data: Empty = Empty()


class RoomLeave(_Request, tag="room.leave", frozen=True, omit_defaults=True):
    """Leave the room; idempotent."""

    data: Empty = Empty()


class GiftSend(_Request, tag="gift.send", frozen=True, omit_defaults=True):
    """Buy a gift for the host."""

    data: GiftOrder


class CommentRemove(_Request, tag="comment.remove", frozen=True, omit_defaults=True):
    """Take a comment back (its author) or down (a moderator)."""

    data: CommentTarget


class CommentRelease(_Request, tag="comment.release", frozen=True, omit_defaults=True):
    """Let a held comment through (a moderator)."""

    data: CommentTarget


class ViewerMute(_Request, tag="viewer.mute", frozen=True, omit_defaults=True):
    """Silence a viewer for a time (a moderator)."""

    data: Mute


class ViewerBan(_Request, tag="viewer.ban", frozen=True, omit_defaults=True):
    """Keep a viewer out of the room (a moderator)."""

    data: ViewerTarget


class ViewerUnban(_Request, tag="viewer.unban", frozen=True, omit_defaults=True):
    """Let a banned or muted viewer back in (a moderator)."""

    data: ViewerTarget


class Report(_Request, tag="release.report", frozen=True, omit_defaults=True):
    """A client's sync measurement; becomes a metric, never a fact."""

    data: ReleaseReport


class RoomOpen(_Request, tag="room.open", frozen=True, omit_defaults=True):
    """Internal: `PUT /v1/rooms/{room}`."""

    data: RoomOpening


class RoomClose(_Request, tag="room.close", frozen=True, omit_defaults=True):
    """Internal: `DELETE /v1/rooms/{room}`."""

    data: RoomClosing = RoomClosing()


class LeaseRenew(_Request, tag="lease.renew", frozen=True, omit_defaults=True):
    """Internal: one per gateway, partition and `GATEWAY_LEASE_RENEW_S`; belongs to no room."""

    data: GatewayLease


class GiftPaid(_Request, tag="gift.paid", frozen=True, omit_defaults=True):
    """Internal: from the ledger's outbox. `id` is the request that sent the gift."""

    data: PaidGift


class GiftUnpaid(_Request, tag="gift.unpaid", frozen=True, omit_defaults=True):
    """Internal: from the ledger's outbox, for the one who sent it."""

    data: UnpaidGift


class GiftTakenBack(_Request, tag="gift.taken_back", frozen=True, omit_defaults=True):
    """Internal: from the ledger's outbox. `id` is the request that reversed it."""

    data: ReversedGift


class BattleTold(_Request, tag="battle.told", frozen=True, omit_defaults=True):
    """Internal: from the outbox of the battles, to every room that takes part."""

    data: BattleNews


ClientRequest = (
    CommentPost
    | LikeTap
    | RoomJoin
    | RoomLeave
    | GiftSend
    | CommentRemove
    | CommentRelease
    | ViewerMute
    | ViewerBan
    | ViewerUnban
    | Report
)
"""What a client may send."""

Request = (
    CommentPost
    | LikeTap
    | RoomJoin
    | RoomLeave
    | CommentRemove
    | CommentRelease
    | ViewerMute
    | ViewerBan
    | ViewerUnban
    | RoomOpen
    | RoomClose
    | LeaseRenew
    | GiftPaid
    | GiftUnpaid
    | GiftTakenBack
    | BattleTold
)
"""What reaches the room processor."""

TOLD_BY_OUTBOX = (GiftPaid, GiftUnpaid, GiftTakenBack, BattleTold)
"""Requests that were decided elsewhere: a room records them."""

MODERATION_TYPES = ("comment.release", "viewer.mute", "viewer.ban", "viewer.unban")
"""Requests that need the role moderator, admin or service, or being the room's host."""
