"""A room as it is told: `GET /v1/rooms/{room}` and the `hello` of a socket."""

import time
from typing import Any, Final

import msgspec
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.battle_views import RoomBattleView, battle_view
from engagement.domain.media_time import RoomClock, pts_at
from engagement.domain.rooms import RoomState
from engagement.gateway.frames import anchor_fields, text_frame
from engagement.gateway.room_directory import Sender

_ENCODER: Final = msgspec.json.Encoder()

LIMITS: Final = {
    "in_flight": limits.IN_FLIGHT_SENDS_MAX,
    "frame_bytes": limits.FRAME_BYTES_MAX,
    "batch": limits.BATCH_REQUESTS_MAX,
    "frames_per_s": limits.FRAMES_PER_S,
    "comment_chars": limits.COMMENT_CHARS_MAX,
}
"""What a client must know to be a good one."""


class MediaNow(Struct, frozen=True):
    """Where the host's video is."""

    epoch: int
    pts_ms: int


class RoomView(Struct, frozen=True):
    """The answer of `GET /v1/rooms/{room}`."""

    room: str
    title: str
    host: str
    status: str
    online: int
    likes: int
    battle: RoomBattleView | None
    media: MediaNow | None
    cursor: str


def room_view(state: RoomState, clock: RoomClock | None, cursor: str) -> RoomView:
    """The room now."""
    return RoomView(
        room=state.room,
        title=state.title,
        host=state.host,
        status=state.status,
        online=state.online,
        likes=state.likes_counted,
        battle=None if state.battle is None else battle_view(state.battle),
        media=None if state.status == "closed" else media_now(clock),
        cursor=cursor,
    )


def media_now(clock: RoomClock | None) -> MediaNow | None:
    """The media time of the newest frame, by the newest anchor; None without a clock."""
    anchor = None if clock is None else clock.current
    if anchor is None:
        return None
    return MediaNow(anchor.epoch, round(pts_at(anchor, time.time_ns() // 1000)))


def hello_frame(
    view: RoomView,
    *,
    session: str,
    recovered: bool,
    cursor: str,
    comments: list[bytes],
    top_senders: list[Sender],
    clock: RoomClock | None,
) -> bytes:
    """The first frame. A viewer that resumes has the room already: it gets no snapshot."""
    anchors = [] if clock is None else clock.anchors[-limits.CLOCK_ANCHORS_IN_HELLO :]
    head: dict[str, Any] = {
        "t": "hello",
        "room": view.room,
        "session": session,
        "cursor": cursor,
        "recovered": recovered,
        "clock": [anchor_fields(anchor) for anchor in anchors],
        "server_ms": time.time_ns() // 1_000_000,
        "limits": LIMITS,
    }
    text = _ENCODER.encode(head)
    if recovered:
        return text_frame(text)
    snapshot = b'%b,"comments":[%b],"top_senders":%b}' % (
        _ENCODER.encode(view)[:-1],
        b",".join(comments),
        _ENCODER.encode(top_senders),
    )
    return text_frame(b'%b,"snapshot":%b}' % (text[:-1], snapshot))
