"""A recording read whole: its rows in the order of their time, and an account of the rest."""

import codecs
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from engagement.domain import limits
from engagement.recordings.rows import (
    EARLIEST_US,
    LATEST_US,
    NoEventError,
    Parser,
    Row,
    SkippedRowError,
)
from engagement.recordings.streaks import GiftAccount, merge_streaks

LINE_BYTES_MAX: Final = 1024 * 1024
"""A row is a few hundred bytes; a file without line feeds must not be read into memory whole."""
LINES_NAMED_MAX: Final = 20
"""Line numbers that a report names per reason."""


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
    gifts: GiftAccount = field(default_factory=GiftAccount)

    def skip(self, reason: str, line: int) -> None:
        """Account for a row that becomes no event."""
        self.skipped.setdefault(reason, []).append(line)

    @property
    def source_rooms(self) -> int:
        """How many rooms of the platform are mixed in the file, as far as it tells."""
        return len({row.source_room for row in self.rows if row.source_room})

    @property
    def paid_messages(self) -> int:
        """Comments that are the words of a paid message."""
        return sum(row.kind == "comment" and not row.bears_clock for row in self.rows)

    def counts(self) -> dict[str, int]:
        """Rows by kind."""
        return dict(Counter(row.kind for row in self.rows))

    def settle(self) -> None:
        """Order the rows, and merge those that only tell something together."""
        self.rows.sort(key=lambda row: (row.sent_us, row.line))
        self.rows, self.gifts = merge_streaks(self.rows)
        scored = {row.battle.battle for row in self.rows if row.battle and row.battle.scores}
        for row in self.rows:
            if row.battle and row.battle.battle not in scored:
                self.skip("battle_without_scores", row.line)
        self.rows = [row for row in self.rows if not row.battle or row.battle.battle in scored]


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
                rows = _parse_line(line, number, parse, recording)
                fresh = [row for row in rows if row.identity() not in seen]
                recording.merged += bool(rows) and not fresh
                for row in fresh:
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
    recording.settle()
    return recording


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; one that is too long comes as its beginning, which is no JSON."""
    number = 0
    while line := file.readline(LINE_BYTES_MAX):
        number += 1
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        while len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES_MAX)


def _parse_line(line: bytes, number: int, parse: Parser, recording: Recording) -> list[Row]:
    """What a line says: one row, or two of a paid message with words."""
    if len(line) == LINE_BYTES_MAX:
        raise SkippedRowError("line_too_long")
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SkippedRowError("not_json") from None
    if not isinstance(value, dict):
        raise SkippedRowError("not_an_object")
    rows = []
    for row in parse(number, value):
        if not EARLIEST_US <= row.sent_us <= LATEST_US:
            raise SkippedRowError("absurd_time")
        if "\x00" in row.text or (row.gift is not None and "\x00" in row.gift.name):
            raise SkippedRowError("nul_in_text")  # As at the gateway: PostgreSQL has no NUL.
        if len(row.text) > limits.COMMENT_CHARS_MAX:
            recording.truncated += 1
            row = msgspec.structs.replace(row, text=row.text[: limits.COMMENT_CHARS_MAX])  # noqa: PLW2901
        rows.append(row)
    return rows
