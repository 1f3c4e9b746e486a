"""YouTube live chat: ``{"type","sent_us","media_offset_ms","user","text","amount"?}``."""

from collections.abc import Iterable
from typing import Any

from engagement.recordings.rows import (
    NoEventError,
    Row,
    SkippedRowError,
    actor_of,
    optional_offset_ms,
    text_of,
    time_us,
)


def parse_youtube(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """A comment, or the words of a super chat (its amount is money elsewhere, not ours)."""
    kind = value.get("type")
    if kind not in ("comment", "super_chat"):
        raise SkippedRowError("unknown_type")
    if kind == "super_chat" and not value.get("text"):
        raise NoEventError("super_chat_without_text")
    yield Row(
        line=line,
        kind="comment",
        user=actor_of(value),
        sent_us=time_us(value, "sent_us", 1),
        text=text_of(value, "text"),
        media_offset_ms=optional_offset_ms(value),
        bears_clock=kind == "comment",
    )
