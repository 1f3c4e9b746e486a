"""When a re-enacted crowd sends what. Pure: the same recording and seed give the same schedule."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from msgspec import Struct

from engagement.crowd.shop import Shop
from engagement.domain import limits
from engagement.recordings.gifts import RecordedGift
from engagement.recordings.rows import Row

GIFT_SEND: Final = "gift.send"
AGAIN_S_MAX: Final = 2.0
"""A client that got no answer repeats itself within this."""


class Sending(Struct, frozen=True):
    """One request at one time, by one user."""

    at_s: float
    """Seconds after the start."""
    user: str
    request: dict[str, Any]


class How(Struct, frozen=True):
    """In what way a recording is re-enacted."""

    speed: float = 1
    """Times real time."""
    duplicates: float = 0
    """Share of the requests that are sent twice."""
    reorder_ms: int = 0
    """Shuffle within this time."""
    seed: int = 1


def schedule(rows: Sequence[Row], how: How, *, run: UUID, shop: Shop) -> list[Sending]:
    """Sendings in the order of their time; a share of them once more, with the same id, later.

    Ids derive from `run`: the same recording may be re-enacted twice. Gifts are those of the shop
    that are most like the recorded ones; battles are their hosts' business and left out.
    """
    chance = random.Random(how.seed)
    first_us = rows[0].sent_us
    sendings: list[Sending] = []
    for row in rows:
        recorded_s = (row.sent_us - first_us) / 1e6 / how.speed
        for request in _requests(row, run, shop):
            at_s = recorded_s + chance.uniform(0, how.reorder_ms / 1000)
            sendings.append(Sending(at_s, row.user, request))
            if chance.random() < how.duplicates:
                again_s = at_s + chance.uniform(0, AGAIN_S_MAX)
                sendings.append(Sending(again_s, row.user, request))
    return sorted(sendings, key=lambda sending: sending.at_s)


def coins_needed(sendings: Sequence[Sending], shop: Shop) -> dict[str, int]:
    """What each sender of gifts will pay, if everything is paid once."""
    orders = {
        one.request["id"]: (one.user, one.request["data"])
        for one in sendings
        if one.request["type"] == GIFT_SEND
    }
    needed: Counter[str] = Counter()
    for user, order in orders.values():
        needed[user] += order["count"] * shop.price(order["gift"])
    return dict(needed)


def _requests(row: Row, run: UUID, shop: Shop) -> Iterator[dict[str, Any]]:
    """One request; likes and gifts beyond what one request may hold become several."""
    if row.kind == "comment":
        yield _request(row, run, "comment.post", {"text": row.text})
    elif row.kind == "join":
        yield _request(row, run, "room.join", {})
    elif row.gift is not None:
        yield from _gifts(row, row.gift, run, shop)
    elif row.kind == "like":
        left = row.count
        while left > 0:
            count = min(left, limits.LIKE_COUNT_MAX)
            yield _request(row, run, "like.tap", {"count": count}, left)
            left -= count


def _gifts(row: Row, gift: RecordedGift, run: UUID, shop: Shop) -> Iterator[dict[str, Any]]:
    """Nothing when the shop is empty."""
    sold = shop.most_like(gift)
    left = gift.added if sold else 0
    while left > 0:
        order: dict[str, Any] = {"gift": sold, "count": min(left, limits.GIFT_COUNT_MAX)}
        if gift.streak:
            order["combo"] = gift.streak
        yield _request(row, run, GIFT_SEND, order, left)
        left -= order["count"]


def _request(row: Row, run: UUID, kind: str, data: dict[str, Any], *part: object) -> dict[str, Any]:
    name = "\x1f".join(map(str, (*row.identity(), *part)))
    return {"id": str(uuid5(run, name)), "type": kind, "data": data}
