"""When a re-enacted crowd sends what. Pure: the same recording and seed give the same schedule."""

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from msgspec import Struct

from engagement.domain import limits
from engagement.recordings.rows import Row


class Sending(Struct, frozen=True):
    """One request at one time, by one user."""

    at_s: float
    """Seconds after the start."""
    user: str
    request: dict[str, Any]


def schedule(
    rows: Sequence[Row],
    *,
    speed: float,
    duplicates: float,
    reorder_ms: int,
    seed: int,
    run: UUID,
) -> list[Sending]:
    """Sendings in the order of their time; a share of them once more, with the same id, later.

    Ids derive from `run`: the same recording may be re-enacted twice.
    """
    chance = random.Random(seed)
    first_us = rows[0].sent_us
    sendings: list[Sending] = []
    for row in rows:
        at_s = (row.sent_us - first_us) / 1e6 / speed
        at_s += chance.uniform(0, reorder_ms / 1000)
        sending = Sending(at_s, row.user, _request(row, run))
        sendings.append(sending)
        if chance.random() < duplicates:
            again_s = at_s + chance.uniform(0, 2)
            sendings.append(Sending(again_s, sending.user, sending.request))
    return sorted(sendings, key=lambda sending: sending.at_s)


def _request(row: Row, run: UUID) -> dict[str, Any]:
    request_id = str(uuid5(run, "\x1f".join(map(str, row.identity()))))
    if row.kind == "comment":
        return {"id": request_id, "type": "comment.post", "data": {"text": row.text}}
    if row.kind == "like":
        count = min(row.count, limits.LIKE_COUNT_MAX)
        return {"id": request_id, "type": "like.tap", "data": {"count": count}}
    return {"id": request_id, "type": "room.join", "data": {}}
