"""Names of rooms, people and facts, and the ids that derive from what they are about."""

import re
from typing import Final, NewType
from uuid import NAMESPACE_URL, uuid5

RoomId = NewType("RoomId", str)
ActorId = NewType("ActorId", str)
FactId = NewType("FactId", str)

# In Python `$` alone also matches before a line feed at the end.
ROOM_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.~-]{0,63}(?!\n)$"
ACTOR_ID_PATTERN: Final = r"^[A-Za-z0-9_.~@:+=|-]{1,128}(?!\n)$"
REQUEST_ID_PATTERN: Final = (
    r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?!\n)$"
)

_ROOM_ID = re.compile(ROOM_ID_PATTERN)
_ACTOR_ID = re.compile(ACTOR_ID_PATTERN)
_REQUEST_ID = re.compile(REQUEST_ID_PATTERN)
_FACTS = uuid5(NAMESPACE_URL, "urn:live-engagement:facts")


def is_room_id(text: str) -> bool:
    """Whether `text` may name a room: 1-64 letters, digits and ``_.~-``."""
    return _ROOM_ID.fullmatch(text) is not None


def is_actor_id(text: str) -> bool:
    """Whether `text` may name a person: 1-128 letters, digits and ``_.~@:+=|-``."""
    return _ACTOR_ID.fullmatch(text) is not None


def is_request_id(text: str) -> bool:
    """Whether `text` may be the id of a request: a UUID in any case."""
    return _REQUEST_ID.fullmatch(text) is not None


def derived_id(*about: str | int) -> FactId:
    """The id of a fact that no client made, from what it is about (room, kind, subject).

    Never from a clock or a random source: a repeat after a crash has the same id (RFC 9562 v5).
    """
    return FactId(str(uuid5(_FACTS, "\x1f".join(map(str, about)))))
