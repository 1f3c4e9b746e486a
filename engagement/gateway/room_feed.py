"""What arrives from the log: facts of the room topic to the directory and the hub, refusals of
the activity topic to the socket that asked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.events import Decided, RawFact, decided, unix_us
from engagement.domain.names import is_room_id
from engagement.domain.seen_ids import SeenIds
from engagement.gateway import metrics
from engagement.gateway.frames import Event
from engagement.gateway.hub import Channel, Hub
from engagement.gateway.intake import partition_of_room
from engagement.gateway.room_directory import FOLDED_TYPES, RoomDirectory

log = structlog.get_logger()

_REFUSED: Final = b'"type":"request.refused"'
_HELD: Final = b'"type":"comment.held"'
"""How these look in the bytes: everything else of the activity topic is not even decoded."""

_POISON: Final = (
    msgspec.MsgspecError,
    RecursionError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
)
"""What reading bytes that are no fact of ours may raise; times without a zone are a TypeError."""


class Refusal(Struct, frozen=True):
    """A request that the room processor or the ledger refused."""

    room: str
    actor: str
    request: str
    request_type: str
    code: str
    session: str


class _Head(Struct, frozen=True, gc=False):
    """What of a fact is looked at before it is fanned out."""

    id: str
    type: str
    time: str
    roomid: str


_HEADS: Final = msgspec.json.Decoder(_Head)
_FACTS: Final = msgspec.json.Decoder(RawFact)


class RoomFeed:
    """Takes records of the fact topics in, in order, and drops repeats and poison."""

    def __init__(self, hub: Hub, directory: RoomDirectory, partitions: int) -> None:
        self._hub = hub
        self._directory = directory
        self._partitions = partitions
        self._seen: dict[int, SeenIds[bool]] = {
            partition: SeenIds(limits.TAIL_IDS_PER_PARTITION) for partition in range(partitions)
        }
        self._seen_held: SeenIds[bool] = SeenIds(limits.HELD_COMMENTS_PER_ROOM)
        self._fold_from: dict[int, int] = {}
        self._fold_room_from: Mapping[str, int] = {}
        self.banned: Callable[[str, str], None] = lambda room, actor: None
        """Told who was banned from where."""
        self.opened: Callable[[str], None] = lambda room: None
        """Told which room a session began in."""
        self.refused: Callable[[Refusal], None] = lambda refusal: None
        """Told every refusal; whose it is, the listener finds out."""
        self.held: Callable[[str, bytes], None] = lambda room, value: None
        """Told which comment waits for a moderator, and where."""
        self.gift_sent: Callable[[Decided], None] = lambda fact: None
        """Told every paid gift."""

    def fold_from(self, partitions: Mapping[int, int], rooms: Mapping[str, int]) -> None:
        """Facts before these offsets are in the checkpoint: kept for resume, not folded."""
        self._fold_from = dict(partitions)
        self._fold_room_from = rooms

    def caught_up(self) -> None:
        """Everything that is still to come is newer than the checkpoint."""
        self._fold_from, self._fold_room_from = {}, {}

    def handle_room(self, partition: int, records: Sequence[Any]) -> None:
        """Take records of the room topic in."""
        seen = self._seen[partition]
        for record in records:
            try:
                self._take(partition, record.offset, record.value, seen)
            except _POISON as error:
                _poison("room_poison", partition, record.offset, error)
        metrics.FACTS.inc(len(records))
        self._hub.read_up_to(partition, records[-1].offset + 1)

    def handle_activity(self, partition: int, records: Sequence[Any]) -> None:
        """Look for refusals and held comments among records of the activity topic."""
        for record in records:
            value = record.value
            if value is None or (_REFUSED not in value and _HELD not in value):
                continue
            try:
                self._take_activity(value)
            except _POISON as error:
                _poison("activity_poison", partition, record.offset, error)

    def _take_activity(self, value: bytes) -> None:
        fact = _FACTS.decode(value)
        if fact.type == "request.refused":
            data = fact.decode()
            self.refused(
                Refusal(
                    room=fact.roomid,
                    actor=fact.actorid,
                    request=data.request,
                    request_type=data.request_type,
                    code=data.code,
                    session=data.session,
                )
            )
        elif fact.type == "comment.held" and self._seen_held.get(fact.id) is None:
            _check_fans_out(value)
            fact.decode()
            self._seen_held.add(fact.id, True)
            self.held(fact.roomid, value)

    def _take(self, partition: int, offset: int, value: bytes | None, seen: SeenIds[bool]) -> None:
        if value is None:
            raise ValueError("no value")
        _check_fans_out(value)
        head = _HEADS.decode(value)
        if seen.get(head.id):
            metrics.FACTS_DROPPED.labels("duplicate").inc()
            return
        channel = self._channel(head.roomid, partition)
        kind = head.type
        if kind in FOLDED_TYPES:
            self._fold(value, partition, offset)
        elif kind == "comment.removed":
            self._hub.remove_comment(channel, _FACTS.decode(value).decode().target)
        timed = kind == "gift.sent" or (kind == "comment.posted" and not channel.pending)
        at_us = unix_us(head.time) if timed and channel.viewers else 0
        seen.add(head.id, True)
        self._hub.publish(channel, Event(offset, kind, head.id, value, at_us))

    def _channel(self, room: str, partition: int) -> Channel:
        channel = self._hub.find(room)
        if channel is None:
            if not is_room_id(room):
                raise ValueError("not a room id")
            channel = self._hub.channel(room, partition_of_room(room, self._partitions))
        if channel.partition != partition:
            raise ValueError("the room belongs to another partition")
        return channel

    def _fold(self, value: bytes, partition: int, offset: int) -> None:
        raw = _FACTS.decode(value)
        if offset < self._fold_room_from.get(raw.roomid, self._fold_from.get(partition, 0)):
            return
        fact = decided(raw)
        self._directory.fold(fact)
        if fact.kind == "viewer.banned":
            self.banned(fact.room, fact.data.target)
        elif fact.kind == "room.opened":
            self.opened(fact.room)
        elif fact.kind == "gift.sent":
            self.gift_sent(fact)


def _check_fans_out(value: bytes) -> None:
    """Raise ValueError for what must not get into a frame."""
    if len(value) > limits.TAIL_FACT_BYTES_MAX:
        raise ValueError("larger than any fact")
    if not value.isascii():
        value.decode()  # One bad byte would cost every viewer its connection (RFC 6455 8.1).


def _poison(reason: str, partition: int, offset: int, error: Exception) -> None:
    metrics.FACTS_DROPPED.labels(reason).inc()
    log.warning("tail.poison", kind=reason, partition=partition, offset=offset, error=str(error))
