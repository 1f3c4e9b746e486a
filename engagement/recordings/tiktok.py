"""TikTok frames as the public clients record them; `create_time_ms` is the platform's clock."""

from collections.abc import Iterable
from typing import Any

from engagement.recordings.rows import Row, SkippedRowError, actor_of, integer_of, text_of

JOINED = 1
"""`action` of a member frame: 1 is joining, others are follows and shares."""


def parse_tiktok(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """A chat, like or member frame; what we do not decide yet, or derive ourselves, is skipped."""
    kind = value.get("type")
    reason = _NOT_EVENTS.get(kind) if isinstance(kind, str) else "unknown_type"
    if reason is not None:
        raise SkippedRowError(reason)
    if kind not in ("WebcastChatMessage", "WebcastLikeMessage", "WebcastMemberMessage"):
        raise SkippedRowError("unknown_type")
    common: dict[str, Any] = {
        "line": line,
        "user": actor_of(value),
        "sent_us": integer_of(value, "create_time_ms") * 1000,
        "source_id": str(value.get("msg_id") or ""),
    }
    if kind == "WebcastChatMessage":
        yield Row(kind="comment", text=text_of(value, "text"), **common)
    elif kind == "WebcastLikeMessage":
        count = integer_of(value, "count")
        if not 1 <= count <= 1_000_000:
            raise SkippedRowError("bad_count")
        yield Row(kind="like", count=count, **common)
    else:
        if value.get("action", JOINED) != JOINED:
            raise SkippedRowError("member_action_is_no_join")
        yield Row(kind="join", **common)


_NOT_EVENTS = {
    "WebcastGiftMessage": "gift_not_yet_available",
    "WebcastLinkMicBattle": "battle_not_yet_available",
    "WebcastLinkMicArmies": "battle_not_yet_available",
    "WebcastRoomUserSeqMessage": "viewer_count_is_derived",
}
