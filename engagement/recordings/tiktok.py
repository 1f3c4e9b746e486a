"""TikTok frames as the public clients record them; `create_time_ms` is the platform's clock."""

from collections.abc import Iterable
from typing import Any

from engagement.recordings.rows import (
    NoEventError,
    Row,
    SkippedRowError,
    actor_of,
    count_of,
    text_of,
    time_us,
)

JOINED = 1
"""`action` of a member frame: 1 is joining, others are follows and shares."""


def parse_tiktok(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """A chat, like or member frame; what we do not decide yet, or derive ourselves, is skipped."""
    kind = value.get("type")
    if isinstance(kind, str) and kind in _NOT_EVENTS:
        raise NoEventError(_NOT_EVENTS[kind])
    if kind not in ("WebcastChatMessage", "WebcastLikeMessage", "WebcastMemberMessage"):
        raise SkippedRowError("unknown_type")
    common: dict[str, Any] = {
        "line": line,
        "user": actor_of(value),
        "sent_us": time_us(value, "create_time_ms", 1000),
        "source_id": str(value.get("msg_id") or ""),
        "source_room": str(value.get("room_id") or ""),
    }
    if kind == "WebcastChatMessage":
        yield Row(kind="comment", text=text_of(value, "text"), **common)
    elif kind == "WebcastLikeMessage":
        # `count` is this frame's own taps; `total` sums the room's, ours included.
        yield Row(kind="like", count=count_of(value, "count"), **common)
    else:
        if value.get("action", JOINED) != JOINED:
            raise NoEventError("member_action_is_no_join")
        yield Row(kind="join", **common)


_NOT_EVENTS = {
    "WebcastGiftMessage": "gift_not_yet_available",
    "WebcastLinkMicBattle": "battle_not_yet_available",
    "WebcastLinkMicArmies": "battle_not_yet_available",
    "WebcastRoomUserSeqMessage": "viewer_count_is_derived",
}
