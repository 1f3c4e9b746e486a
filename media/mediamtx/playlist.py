"""Where a media playlist has got to, by its dates: what the clock is made of. Pure.

Read is what the draft of HLS, second edition, section 4.4, calls EXTINF, EXT-X-PART and
EXT-X-PROGRAM-DATE-TIME; the end of the newest part is the newest moment that can be watched.
"""

import re
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from engagement.errors import BadRequestError
from media.mediamtx import bounds

_PART_DURATION: Final = re.compile(r"(?:^|[:,])DURATION=([0-9.]{1,16})")


class Progress(Struct, frozen=True):
    """How far a playlist has got."""

    ends_ms: tuple[float, ...]
    """Dates (Unix ms) at which segments and parts end, the oldest first; empty without dates."""
    next_segment: int
    """Media sequence number of the segment that is being made."""
    next_part: int
    """Number of the part in it that comes next."""
    can_block: bool
    """Whether a reload may name them, and is then answered when they are there."""


def media_playlist_of(text: str) -> str | None:
    """The address of the first rendition in a multivariant playlist; None for a media playlist."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#EXT-X-STREAM-INF"):
            return next((each for each in lines[number + 1 :] if each and each[0] != "#"), None)
    return None


def progress_of(text: str) -> Progress:
    """Read a media playlist. Raises BadRequestError for what is none."""
    lines = text.splitlines()
    if not lines or lines[0] != "#EXTM3U" or len(lines) > bounds.PARTS_MAX:
        raise BadRequestError("not a playlist", code="bad_playlist")
    sequence, parts = 0, 0
    can_block = False
    begins_ms: float | None = None
    within_ms = 0.0
    duration_ms = 0.0
    ends_ms: list[float] = []
    for line in lines:
        name, _, value = line.partition(":")
        if name == "#EXT-X-MEDIA-SEQUENCE":
            sequence = int(_number(value))
        elif name == "#EXT-X-SERVER-CONTROL":
            can_block = "CAN-BLOCK-RELOAD=YES" in value
        elif name == "#EXT-X-PROGRAM-DATE-TIME":
            begins_ms = _date_ms(value)
        elif name == "#EXT-X-PART":
            parts += 1
            match = _PART_DURATION.search(value)
            within_ms += _number(match[1]) * 1000 if match else 0.0
            if begins_ms is not None:
                ends_ms.append(begins_ms + within_ms)
        elif name == "#EXTINF":
            duration_ms = _number(value.partition(",")[0]) * 1000
        elif line and not line.startswith("#"):
            sequence, parts, within_ms = sequence + 1, 0, 0.0
            if begins_ms is not None:
                # The next segment follows, whether or not it says when.
                begins_ms += duration_ms
                ends_ms.append(begins_ms)
    return Progress(tuple(ends_ms), sequence, parts, can_block)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadRequestError("a number that is none", code="bad_playlist") from None
    if not 0 <= value < 2**40:
        raise BadRequestError("a number out of range", code="bad_playlist")
    return value


def _date_ms(text: str) -> float:
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadRequestError("a date that is none", code="bad_playlist") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000
