"""A viewer's cursor: the next offset of the room topic that it has not seen. Opaque to viewers.

A position of the log, not of a gateway: any gateway resumes a viewer of any other.
"""

import re
from typing import Final

_CURSOR: Final = re.compile(r"([0-9]{1,4})-([0-9]{1,18})", re.ASCII)


def cursor(partition: int, offset: int) -> str:
    """The cursor of a viewer that has seen everything before `offset`."""
    return f"{partition}-{offset}"


def offset_of(text: str, partition: int) -> int | None:
    """The offset that a cursor names, or None when it is not one of this partition's."""
    match = _CURSOR.fullmatch(text)
    if match is None or int(match[1]) != partition:
        return None
    return int(match[2])
