"""Records of the room topic: decoded and checked once, for all projections together."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from engagement.domain.events import ROOM_TOPIC, TOPIC_OF_TYPE
from engagement.domain.names import is_room_id
from engagement.log.codec import PoisonError, decode_data, decode_raw
from engagement.log.topics import partition_of
from projections.projection import Placed, Projection

_NAMES: Final = ("target", "by", "session", "host", "to", "battle", "winner")
"""What of data is kept as a name."""
_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**63 - 1
"""PostgreSQL's bigint; a JSON number may be larger."""
_YEAR_MAX: Final = 9000
"""Times near the end of the calendar overflow when they are shifted to another time zone."""
_ROOMS_CACHED: Final = 65_536


class FactReader:
    """Reads the records of a topic with so many partitions."""

    def __init__(self, partitions: int) -> None:
        self._partition_of = lru_cache(_ROOMS_CACHED)(_placement(partitions))

    def read(self, record: Any) -> Placed:
        """The fact of a record. Raises PoisonError: it is no fact, or not one of this partition."""
        raw = decode_raw(record.value)
        if TOPIC_OF_TYPE.get(raw.type) != ROOM_TOPIC:
            raise PoisonError(f"{raw.type!r:.80} is no type of this topic")
        if self._partition_of(raw.roomid) != record.partition:
            raise PoisonError(f"{raw.roomid!r:.80} is no room of this partition")
        data = decode_data(raw)
        try:
            event = record.value.decode()
        except ValueError as error:
            raise PoisonError(f"{type(error).__name__}: {error}"[:200]) from error
        at = _time(raw.time)
        _check_integers(raw.mediaepoch, raw.mediapts)
        if raw.type in _COUNTED:
            _check_integers(data.window, getattr(data, _COUNTED[raw.type]))
        elif raw.type == "gift.reversed":
            _time(data.sent)
        if "\\u0000" in event:
            _check_names(raw, data)
        return Placed(record.partition, record.offset, raw, data, at, event)


_COUNTED: Final = {"viewers.counted": "online", "likes.counted": "room_total"}
"""What is kept of the types that count."""


def _placement(partitions: int) -> Any:
    def place(room: str) -> int:
        """The room's partition; -1 for what is no room at all."""
        return partition_of(room, partitions) if is_room_id(room) else -1

    return place


def _check_integers(*values: int) -> None:
    for value in values:
        if not _INTEGER_MIN <= value <= _INTEGER_MAX:
            raise PoisonError(f"{value} is out of range")


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise PoisonError(f"ValueError: {error}"[:200]) from error
    if at.tzinfo is None or not 1 < at.year < _YEAR_MAX:
        raise PoisonError(f"time {text!r:.80} is out of range")
    return at


def _check_names(raw: Any, data: Any) -> None:
    """Ids and names with a NUL, which PostgreSQL's text does not hold; in a title it may be."""
    names = [raw.id, raw.actorid]
    names += [getattr(data, name, "") for name in _NAMES]
    if any("\0" in name for name in names):
        raise PoisonError("an id or a name contains NUL")


class Span(Struct, frozen=True):
    """What a batch holds of one partition."""

    start: int
    """The position that the database must be at."""
    end: int
    """The position afterwards."""


class Poison(Struct, frozen=True):
    """A record that cannot be folded, and why."""

    record: Any
    reason: str


class Batch:
    """Records of some partitions, folded by some projections."""

    def __init__(self, projections: Sequence[type[Projection]]) -> None:
        self.projections = [projection() for projection in projections]
        self.spans: dict[int, Span] = {}
        self.poison: list[Poison] = []
        self.facts = 0
        self.newest: datetime | None = None
        """Accepted time of the last fact."""
        self._takers: dict[str, list[Any]] = {}
        for folded in self.projections:
            for kind in folded.types:
                self._takers.setdefault(kind, []).append(folded.take)

    def fold(
        self, records: Iterable[Any], reader: FactReader, positions: Mapping[int, int]
    ) -> None:
        """Fold records, which follow the positions, partition by partition in order."""
        ends: dict[int, int] = {}
        takers = self._takers
        for record in records:
            ends[record.partition] = record.offset + 1
            try:
                fact = reader.read(record)
            except PoisonError as error:
                self.poison.append(Poison(record, error.reason))
                continue
            for take in takers.get(fact.raw.type, ()):
                take(fact)
            self.facts += 1
            self.newest = fact.at
        for partition, end in ends.items():
            self.spans[partition] = Span(positions[partition], end)

    def pass_over(self, record: Any, start: int) -> None:
        """Move the position over a record without folding it."""
        self.spans[record.partition] = Span(start, record.offset + 1)
