"""What a run asks: every request with its expectation, drawn from a seed.

Most requests come in arrays from a platform's backend, some one by one, some over sockets. A few
must be refused (words, bans, closed and unknown rooms), a few held.
"""

import random
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from .evidence import Ask, Expectation
from .money.plan import GiftOrders

ROOMS = 50
DENIED_WORD = "forbiddenword"
HELD_WORD = "doubtfulword"
"""Words that the instance of the run is configured to deny and to hold."""
CLOSED_ROOM = "closed-room"
UNKNOWN_ROOM = "no-such-room"
BATCH_MAX = 120
GIFT_BATCH_MAX = 25
SOCKET_REQUESTS_MAX = 4
DUPLICATE_SHARE = 0.10
ALTERED_SHARES = {"comment.post": 0.005, "gift.send": 0.03}
"""By the type of a call's first request."""
ABANDONED_SHARE = 0.02
"""Calls whose client gives up after the first answer that never came."""
REPEAT_LATER_S_MAX = 20.0
"""Repeats come back after kills, too."""

Via = Literal["http", "socket"]


class Call(Struct):
    """One POST or one `send` frame, and what its client does about it."""

    via: Via
    room: str
    asks: list[Ask]
    single: bool = False
    abandons: bool = False
    repeat: Literal["", "at_once", "later", "altered"] = ""
    repeat_after_s: float = 0.0
    gateway: int = 0
    removes_own: bool = False
    waits: bool = False
    """Whether the sender of a gift waits for what becomes of it."""


def room_names(count: int = ROOMS) -> list[str]:
    """Names of the open rooms."""
    return [f"room-{number:02d}" for number in range(count)]


def host_of(room: str) -> str:
    """Who opened the room."""
    return f"host-of-{room}"


def banned_in(room: str) -> str:
    """Somebody whom the host has banned before the load begins."""
    return f"banned-in-{room}"


def muted_in(room: str) -> str:
    """Somebody whom the host has muted before the load begins."""
    return f"muted-in-{room}"


