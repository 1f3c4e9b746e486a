"""Opaque cursors: where a page ended, as URL-safe base64 of a few integers."""

import base64
import binascii

from engagement.errors import BadRequestError


def encode_cursor(*values: int) -> str:
    """A cursor of these integers."""
    text = ".".join(map(str, values))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, count: int, field: str) -> tuple[int, ...]:
    """The integers of a cursor; raises BadRequestError that names the query parameter."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = tuple(map(int, base64.urlsafe_b64decode(padded.encode()).decode().split(".")))
    except (ValueError, binascii.Error, UnicodeError) as error:
        raise BadRequestError("not a cursor of this list", code="bad_cursor", field=field) from (
            error
        )
    if len(values) != count or any(not -(2**63) <= value < 2**63 for value in values):
        raise BadRequestError("not a cursor of this list", code="bad_cursor", field=field)
    return values
