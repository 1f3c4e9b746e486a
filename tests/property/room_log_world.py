"""A partition in a world that crashes: requests on a log, facts on two, state in checkpoints.

The codec, the checkpoint records and the fold of a recovery are the real ones; only Kafka is a
list. A crash loses facts that were not acknowledged: of each topic, its newest ones.
"""

from dataclasses import dataclass, field
from typing import Any

from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC, TOPIC_OF_TYPE, Decided
from engagement.domain.rooms import RoomState
from engagement.log.checkpoints import Checkpoint, Positions, freeze_room, thaw_room
from engagement.log.codec import decode_envelope, decode_fact, encode_envelope, encode_fact
from engagement.processors.checkpointing import IdWindow
from engagement.processors.fact_headers import fact_headers, order_of
from engagement.processors.recovery import FACT_TOPICS, Fold
from tests.unit.domain_parts import WORDS


@dataclass(frozen=True)
class Record:
    """What of a consumed record is read."""

    key: bytes
    value: bytes
    offset: int
    partition: int
    headers: tuple[tuple[str, bytes], ...]


@dataclass
class World:
    """One partition: its logs, its checkpoint, and the worker that owns it now."""

    topics: dict[str, list[Record]] = field(default_factory=lambda: {t: [] for t in FACT_TOPICS})
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    def __post_init__(self) -> None:
        self.recover()

    def recover(self) -> None:
        """A new worker takes the partition over."""
        checkpoint = Checkpoint(
            rooms={name: _copied(state) for name, state in self.checkpoint.rooms.items()},
            positions_of=dict(self.checkpoint.positions_of),
            room_offset=self.checkpoint.room_offset,
            activity_offset=self.checkpoint.activity_offset,
            known_ids=list(self.checkpoint.known_ids),
            order=self.checkpoint.order,
        )
        recovered = self._folded(checkpoint)
        self.rooms, self.order = recovered.rooms, recovered.order

    def fold_of_everything(self) -> dict[str, RoomState]:
        """The rooms by their log alone, without any checkpoint."""
        return self._folded(Checkpoint()).rooms.rooms

    def _folded(self, checkpoint: Checkpoint) -> Any:
        fold = Fold(checkpoint, WORDS)
        for topic in FACT_TOPICS:
            records = self.topics[topic]
            begin = fold.begin(topic, 0, len(records))
            fold.add(topic, records[begin:])
            fold.end(topic, len(records))
        fold.advance()
        return fold.result()

    def take(self, requests: list[Accepted], gateway: str = "gw") -> list[Decided]:
        """The worker takes one envelope and writes its facts."""
        value = encode_envelope(Envelope(gateway, requests))
        envelope, poison = decode_envelope(value)
        assert poison == []
        return self._write(self.rooms.take(envelope))

    def tick(self, now_us: int) -> list[Decided]:
        """The worker looks at the clock."""
        return self._write(self.rooms.tick(now_us))

    def write_checkpoint(self, rooms: set[str] | None = None, *, marker: bool = True) -> None:
        """All is acknowledged; some or all changed rooms are written, then perhaps the marker."""
        positions = Positions(len(self.topics[ROOM_TOPIC]), len(self.topics[ACTIVITY_TOPIC]))
        written = self.rooms.changed if rooms is None else self.rooms.changed & rooms
        for name in sorted(written):
            self.checkpoint.rooms[name] = _copied(self.rooms.rooms[name])
            self.checkpoint.positions_of[name] = positions
        if marker and rooms is None:
            self.rooms.changed.clear()
            self.checkpoint.room_offset = positions.room
            self.checkpoint.activity_offset = positions.activity
            self.checkpoint.order = self.order
            window = IdWindow(self.checkpoint.known_ids)
            newest = window.take(self.rooms.fresh_ids)
            self.checkpoint.known_ids = [*window.sealed, newest[-1]]
            self.rooms.fresh_ids.clear()

    def crash(self, *, keep_room: int, keep_activity: int) -> None:
        """Only so many facts of each topic have reached the log."""
        del self.topics[ROOM_TOPIC][keep_room:]
        del self.topics[ACTIVITY_TOPIC][keep_activity:]
        self.recover()

    def crash_at_order(self, order: int) -> None:
        """Only the facts that were decided before this one have reached the log."""
        kept = {
            topic: sum(order_of(record.headers) < order for record in records)
            for topic, records in self.topics.items()
        }
        self.crash(keep_room=kept[ROOM_TOPIC], keep_activity=kept[ACTIVITY_TOPIC])

    def lengths(self) -> tuple[int, int]:
        return len(self.topics[ROOM_TOPIC]), len(self.topics[ACTIVITY_TOPIC])

    def facts(self, topic: str | None = None) -> list[Decided]:
        """What consumers of the log see: in order of decision, the first of each id per topic."""
        placed = []
        for name in FACT_TOPICS if topic is None else (topic,):
            seen: set[str] = set()
            for record in self.topics[name]:
                fact = decode_fact(record.value)
                if fact.id not in seen:
                    seen.add(fact.id)
                    placed.append((order_of(record.headers), fact))
        return [fact for _, fact in sorted(placed, key=lambda each: each[0])]

    def _write(self, facts: list[Decided]) -> list[Decided]:
        for fact in facts:
            log = self.topics[TOPIC_OF_TYPE[fact.kind]]
            headers = fact_headers(self.order, b"life")
            log.append(Record(fact.room.encode(), encode_fact(fact), len(log), 0, headers))
            self.order += 1
        return facts


def _copied(state: RoomState) -> RoomState:
    """Through the bytes of a checkpoint and back."""
    frozen = freeze_room(state, 1)
    return thaw_room(frozen.body, frozen.state_bytes, with_leases=True)