class Plan:
    """A stream of calls, equal for equal seeds."""

    def __init__(self, seed: int, requests: int, gifts: int = 0, rooms: int = ROOMS) -> None:
        self.rooms = room_names(rooms)
        self._random = random.Random(seed)
        self._requests = requests
        self._gifts = gifts
        self._given = 0
        self._orders = GiftOrders(self._random)
        self._number = 0
        self._batches = 0
        self._joined: dict[str, list[str]] = {}

    def calls(self) -> Iterator[Call]:
        """All calls, until the requests and the gifts are used up (repeats not counted)."""
        draw = self._random
        while True:
            others = max(0, self._requests - self._number + self._given)
            gifts = self._gifts - self._given
            if not others + gifts:
                return
            kind = draw.random()
            if draw.randrange(others + gifts) >= others:
                call = self._gift()
            elif kind < 0.04:
                call = self._batch(draw.randint(2, BATCH_MAX))
            elif kind < 0.72:
                call = self._single()
            else:
                call = self._frame(draw.randint(1, SOCKET_REQUESTS_MAX))
            call.gateway = draw.randrange(2)
            call.abandons = draw.random() < ABANDONED_SHARE
            self._repeat(call)
            yield call

    def sentinel(self, room: str) -> Call:
        """The last comment of a room."""
        ask = self._ask(room, "comment.post", {"text": f"the end of {room}"}, "fact")
        return Call("http", room, [ask], single=True)

    def farewell(self) -> Iterator[Call]:
        """Everybody who joined by request leaves: nobody's lease runs out while we look."""
        for room, guests in self._joined.items():
            for first in range(0, len(guests), BATCH_MAX):
                asks = []
                for guest in guests[first : first + BATCH_MAX]:
                    ask = self._ask(room, "room.leave", {}, "maybe")
                    ask.actor = guest
                    asks.append(ask)
                yield Call("http", room, asks)

    def setup(self, room: str) -> Call:
        """The ban and the mute that later requests run into, asked by the host."""
        ban = self._ask(room, "viewer.ban", {"target": banned_in(room)}, "fact")
        mute = {"target": muted_in(room), "seconds": 86_400}
        asks = [ban, self._ask(room, "viewer.mute", mute, "fact")]
        for ask in asks:
            ask.actor = host_of(room)
        return Call("http", room, asks)

    def removal(self, target: str, room: str, author: str) -> Call:
        """An author takes a comment back."""
        ask = self._ask(room, "comment.remove", {"target": target}, "fact")
        ask.actor = author
        return Call("http", room, [ask], single=True, gateway=self._random.randrange(2))

    def _repeat(self, call: Call) -> None:
        draw = self._random
        chance = draw.random()
        if chance < DUPLICATE_SHARE:
            call.repeat = "at_once" if draw.random() < 0.3 else "later"
        elif chance < DUPLICATE_SHARE + ALTERED_SHARES.get(call.asks[0].type, 0.0):
            call.repeat = "altered"
        call.repeat_after_s = draw.uniform(0, REPEAT_LATER_S_MAX)

    def _gift(self) -> Call:
        """Gifts: one of somebody who may wait for its outcome, some from a socket, or an array."""
        room, kind = self._random.choice(self.rooms), self._random.random()
        via: Via = "socket" if 0.5 <= kind < 0.8 else "http"
        size = 1 if kind < 0.5 else self._random.randint(1, SOCKET_REQUESTS_MAX)
        if kind >= 0.8:
            size = self._random.randint(2, GIFT_BATCH_MAX)
        size = min(size, self._gifts - self._given)
        self._given += size
        asks = [self._ask(room, "gift.send", self._orders.order(), "gift") for _ in range(size)]
        for ask in asks:
            ask.actor = self._orders.giver()
        call = Call(via, room, asks, single=kind < 0.5)
        call.waits = call.single and self._random.random() < 0.5
        return call

    def _batch(self, size: int) -> Call:
        room = self._random.choice(self.rooms)
        self._batches += 1
        asks = [self._any(room) for _ in range(size)]
        for ask in asks:
            ask.batch = self._batches
        return Call("http", room, asks)

    def _single(self) -> Call:
        chance = self._random.random()
        if chance < 0.01:
            room = CLOSED_ROOM if chance < 0.005 else UNKNOWN_ROOM
            ask = self._ask(room, "comment.post", {"text": self._text()}, "refused")
        elif chance < 0.015:
            room = self._random.choice(self.rooms)
            ask = self._ask(room, "viewer.ban", {"target": "somebody"}, "refused")
        else:
            room = self._random.choice(self.rooms)
            ask = self._any(room)
        call = Call("http", room, [ask], single=True)
        call.removes_own = ask.expect == "fact" and self._random.random() < 0.02
        return call

    def _frame(self, size: int) -> Call:
        """Requests of one socket: all of one user, who is neither banned nor joins by request."""
        room = self._random.choice(self.rooms)
        asks = []
        for _ in range(size):
            if self._random.random() < 0.7:
                asks.append(self._ask(room, "comment.post", {"text": self._text()}, "fact"))
            else:
                asks.append(self._ask(room, "like.tap", {"count": self._count()}, "fact"))
        return Call("socket", room, asks)

    def _any(self, room: str) -> Ask:
        chance = self._random.random()
        if chance < 0.60:
            return self._ask(room, "comment.post", {"text": self._text()}, "fact")
        if chance < 0.86:
            return self._ask(room, "like.tap", {"count": self._count()}, "fact")
        if chance < 0.94:
            ask = self._ask(room, "room.join", {}, "fact")
            ask.actor = f"guest-{self._number}"
            self._joined.setdefault(room, []).append(ask.actor)
            return ask
        if chance < 0.96 and self._joined.get(room):
            ask = self._ask(room, "room.leave", {}, "maybe")
            ask.actor = self._joined[room].pop(0)
            return ask
        if chance < 0.98:
            return self._refused(room)
        held = {"text": f"{self._text()} {HELD_WORD}"}
        return self._ask(room, "comment.post", held, "held")

    def _refused(self, room: str) -> Ask:
        which = self._random.randrange(3)
        text = self._text() + (f" {DENIED_WORD}" if which == 0 else "")
        ask = self._ask(room, "comment.post", {"text": text}, "refused")
        if which:
            ask.actor = banned_in(room) if which == 1 else muted_in(room)
        return ask

    def _ask(self, room: str, kind: str, data: dict[str, Any], expect: Expectation) -> Ask:
        self._number += 1
        actor = f"user-{self._random.randrange(5000)}"
        return Ask(self._uuid(), room, actor, kind, data, expect)

    def _text(self) -> str:
        return f"comment number {self._number} {'la ' * self._random.randrange(40)}".strip()

    def _count(self) -> int:
        return self._random.randint(1, 20)

    def _uuid(self) -> str:
        bits = self._random.getrandbits(128)
        digits = f"{bits:032x}"
        return "-".join(
            (digits[:8], digits[8:12], "4" + digits[13:16], "8" + digits[17:20], digits[20:])
        )
