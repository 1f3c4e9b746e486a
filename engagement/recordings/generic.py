"""Generic rows: ``{"type","user","text"?,"count"?,"gift"?,"coins"?,"sent_ms","media_offset_ms"?}``.

A `gift` row is `count` pieces (default one) of `gift`, for `coins` each where that is known; a
`super_chat` row may have an `amount` of money, as it was shown.
"""

from collections.abc import Iterable
from typing import Any

from engagement.recordings.gifts import PIECES_PER_ROW_MAX, RecordedGift, slug
from engagement.recordings.paid_messages import paid_message
from engagement.recordings.rows import (
    Row,
    SkippedRowError,
    actor_of,
    count_of,
    optional_offset_ms,
    price_of,
    text_of,
    time_us,
)


def parse_generic(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """One row, or two of a super chat with words."""
    kind = value.get("type")
    if kind not in ("comment", "like", "join", "gift", "super_chat"):
        raise SkippedRowError("unknown_type")
    common: dict[str, Any] = {
        "line": line,
        "user": actor_of(value),
        "sent_us": time_us(value, "sent_ms", 1000),
        "media_offset_ms": optional_offset_ms(value),
    }
    if kind == "super_chat":
        yield from paid_message(value, common)
    elif kind == "comment":
        yield Row(kind="comment", text=text_of(value, "text"), **common)
    elif kind == "like":
        count = 1 if value.get("count") is None else count_of(value, "count")
        yield Row(kind="like", count=count, **common)
    elif kind == "gift":
        yield Row(kind="gift", gift=_gift(value), **common)
    else:
        yield Row(kind="join", **common)


def _gift(value: dict[str, Any]) -> RecordedGift:
    named = value.get("gift") or value.get("text")
    name = named[:80] if isinstance(named, str) and named.strip() else "Gift"
    counted = value.get("count") is not None
    count = count_of(value, "count", PIECES_PER_ROW_MAX) if counted else 1
    return RecordedGift(slug(name), name, price_of(value, "coins"), count)
