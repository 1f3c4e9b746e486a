"""A recording as rows of one shape, whatever platform it came from; and what was left out, why."""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal
from uuid import UUID, uuid5

import msgspec

from engagement.domain import limits
from engagement.domain.names import is_actor_id

Kind = Literal["comment", "like", "join"]

SOURCE_NAMESPACE: Final = UUID("8d0f5d2e-51a6-5e1b-9c57-3f2e0f6f6a11")
EARLIEST_US: Final = 946_684_800_000_000
"""2000-01-01. Earlier is a wrong unit or no time at all."""
LATEST_US: Final = 4_102_444_800_000_000
"""2100-01-01."""
LINE_BYTES_MAX: Final = 1024 * 1024
"""A row is a few hundred bytes; a file without line feeds must not be read into memory whole."""
LIKES_PER_ROW_MAX: Final = 1_000_000
"""More than all thumbs of a large room in the moment that one row stands for."""
LINES_NAMED_MAX: Final = 20
"""Line numbers that a report names per reason."""


class SkippedRowError(Exception):
    """A row that becomes no event; `reason` is counted in the report."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoEventError(SkippedRowError):
    """A row of good form that becomes no event here; the same one again is merged, not skipped."""


class Row(msgspec.Struct, frozen=True):
    """One thing that somebody did in the recorded room."""

    line: int
    kind: Kind
    user: str
    sent_us: int
    text: str = ""
    count: int = 1
    media_offset_ms: int | None = None
    bears_clock: bool = True
    """Whether its media offset may define the clock: paid messages are shown with a delay."""
    source_id: str = ""
    """The platform's own id of the event, if it has one."""
    source_room: str = ""
    """The platform's own id of the room, if it has one."""

    def identity(self) -> tuple[Any, ...]:
        """What makes two rows the same event: the platform's id, or sender, time and content."""
        if self.source_id:
            return (self.kind, self.source_id)
        return (self.kind, self.user, self.sent_us, self.text, self.count)


@dataclass
class Recording:
    """All rows in the order of their time, and the account of everything else."""

    rows: list[Row] = field(default_factory=list)
    lines_read: int = 0
    merged: int = 0
    """Rows that repeated another one, whether that one became an event or not."""
    out_of_order: int = 0
    truncated: int = 0
    skipped: dict[str, list[int]] = field(default_factory=dict)
    """Reason → line numbers."""

    def skip(self, reason: str, line: int) -> None:
        """Account for a row that becomes no event."""
        self.skipped.setdefault(reason, []).append(line)

    @property
    def source_rooms(self) -> int:
        """How many rooms of the platform are mixed in the file, as far as it tells."""
        return len({row.source_room for row in self.rows if row.source_room})

    @property
    def paid_messages(self) -> int:
        """Comments that are the words of a paid message; the money itself is not imported."""
        return sum(not row.bears_clock for row in self.rows)

    def counts(self) -> dict[str, int]:
        """Rows by kind."""
        return dict(Counter(row.kind for row in self.rows))


Parser = Callable[[int, dict[str, Any]], Iterable[Row]]


def read_recording(path: Path, parse: Parser) -> Recording:
    """Read JSON lines; nothing in the file can make this fail but the file itself (OSError)."""
    recording = Recording()
    seen: set[tuple[Any, ...]] = set()
    newest_us = 0
    with path.open("rb") as file:
        for number, line in _lines(file):
            if not line.strip():
                continue
            recording.lines_read += 1
            try:
                for row in _parse_line(line, number, parse, recording):
                    if row.identity() in seen:
                        recording.merged += 1
                        continue
                    seen.add(row.identity())
                    recording.out_of_order += row.sent_us < newest_us
                    newest_us = max(newest_us, row.sent_us)
                    recording.rows.append(row)
            except NoEventError as no_event:
                identity = (no_event.reason, line.strip())
                if identity in seen:
                    recording.merged += 1
                else:
                    seen.add(identity)
                    recording.skip(no_event.reason, number)
            except SkippedRowError as skipped:
                recording.skip(skipped.reason, number)
    recording.rows.sort(key=lambda row: (row.sent_us, row.line))
    return recording


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; one that is too long comes as its beginning, which is no JSON."""
    number = 0
    while line := file.readline(LINE_BYTES_MAX):
        number += 1
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        while len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES_MAX)


def _parse_line(line: bytes, number: int, parse: Parser, recording: Recording) -> Iterable[Row]:
    if len(line) == LINE_BYTES_MAX:
        raise SkippedRowError("line_too_long")
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SkippedRowError("not_json") from None
    if not isinstance(value, dict):
        raise SkippedRowError("not_an_object")
    for row in parse(number, value):
        if not EARLIEST_US <= row.sent_us <= LATEST_US:
            raise SkippedRowError("absurd_time")
        if "\x00" in row.text:
            raise SkippedRowError("nul_in_text")  # As at the gateway: PostgreSQL has no NUL.
        if len(row.text) <= limits.COMMENT_CHARS_MAX:
            yield row
        else:
            recording.truncated += 1
            yield msgspec.structs.replace(row, text=row.text[: limits.COMMENT_CHARS_MAX])


def text_of(value: dict[str, Any], name: str) -> str:
    """A text that must not be empty. Raises SkippedRowError."""
    text = value.get(name)
    if not isinstance(text, str) or not text.strip():
        raise SkippedRowError(f"no_{name}")
    return text


def number_of(value: dict[str, Any], name: str) -> int | float:
    """A number; exporters write whole ones as floats, too. Raises SkippedRowError."""
    number = value.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SkippedRowError(f"no_{name}")
    return number


def time_us(value: dict[str, Any], name: str, us_per_unit: int) -> int:
    """A Unix time in µs. Raises SkippedRowError."""
    number = number_of(value, name)
    if abs(number) > LATEST_US:
        raise SkippedRowError("absurd_time")
    return round(number * us_per_unit)


def count_of(value: dict[str, Any], name: str) -> int:
    """How many likes a row stands for. Raises SkippedRowError."""
    count = number_of(value, name)
    if not 1 <= count <= LIKES_PER_ROW_MAX or count != int(count):
        raise SkippedRowError("bad_count")
    return int(count)


def optional_offset_ms(value: dict[str, Any]) -> int | None:
    """The media offset in ms, or None when the row has none."""
    offset = value.get("media_offset_ms")
    if offset is None:
        return None
    if isinstance(offset, bool) or not isinstance(offset, int | float) or abs(offset) > 1e12:
        raise SkippedRowError("bad_media_offset_ms")
    return round(offset)


def actor_of(value: dict[str, Any], name: str = "user") -> str:
    """An actor id of ours: the recording's own where it may be one, else one derived from it."""
    user = text_of(value, name)
    if is_actor_id(user):
        return user
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", user)[:40].strip("-")
    return f"{readable or 'user'}~{uuid5(SOURCE_NAMESPACE, user).hex[:12]}"
