"""Generic rows: ``{"type","user","text"?,"count"?,"sent_ms","media_offset_ms"?}``."""

from collections.abc import Iterable
from typing import Any

from engagement.recordings.rows import (
    NoEventError,
    Row,
    SkippedRowError,
    actor_of,
    count_of,
    optional_offset_ms,
    text_of,
    time_us,
)


def parse_generic(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """One row; gifts are told apart in the report, they are not decided yet."""
    kind = value.get("type")
    if kind == "gift":
        raise NoEventError("gift_not_yet_available")
    if kind not in ("comment", "like", "join", "super_chat"):
        raise SkippedRowError("unknown_type")
    common: dict[str, Any] = {
        "line": line,
        "user": actor_of(value),
        "sent_us": time_us(value, "sent_ms", 1000),
        "media_offset_ms": optional_offset_ms(value),
    }
    if kind == "super_chat" and not value.get("text"):
        raise NoEventError("super_chat_without_text")
    if kind in ("comment", "super_chat"):
        text = text_of(value, "text")
        yield Row(kind="comment", text=text, bears_clock=kind == "comment", **common)
    elif kind == "like":
        count = 1 if value.get("count") is None else count_of(value, "count")
        yield Row(kind="like", count=count, **common)
    else:
        yield Row(kind="join", **common)
