"""The room processor without its host: envelopes in, facts out, acknowledged when they are safe.

What an envelope does to rooms is `RoomPartition.take`; this adds what a process needs around it:
recovery behind a gate, writing, checkpoints, the tick, and dying rather than losing anything.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from engagement.domain import limits
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC, TOPIC_OF_TYPE, Decided
from engagement.domain.moderation import Moderator
from engagement.log.checkpoints import Positions, freeze_room, write_checkpoint
from engagement.log.codec import PoisonError, decode_envelope, encode_fact
from engagement.log.dead_letters import DEAD_LETTER_PARTITION, DeadLetters
from engagement.log.topics import DEAD_LETTER_TOPIC, ROOM_STATE_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.processors import metrics
from engagement.processors.recovery import RecoveredPartition, end_positions, recover
from engagement.settings import Settings

log = structlog.get_logger()

TICK_S: Final = 0.05
"""Windows are 250 ms; a fifth of that is how late one may close."""
PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""Facts that wait for the broker; beyond it no envelope is taken until it has caught up."""


def die(reason: str, error: BaseException | None = None) -> None:
    """End the process at once. The supervisor restarts it, and it replays from its commit."""
    log.error("worker dies", reason=reason, error=repr(error))
    os._exit(70)


class RoomProcessor:
    """The partitions that this worker owns."""

    def __init__(self, settings: Settings, moderator: Moderator) -> None:
        self._settings = settings
        self._moderator = moderator
        self._writer = LogWriter(
            settings.bootstrap_servers, client_id=f"room-worker-{settings.worker_id}"
        )
        self._dead_letters = DeadLetters(self._writer)
        self._owned: dict[int, RecoveredPartition] = {}
        self._parked: dict[int, RecoveredPartition] = {}
        self._open = asyncio.Event()
        self._started = False
        self._alive_at_s = time.monotonic()

    async def start(self) -> None:
        """Connect the writer; idempotent."""
        if not self._started:
            self._started = True
            await self._writer.start()

    async def stop(self) -> None:
        """Checkpoint and flush."""
        if self._open.is_set():
            await self.checkpoint()
        await self._writer.stop()

    # --- ownership -------------------------------------------------------------------------------

    def revoked(self, partitions: Iterable[int]) -> None:
        """These may be somebody else's now. Their state is kept, in case they come back."""
        self._open.clear()
        for number in partitions:
            owned = self._owned.pop(number, None)
            if owned is not None:
                self._parked[number] = owned

    async def assigned(self, partitions: Iterable[int]) -> None:
        """Own these: recover them, unless nobody has written to them since we lost them."""
        try:
            await self.start()
            wanted = sorted(set(partitions) - self._owned.keys())
            kept = await self._unchanged(wanted)
            fresh = await recover(
                self._settings.bootstrap_servers,
                [number for number in wanted if number not in kept],
                self._moderator,
            )
            self._owned.update(kept)
            self._owned.update(fresh)
            self._parked.clear()
        except (KafkaError, OSError) as error:
            die("recovery failed", error)
        self._alive_at_s = time.monotonic()
        self._open.set()

    async def _unchanged(self, wanted: Iterable[int]) -> dict[int, RecoveredPartition]:
        parked = {number: self._parked[number] for number in wanted if number in self._parked}
        if not parked:
            return {}
        for number, owned in parked.items():
            owned.positions = await self._written(number, owned.positions)
        ends = await end_positions(self._settings.bootstrap_servers, parked)
        return {
            number: owned for number, owned in parked.items() if owned.positions == ends[number]
        }

    async def ready(self) -> None:
        """Behind the gate: returns when all assigned partitions are recovered."""
        await self._open.wait()
        if self._writer.pending_bytes() > PENDING_BYTES_MAX:
            waiting = [self._writer.acknowledged(ROOM_TOPIC, number) for number in self._owned]
            await asyncio.gather(*waiting)

    # --- the flow --------------------------------------------------------------------------------

    def process(self, record: Any, acknowledge: Callable[[], None]) -> None:
        """One record of the requests topic; `acknowledge` is called once its facts are safe.

        Never awaits: awaiting acknowledgements here would serialise the flow at one per envelope.
        """
        self._refuse_to_be_a_zombie()
        partition = record.partition
        owned = self._owned.get(partition)
        if owned is None:
            return  # Revoked meanwhile: whoever owns it now has it too, it was never acknowledged.
        touched: dict[str, int] = {}
        try:
            envelope, poison = decode_envelope(record.value)
        except PoisonError as error:
            self._set_aside(record, [error])
            touched[DEAD_LETTER_TOPIC] = DEAD_LETTER_PARTITION
        else:
            envelope = self._only_own(envelope, partition, poison)
            if poison:
                self._set_aside(record, poison)
                touched[DEAD_LETTER_TOPIC] = DEAD_LETTER_PARTITION
            facts = owned.rooms.take(envelope)
            touched.update(dict.fromkeys(self._write(partition, facts), partition))
            metrics.observe_envelope(envelope, facts)
        self._acknowledge_after(touched, acknowledge)

    def _only_own(self, envelope: Envelope, partition: int, poison: list[PoisonError]) -> Envelope:
        """Without the requests that belong elsewhere or point nowhere: nobody of ours sent them."""
        mine: list[Accepted] = []
        for asked in envelope.requests:
            reason = self._misplaced(asked, envelope, partition)
            if reason:
                poison.append(PoisonError(reason))
            else:
                mine.append(asked)
        if len(mine) == len(envelope.requests):
            return envelope
        return Envelope(gateway=envelope.gateway, requests=mine, clock=envelope.clock)

    def _misplaced(self, asked: Accepted, envelope: Envelope, partition: int) -> str:
        if isinstance(asked.anchor, int) and not 0 <= asked.anchor < len(envelope.clock):
            return f"request {asked.request.id}: anchor {asked.anchor} is not in the envelope"
        if asked.room and partition_of(asked.room, self._settings.partitions) != partition:
            return f"request {asked.request.id}: room {asked.room} is not of this partition"
        if not asked.room and asked.request.__struct_config__.tag != "lease.renew":
            return f"request {asked.request.id}: names no room"
        return ""

    def _write(self, partition: int, facts: list[Decided]) -> set[str]:
        """Append facts; returns the topics that were written to."""
        topics = set()
        for fact in facts:
            topic = TOPIC_OF_TYPE[fact.kind]
            self._writer.append(topic, partition, fact.room.encode(), encode_fact(fact))
            topics.add(topic)
        return topics

    def _set_aside(self, record: Any, poison: list[PoisonError]) -> None:
        for error in poison:
            self._dead_letters.put(record, error.reason)

    def _acknowledge_after(self, touched: dict[str, int], acknowledge: Callable[[], None]) -> None:
        waiting = [self._writer.acknowledged(topic, number) for topic, number in touched.items()]
        left = len(waiting)
        if not left:
            acknowledge()
            return

        def done(future: asyncio.Future[int]) -> None:
            nonlocal left
            if future.exception() is not None:
                die("facts were not acknowledged", future.exception())
            left -= 1
            if not left:
                acknowledge()

        for future in waiting:
            future.add_done_callback(done)

    # --- time ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Close windows and end leases by the wall clock."""
        self._refuse_to_be_a_zombie()
        self._alive_at_s = time.monotonic()
        if not self._open.is_set():
            return
        now_us = time.time_ns() // 1000
        for number, owned in self._owned.items():
            touched = self._write(number, owned.rooms.tick(now_us))
            self._acknowledge_after(dict.fromkeys(touched, number), lambda: None)

    def _refuse_to_be_a_zombie(self) -> None:
        """A worker that slept longer than its session has lost its partitions: it must not write.

        (SIGSTOP, a suspended machine, a starved container.)
        """
        asleep_s = time.monotonic() - self._alive_at_s
        if asleep_s > limits.SESSION_TIMEOUT_S * 0.8 and self._open.is_set():
            die(f"asleep for {asleep_s:.1f} s")

    async def checkpoint(self) -> None:
        """Write the rooms that changed, once all facts they are folded from are acknowledged."""
        for number, owned in list(self._owned.items()):
            if not owned.rooms.changed:
                continue
            # Frozen and asked for in one turn of the loop: the states are the fold of exactly the
            # facts that were appended so far.
            frozen = [freeze_room(owned.rooms.rooms[room]) for room in sorted(owned.rooms.changed)]
            owned.rooms.changed.clear()
            owned.positions = await self._written(number, owned.positions)
            if self._owned.get(number) is not owned:
                continue
            records = [record for room in frozen for record in room.records(owned.positions)]
            write_checkpoint(self._writer, number, records, owned.positions)
            await self._writer.acknowledged(ROOM_STATE_TOPIC, number)

    async def _written(self, number: int, since: Positions) -> Positions:
        """The positions after everything that was appended so far."""
        waiting = (
            self._writer.acknowledged(ROOM_TOPIC, number),
            self._writer.acknowledged(ACTIVITY_TOPIC, number),
        )
        room, activity = await asyncio.gather(*waiting)
        return Positions(max(since.room, room + 1), max(since.activity, activity + 1))
