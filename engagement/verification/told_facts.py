"""What the ledger told, against what the requests make it tell: byte for byte, in order.

A fact may be on the log more than once (a crash after it was sent, before that was noted): the
first one counts. What was committed and is not told yet is in the outbox.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from msgspec import Struct

from engagement.domain.events import SubjectFact
from engagement.log.codec import PoisonError, decode_raw, encode_subject_fact
from engagement.log.reader import LogReader
from engagement.verification.difference import Difference

_RECORDS_PER_FETCH = 4_000


class Fact(Struct, frozen=True):
    """A record of a fact topic; offset -1: it is in the outbox still."""

    offset: int
    id: str
    value: bytes


class TopicText(Struct, frozen=True):
    """Up to where a partition of a topic is looked at."""

    known_end: int
    """Its end before the snapshot: whatever is before it was decided before the snapshot."""
    end: int
    """Its end after the snapshot: whatever the outbox had lost by then is before it."""


class ToldCheck:
    """Goes along one partition of a topic as the decisions come."""

    def __init__(
        self,
        topic: str,
        partition: int,
        reader: LogReader,
        text: TopicText,
        outbox: Sequence[bytes],
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._text = text
        self._facts = _facts(reader, text.end, partition, outbox)
        self._told: set[str] = set()
        self._expected: set[str] = set()
        self.records = 0

    async def take(self, offset: int, fact: SubjectFact) -> Difference | None:
        """The next fact that the requests make."""
        if fact.id in self._expected:
            return None  # Told before, about another repeat of the same request.
        self._expected.add(fact.id)
        value = encode_subject_fact(fact)
        try:
            told = await self._next()
        except PoisonError as error:
            return self._different(offset, f"not a fact: {error.reason}")
        if told is None:
            return self._different(offset, f"{fact.kind} {fact.id} was not told: {value!r:.300}")
        if told.value != value:
            what = (
                f"at offset {told.offset} is {told.value!r:.300}, the requests say {value!r:.300}"
            )
            return self._different(offset, what)
        return None

    async def end(self) -> Difference | None:
        """Nothing else may have been told before the snapshot."""
        try:
            told = await self._next()
        except PoisonError as error:
            return self._different(-1, f"not a fact: {error.reason}")
        if told is None or told.offset >= self._text.known_end:
            return None
        return self._different(told.offset, f"follows from no request: {told.value!r:.300}")

    async def _next(self) -> Fact | None:
        """The next fact that was not told before."""
        async for fact in self._facts:
            self.records += 1
            if fact.id not in self._told:
                self._told.add(fact.id)
                return fact
        return None

    def _different(self, offset: int, what: str) -> Difference:
        return Difference(self._topic, self._partition, offset, what)


async def _facts(
    reader: LogReader, end: int, partition: int, outbox: Iterable[bytes]
) -> AsyncIterator[Fact]:
    await reader.assign({partition: 0})
    async for records in reader.read_to({partition: end}, _RECORDS_PER_FETCH):
        for record in records:
            yield _fact(record.offset, record.value)
    for value in outbox:
        yield _fact(-1, value)


def _fact(offset: int, value: Any) -> Fact:
    return Fact(offset, decode_raw(value).id, value)


class CatalogueCheck:
    """`live.catalogue.v1`, which is compacted: only the newest of each gift must be there."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._expected: dict[str, tuple[int, str, bytes]] = {}
        """Fact id → (offset of the request, gift, value)."""
        self._newest: dict[str, str] = {}
        self.offsets: dict[str, int] = {}
        """Of the last change of each gift."""
        self.partition = 0
        """The ledger partition that decides about the catalogue."""

    def expect(self, partition: int, offset: int, fact: SubjectFact) -> None:
        """A change that the requests make."""
        self._expected[fact.id] = (offset, fact.subject, encode_subject_fact(fact))
        self._newest[fact.subject] = fact.id
        self.offsets[fact.subject] = offset
        self.partition = partition

    async def compare(
        self, reader: LogReader, texts: dict[int, TopicText], outbox: Sequence[bytes]
    ) -> Difference | None:
        """Compare all that the topic has kept."""
        told: set[str] = set()
        for partition, text in texts.items():
            async for fact in _facts(reader, text.end, partition, ()):
                known = self._expected.get(fact.id)
                if known is None and fact.offset < text.known_end:
                    what = f"follows from no request: {fact.value!r:.300}"
                    return Difference(self._topic, partition, fact.offset, what)
                if known is not None and known[2] != fact.value:
                    what = f"is {fact.value!r:.300}, the requests say {known[2]!r:.300}"
                    return Difference(self._topic, partition, known[0], what)
                told.add(fact.id)
        told.update(_fact(-1, value).id for value in outbox)
        for gift, newest in self._newest.items():
            if newest not in told:
                offset = self._expected[newest][0]
                what = f"the newest terms of {gift} were not told"
                return Difference(self._topic, self.partition, offset, what)
        return None
