"""Which facts are marked in a room's stream, and how. Pure."""

from typing import Any, Final

from engagement.domain.battle_events import BattleStarted
from engagement.domain.events import Decided
from engagement.domain.gift_events import GiftSent

GIFT_TIER_MIN: Final = 2
"""Gifts that take a part of the screen. The small ones come by the hundred, and a playlist is
loaded anew by every viewer four times a second."""
TEXT_CHARS_MAX: Final = 256
"""Of one attribute: what media takes."""
MARKED_TYPES: Final = frozenset({"gift.sent", "battle.started"})
_HINTS: Final = tuple(f'"{kind}"'.encode() for kind in sorted(MARKED_TYPES))


def may_be_marked(value: bytes | None) -> bool:
    """A quick look at a record: what it turns away need not be decoded."""
    return value is not None and any(hint in value for hint in _HINTS)


def mark_of(fact: Decided) -> dict[str, Any] | None:
    """The mark of a fact as `POST /v1/rooms/{room}/marks` takes it; None for most facts.

    What is stamped by wall time, in a room without a media clock, has no place in a video.
    """
    stamp = fact.stamp
    if stamp.epoch == 0:
        return None
    data = fact.data
    if isinstance(data, GiftSent) and data.tier >= GIFT_TIER_MIN:
        attributes = {
            "gift": data.gift,
            "name": data.name,
            "tier": str(data.tier),
            "count": str(data.count),
            "sender": fact.actor if isinstance(fact.actor, str) else "",
        }
        kind, duration_ms = "gift", 0.0
    elif isinstance(data, BattleStarted):
        rivals = [side.room for side in data.sides if side.room != fact.room]
        attributes = {"battle": data.battle, "rivals": " ".join(rivals)}
        kind, duration_ms = "battle", data.duration_s * 1000.0
    else:
        return None
    return {
        "id": fact.id,
        "epoch": stamp.epoch,
        "pts_ms": max(0, stamp.pts_ms),
        "kind": kind,
        "duration_ms": duration_ms,
        "attributes": {name: value[:TEXT_CHARS_MAX] for name, value in attributes.items() if value},
    }
