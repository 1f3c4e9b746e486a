"""When a re-enacted crowd sends what. Pure: the same recording and seed give the same schedule."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from msgspec import Struct

from engagement.domain import limits
from engagement.recordings.rows import Row

AGAIN_S_MAX: Final = 2.0
"""A client that got no answer repeats itself within this."""


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
        recorded_s = (row.sent_us - first_us) / 1e6 / speed
        for request in _requests(row, run):
            at_s = recorded_s + chance.uniform(0, reorder_ms / 1000)
            sendings.append(Sending(at_s, row.user, request))
            if chance.random() < duplicates:
                again_s = at_s + chance.uniform(0, AGAIN_S_MAX)
                sendings.append(Sending(again_s, row.user, request))
    return sorted(sendings, key=lambda sending: sending.at_s)


def _requests(row: Row, run: UUID) -> Iterator[dict[str, Any]]:
    """One request; likes beyond what one request may hold become several."""
    if row.kind == "comment":
        yield _request(row, run, "comment.post", {"text": row.text})
    elif row.kind == "join":
        yield _request(row, run, "room.join", {})
    else:
        left = row.count
        while left > 0:
            count = min(left, limits.LIKE_COUNT_MAX)
            yield _request(row, run, "like.tap", {"count": count}, left)
            left -= count


def _request(row: Row, run: UUID, kind: str, data: dict[str, Any], *part: object) -> dict[str, Any]:
    name = "\x1f".join(map(str, (*row.identity(), *part)))
    return {"id": str(uuid5(run, name)), "type": kind, "data": data}
