"""What has to be told in a topic exactly once, and what of it has been told."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.events import RawFact
from engagement.log.codec import PoisonError, decode_data, decode_raw
from engagement.log.reader import LogReader
from engagement.verification.difference import Difference, first
from engagement.verification.told_facts import TopicText

_RECORDS_PER_FETCH: Final = 4_000
_LOOK_AGAIN_S: Final = 0.2


class Place(Struct, frozen=True):
    """Where a record is, and whether it was there before the snapshot."""

    partition: int
    offset: int
    known: bool


class Due(Struct):
    """Something that has to be told once."""

    partition: int
    """Of the request that it follows from."""
    offset: int
    digest: bytes
    """Of all that it has to say. Not the whole: there may be millions."""
    event: str = ""
    """The event that said it."""


def digest(*says: object) -> bytes:
    """Of what an event says."""
    return hashlib.blake2b(msgspec.json.encode(says), digest_size=16).digest()


class OnceTold:
    """What is due in one topic, by the transfer that it is about."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._due: dict[str, Due] = {}
        self.missing = 0

    def expect(self, transfer: str, due: Due) -> None:
        """This has to be told."""
        self._due[transfer] = due
        self.missing += 1

    def due(self, transfer: str) -> Due | None:
        """What has to be told about a transfer."""
        return self._due.get(transfer)

    def see(
        self, transfer: str, event: str, says: bytes, place: Place
    ) -> tuple[bool, Difference | None]:
        """Whether this event tells something new that is due, and what is wrong with it."""
        due = self._due.get(transfer)
        if due is None:
            if not place.known:
                return False, None  # Of a gift that was paid after the snapshot.
            what = f"{event} tells transfer {transfer}, which follows from no request"
            return False, Difference(self._topic, place.partition, place.offset, what)
        if due.digest != says:
            what = f"{event} (at offset {place.offset}) says something else than {transfer}"
            return False, self._different(due, what)
        if due.event == event:
            return False, None  # A repeat after a crash.
        if due.event:
            what = f"transfer {transfer} is told by {due.event} and by {event}"
            return False, self._different(due, what)
        due.event = event
        self.missing -= 1
        return True, None

    def first_missing(self) -> Difference | None:
        """The first that nobody has told."""
        return first(
            self._different(due, f"transfer {transfer} was not told within {_wait_s():g} s")
            for transfer, due in self._due.items()
            if not due.event
        )

    def _different(self, due: Due, what: str) -> Difference:
        return Difference(self._topic, due.partition, due.offset, what)


class Taker(Protocol):
    """What reads a topic's facts."""

    @property
    def types(self) -> frozenset[str]:
        """The facts that are looked at."""
        ...

    @property
    def once(self) -> OnceTold:
        """What is due there."""
        ...

    def take(self, raw: RawFact, data: Any, place: Place) -> Difference | None:
        """The next fact of one of `types`."""
        ...


async def read_until_told(
    reader: LogReader,
    texts: Mapping[int, TopicText],
    taker: Taker,
    tell: Callable[[int], None],
) -> Difference | None:
    """Read a topic from its beginning until everything that is due is there, or time is up."""
    starts = dict.fromkeys(texts, 0)
    ends = {number: text.end for number, text in texts.items()}
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _wait_s()
    while True:
        # Again and again: what was fetched beyond the ends was thrown away.
        await reader.assign(starts)
        async for records in reader.read_to(ends, _RECORDS_PER_FETCH):
            for record in records:
                found = _take(taker, record, texts[record.partition])
                if found is not None:
                    return found
            tell(len(records))
        if not taker.once.missing or loop.time() > until_s:
            return taker.once.first_missing()
        await asyncio.sleep(_LOOK_AGAIN_S)
        starts, ends = ends, await reader.ends(len(texts))


def _take(taker: Taker, record: Any, text: TopicText) -> Difference | None:
    try:
        raw = decode_raw(record.value)
        if raw.type not in taker.types:
            return None
        data = decode_data(raw)
    except PoisonError:
        return None  # Not ours: whoever folds it has put it into the dead letters.
    place = Place(record.partition, record.offset, record.offset < text.known_end)
    return taker.take(raw, data, place)


def _wait_s() -> float:
    return limits.VERIFY_WAIT_S
