"""One partition that this worker owns: its rooms, and what has been written of them.

Facts are appended in the order of decision; a request record is acknowledged to Kafka when its
facts are on the log *and* all records before it are acknowledged. (Faust commits one offset too
far when only the first of several is missing: faust-streaming 0.15.3, `Consumer._new_offset`.)

Nobody else may write to the partition's facts meanwhile. Kafka does not forbid it, but tells: the
offset of each acknowledged batch is the expected one, or somebody else has written.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC, TOPIC_OF_TYPE, Decided
from engagement.log.checkpoints import Positions
from engagement.log.codec import encode_fact
from engagement.log.writer import LogWriter
from engagement.processors.checkpointing import Checkpointing
from engagement.processors.fact_headers import fact_headers
from engagement.processors.recovery import RecoveredPartition

Acknowledge = Callable[[], object]
Intruder = Callable[["OwnedPartition", str, int, int], None]
"""Told the topic and the offsets (from, up to) among which somebody else has written."""


class _Taken:
    """A request record, until its facts are safe."""

    __slots__ = ("acknowledge", "waits_for")

    def __init__(self, acknowledge: Acknowledge) -> None:
        self.acknowledge = acknowledge
        self.waits_for = 0


class OwnedPartition:
    """The rooms of one partition, and the log positions of their facts."""

    def __init__(
        self,
        number: int,
        recovered: RecoveredPartition,
        writer: LogWriter,
        *,
        life: bytes,
        intruder: Intruder,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.number: Final = number
        self.rooms: Final = recovered.rooms
        self.checkpointing: Final = Checkpointing(recovered.checkpoint)
        self.facts_since_checkpoint = recovered.folded
        self.next_request: int | None = None
        self._writer = writer
        self._life = life
        self._intruder = intruder
        self._failed = failed
        self.order = recovered.order
        """Place of the next fact in the order of decision."""
        self._began = recovered.positions
        self._expected = {
            ROOM_TOPIC: recovered.positions.room,
            ACTIVITY_TOPIC: recovered.positions.activity,
        }
        """Offsets of the next facts to be appended, if nobody else writes."""
        self._written = dict(self._expected)
        """Offsets after the newest acknowledged facts."""
        self._drift = dict.fromkeys(self._expected, 0)
        """How many records of somebody else are known to lie between ours."""
        self._taken: deque[_Taken] = deque()

    def write(self, facts: Iterable[Decided]) -> set[str]:
        """Append facts; returns the topics they go to."""
        topics: set[str] = set()
        number, life = self.number, self._life
        for fact in facts:
            topic = TOPIC_OF_TYPE[fact.kind]
            headers = fact_headers(self.order, life)
            self._writer.append(topic, number, fact.room.encode(), encode_fact(fact), headers)
            self.order += 1
            self._expected[topic] += 1
            self.facts_since_checkpoint += 1
            topics.add(topic)
        return topics

    def acknowledge_after(
        self, fact_topics: Iterable[str], others: Iterable[tuple[str, int]], done: Acknowledge
    ) -> None:
        """Call `done` once all that was written so far to these topics of this partition, and to
        these other partitions, is acknowledged, and every `done` before it has been called."""
        taken = _Taken(done)
        self._taken.append(taken)
        for topic in fact_topics:
            self._watch(taken, topic)
        for topic, partition in others:
            taken.waits_for += 1
            future = self._writer.acknowledged(topic, partition)
            future.add_done_callback(lambda sent: self._settle(taken, sent.exception()))
        self._release()

    async def positions(self) -> Positions:
        """The offsets after everything that was written before this call, when it is
        acknowledged; raises what the writer raises."""
        room = self._writer.acknowledged(ROOM_TOPIC, self.number)
        activity = self._writer.acknowledged(ACTIVITY_TOPIC, self.number)
        return Positions(
            max(self._began.room, await room + 1), max(self._began.activity, await activity + 1)
        )

    def _watch(self, taken: _Taken, topic: str) -> None:
        taken.waits_for += 1
        expected = self._expected[topic] - 1
        future = self._writer.acknowledged(topic, self.number)

        def acked() -> None:
            error = future.exception()
            if error is None:
                self._compare(topic, expected, future.result())
            self._settle(taken, error)

        future.add_done_callback(lambda _: acked())

    def _settle(self, taken: _Taken, error: BaseException | None) -> None:
        if error is not None:
            self._failed(error)
            return
        taken.waits_for -= 1
        self._release()

    def _release(self) -> None:
        taken = self._taken
        while taken and not taken[0].waits_for:
            taken.popleft().acknowledge()

    def _compare(self, topic: str, expected: int, offset: int) -> None:
        """Whether the facts are where they should be; `expected` was right when it was made."""
        if offset < self._written[topic]:
            return  # An earlier acknowledgement of the same batch.
        first = self._written[topic]
        self._written[topic] = offset + 1
        drift = offset - expected - self._drift[topic]
        if drift:
            self._drift[topic] += drift
            self._intruder(self, topic, first, offset)
