"""Opaque cursors: where a page of one list of one room ended.

URL-safe base64 of the place and a checksum over the list and the room: a cursor of another list,
of another room, or one that was cut on its way is refused instead of leading anywhere.
"""

import base64
import binascii
import struct
import zlib
from typing import Final, NamedTuple

from engagement.errors import BadRequestError

_PLACE: Final = struct.Struct(">qqiqI")
_RANK: Final = struct.Struct(">qqI")
CURSOR_CHARS_MAX: Final = 64
"""Ours have 43."""
RANK_CURSOR_CHARS_MAX: Final = 256
"""27 and a user's id, which has at most 128 characters, four for three."""


class Place(NamedTuple):
    """A fact's place in the order of a timeline; places compare as their facts are ordered."""

    epoch: int
    pts_ms: int
    partition: int
    offset: int


class Rank(NamedTuple):
    """A place on a leaderboard: the sender who has it, with so many coins."""

    rank: int
    coins: int
    actor: str


def encode_rank(board: str, room: str, rank: Rank) -> str:
    """The cursor after this place of a room's board."""
    head = _RANK.pack(rank.rank, rank.coins, _checksum(board, room, rank))
    return base64.urlsafe_b64encode(head + rank.actor.encode()).decode().rstrip("=")


def decode_rank(board: str, room: str, cursor: str, field: str) -> Rank:
    """The inverse; raises BadRequestError that names the query parameter `field`."""
    try:
        raw = _bytes_of(cursor, RANK_CURSOR_CHARS_MAX)
        number, coins, checksum = _RANK.unpack(raw[: _RANK.size])
        rank = Rank(number, coins, raw[_RANK.size :].decode())
        if checksum != _checksum(board, room, rank):
            raise ValueError("of another board")
    except (ValueError, binascii.Error, struct.error) as error:
        raise BadRequestError("not a cursor of this list", code="bad_cursor", field=field) from (
            error
        )
    return rank


def encode_cursor(kind: str, room: str, place: Place) -> str:
    """The cursor after this place in the room's list of this kind."""
    raw = _PLACE.pack(*place, _checksum(kind, room, place))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(kind: str, room: str, cursor: str, field: str) -> Place:
    """The inverse; raises BadRequestError that names the query parameter `field`."""
    try:
        *values, checksum = _PLACE.unpack(_bytes_of(cursor, CURSOR_CHARS_MAX))
        place = Place(*values)
        if checksum != _checksum(kind, room, place):
            raise ValueError("of another list")
    except (ValueError, binascii.Error, struct.error) as error:
        raise BadRequestError("not a cursor of this list", code="bad_cursor", field=field) from (
            error
        )
    return place


def _bytes_of(cursor: str, chars_max: int) -> bytes:
    if len(cursor) > chars_max:
        raise ValueError("too long")
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)


def _checksum(kind: str, room: str, place: Place | Rank) -> int:
    return zlib.crc32(f"{kind}\n{room}\n{place!r}".encode())
