"""The WebSocket frames of `/v1/rooms/{room}/live` as structs, for AsyncAPI and for contract tests.

The gateway splices most of what it sends from bytes, so these are not what it encodes: a test
decodes everything that a real gateway sends with them, strictly.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from engagement.domain.battle_views import RoomBattleView
from engagement.domain.events import Fact
from engagement.domain.media_time import Anchor
from engagement.domain.requests import ClientRequest
from engagement.gateway.intake import Result
from engagement.gateway.room_directory import Sender
from engagement.gateway.room_view import MediaNow


class _Frame(Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", kw_only=True):
    pass


class Snapshot(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The room as it is: `GET /v1/rooms/{room}` and what a page needs to begin."""

    room: str
    title: str
    host: str
    status: str
    online: int
    likes: int
    battle: RoomBattleView | None
    media: MediaNow | None
    cursor: str
    comments: list[Fact]
    """The newest, oldest first."""
    top_senders: list[Sender]
    """Of this session, by coins."""


class SessionLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client must know to be a good one."""

    in_flight: int
    """`send` frames that may wait for their `ack`."""
    frame_bytes: int
    batch: int
    frames_per_s: int
    comment_chars: int


class Hello(_Frame, tag="hello", frozen=True, kw_only=True):
    """The first frame: who you are here, and where you are in the stream of events."""

    room: str
    session: str
    cursor: str
    recovered: bool
    """Whether every event since the cursor you came with follows."""
    snapshot: Snapshot | UnsetType = UNSET
    """Always there when not recovered."""
    clock: list[Anchor]
    server_ms: int
    """The server's wall clock, Unix ms."""
    limits: SessionLimits


class Events(_Frame, tag="events", frozen=True, kw_only=True):
    """Facts in the order of the log, coalesced: at most one frame per tick."""

    cursor: str
    """After the last of them; come back with it."""
    events: list[Fact]


class Clock(_Frame, tag="clock", frozen=True, kw_only=True):
    """News of the room's media clock."""

    anchor: Anchor


class Skipped(_Frame, tag="skipped", frozen=True, kw_only=True):
    """What was left out because you read too slowly, by event type."""

    counts: dict[str, int]
    cursor: str


class Ack(_Frame, tag="ack", frozen=True, kw_only=True):
    """The results of one `send`, in its order, once the log has acknowledged."""

    results: list[Result]


class GiftOutcome(Struct, frozen=True, forbid_unknown_fields=True):
    """What became of one gift."""

    id: str
    """As you sent it."""
    status: Literal["paid", "refused"]
    code: str | UnsetType = UNSET
    """Why it was refused: it stays refused, send another one with a new id."""


class Outcome(_Frame, tag="outcome", frozen=True, kw_only=True):
    """What became of gifts that you sent over this socket; comes after their `ack`."""

    results: list[GiftOutcome]


class Error(_Frame, tag="error", frozen=True, kw_only=True):
    """Something you sent was wrong, or was refused later (`id` then names the request)."""

    code: str
    detail: str
    id: str | UnsetType = UNSET
    ids: list[str] | UnsetType = UNSET
    """The requests of a `send` that the log has not acknowledged: send them again."""
    field: str | UnsetType = UNSET
    retry_after_s: float | UnsetType = UNSET


class Pong(_Frame, tag="pong", frozen=True, kw_only=True):
    """The answer to a ping, with what it carried and the server's time in Unix ms."""

    id: str | int | UnsetType = UNSET
    at_ms: float | UnsetType = UNSET
    server_ms: float


class Auth(_Frame, tag="auth", frozen=True, kw_only=True):
    """Names you: a JWT, or `dev:<user>[:<role>]` in dev mode. First frame, and again to renew."""

    token: str


class Send(_Frame, tag="send", frozen=True, kw_only=True):
    """Requests; takes one credit until its `ack`."""

    events: list[ClientRequest]


class Ping(_Frame, tag="ping", frozen=True, kw_only=True):
    """Keep-alive and round-trip time; `id` and `at_ms` come back."""

    id: str | int | UnsetType = UNSET
    at_ms: float | UnsetType = UNSET


ServerFrame = Hello | Events | Clock | Skipped | Ack | Outcome | Error | Pong
ClientFrame = Auth | Send | Ping
