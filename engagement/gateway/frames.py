"""Frames to viewers: the JSON text of each, and its WebSocket framing (RFC 6455 section 5.2).

A server's frames are not masked, so one frame's bytes serve every socket of a room.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from engagement.domain.media_time import Anchor

_TEXT: Final = b"\x81"
"""FIN and opcode 1."""
_ENCODER: Final = msgspec.json.Encoder()


class Event(Struct, frozen=True, gc=False):
    """A fact as it is fanned out."""

    offset: int
    kind: str
    id: str
    raw: bytes
    """The record's value: spliced into frames as it is."""
    at_us: int
    """When the request was accepted, for the events that are timed; else 0."""


def text_frame(payload: bytes) -> bytes:
    """One unfragmented text message."""
    size = len(payload)
    if size < 126:
        return _TEXT + bytes((size,)) + payload
    if size < 65_536:
        return _TEXT + b"\x7e" + size.to_bytes(2, "big") + payload
    return _TEXT + b"\x7f" + size.to_bytes(8, "big") + payload


def events_frame(cursor: str, events: Sequence[Event]) -> bytes:
    """Facts, spliced; `cursor` is after the last of them."""
    return text_frame(
        b'{"t":"events","cursor":"%b","events":[%b]}'
        % (cursor.encode(), b",".join([event.raw for event in events]))
    )


def skipped_frame(cursor: str, counts: dict[str, int]) -> bytes:
    """What shaping left out before `cursor`, by type."""
    return json_frame({"t": "skipped", "counts": counts, "cursor": cursor})


def clock_frame(anchor: Anchor) -> bytes:
    """News of the room's media clock."""
    return json_frame({"t": "clock", "anchor": anchor_fields(anchor)})


def anchor_fields(anchor: Anchor) -> dict[str, Any]:
    """An anchor as viewers get it; at one that has `ended` their media time stands still."""
    fields: dict[str, Any] = {
        "id": anchor.id,
        "epoch": anchor.epoch,
        "rate": anchor.rate,
        "rtp": anchor.rtp,
        "pts_ms": anchor.pts_ms,
        "wall_ms": anchor.wall_ms,
        "offset_ms": anchor.offset_ms,
        "err_ms": anchor.err_ms,
        "at_us": anchor.at_us,
    }
    if anchor.ended:
        fields["ended"] = True
    return fields


def json_frame(message: dict[str, Any]) -> bytes:
    """Any other message."""
    return text_frame(_ENCODER.encode(message))
