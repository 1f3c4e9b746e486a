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
CURSOR_CHARS_MAX: Final = 64
"""Ours have 43."""


class Place(NamedTuple):
    """A fact's place in the order of a timeline; places compare as their facts are ordered."""

    epoch: int
    pts_ms: int
    partition: int
    offset: int


def encode_cursor(kind: str, room: str, place: Place) -> str:
    """The cursor after this place in the room's list of this kind."""
    raw = _PLACE.pack(*place, _checksum(kind, room, place))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(kind: str, room: str, cursor: str, field: str) -> Place:
    """The inverse; raises BadRequestError that names the query parameter `field`."""
    try:
        if len(cursor) > CURSOR_CHARS_MAX:
            raise ValueError("too long")
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        *values, checksum = _PLACE.unpack(base64.b64decode(padded, altchars=b"-_", validate=True))
        place = Place(*values)
        if checksum != _checksum(kind, room, place):
            raise ValueError("of another list")
    except (ValueError, binascii.Error, struct.error) as error:
        raise BadRequestError("not a cursor of this list", code="bad_cursor", field=field) from (
            error
        )
    return place


def _checksum(kind: str, room: str, place: Place) -> int:
    return zlib.crc32(f"{kind}\n{room}\n{place!r}".encode())
