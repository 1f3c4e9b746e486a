"""Records of the room topic, decoded once for all projections; what is poison, and what repeats."""

from collections.abc import Iterable
from typing import Any, Final

from engagement.domain import limits
from engagement.domain.events import DATA_OF_TYPE
from engagement.domain.seen_ids import SeenIds
from engagement.log.codec import PoisonError, decode_data, decode_raw
from projections.projection import Placed

DECODED_TYPES: Final = frozenset(
    {
        "room.opened",
        "room.closed",
        "comment.posted",
        "comment.removed",
        "viewers.counted",
        "likes.counted",
    }
)
"""Facts whose data some projection needs."""


class FactReader:
    """Turns records of one topic into placed facts, in order.

    A fact that is written twice after a crash has the same id both times: the second is dropped.
    """

    def __init__(self) -> None:
        self._seen: dict[int, SeenIds[bool]] = {}

    def remember(self, partition: int, ids: Iterable[str]) -> None:
        """Know ids that were folded by whoever came before."""
        seen = self._window(partition)
        for fact_id in ids:
            seen.add(fact_id, True)

    def forget(self) -> None:
        """Know nothing: before the window is read back from the table."""
        self._seen.clear()

    def read(self, record: Any) -> Placed | None:
        """The fact of a record, or None when it repeats one. Raises PoisonError."""
        raw = decode_raw(record.value)
        if raw.type not in DATA_OF_TYPE:
            raise PoisonError(f"unknown fact type {raw.type!r}")
        try:
            value = record.value.decode()
        except UnicodeDecodeError as error:
            raise PoisonError(f"not UTF-8: {error}") from error
        data = decode_data(raw) if raw.type in DECODED_TYPES else None
        _check_text(raw)
        seen = self._window(record.partition)
        if seen.get(raw.id) is not None:
            return None
        seen.add(raw.id, True)
        return Placed(record.partition, record.offset, raw, data, value)

    def _window(self, partition: int) -> SeenIds[bool]:
        window = self._seen.get(partition)
        if window is None:
            window = self._seen[partition] = SeenIds(limits.SEED_FACTS_PER_PARTITION)
        return window


def _check_text(raw: Any) -> None:
    """Keys of rows: what a foreign producer wrote into them must fit PostgreSQL."""
    if "\0" in raw.roomid or "\0" in raw.id or "\0" in raw.actorid:
        raise PoisonError("NUL in roomid, id or actorid")
    if not -(2**31) <= raw.mediaepoch < 2**31 or not -(2**63) <= raw.mediapts < 2**63:
        raise PoisonError("mediaepoch or mediapts out of range")
