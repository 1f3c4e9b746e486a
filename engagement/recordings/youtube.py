"""YouTube live chat: ``{"type","sent_us","media_offset_ms","user","text","amount"?}``."""

from collections.abc import Iterable
from typing import Any

from engagement.recordings.paid_messages import paid_message
from engagement.recordings.rows import (
    Row,
    SkippedRowError,
    actor_of,
    optional_offset_ms,
    text_of,
    time_us,
)


def parse_youtube(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """A comment, or a super chat: a gift, and its words."""
    kind = value.get("type")
    if kind not in ("comment", "super_chat"):
        raise SkippedRowError("unknown_type")
    common: dict[str, Any] = {
        "line": line,
        "user": actor_of(value),
        "sent_us": time_us(value, "sent_us", 1),
        "media_offset_ms": optional_offset_ms(value),
    }
    if kind == "super_chat":
        yield from paid_message(value, common)
    else:
        yield Row(kind="comment", text=text_of(value, "text"), **common)
