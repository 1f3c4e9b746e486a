"""Generic rows: ``{"type","user","text"?,"count"?,"sent_ms","media_offset_ms"?}``."""

from collections.abc import Iterable
from typing import Any

from engagement.recordings.rows import (
    Row,
    SkippedRowError,
    actor_of,
    integer_of,
    optional_offset_ms,
    text_of,
)

MILLION = 1_000_000


def parse_generic(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """One row; gifts are told apart in the report, they are not decided yet."""
    kind = value.get("type")
    if kind == "gift":
        raise SkippedRowError("gift_not_yet_available")
    if kind not in ("comment", "like", "join", "super_chat"):
        raise SkippedRowError("unknown_type")
    sent_us = integer_of(value, "sent_ms") * 1000
    common: dict[str, Any] = {
        "line": line,
        "user": actor_of(value),
        "sent_us": sent_us,
        "media_offset_ms": optional_offset_ms(value),
    }
    if kind in ("comment", "super_chat"):
        text = text_of(value, "text")
        yield Row(kind="comment", text=text, bears_clock=kind == "comment", **common)
    elif kind == "like":
        count = integer_of(value, "count") if "count" in value else 1
        if not 1 <= count <= MILLION:
            raise SkippedRowError("bad_count")
        yield Row(kind="like", count=count, **common)
    else:
        yield Row(kind="join", **common)
