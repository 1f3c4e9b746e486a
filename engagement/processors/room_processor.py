"""The room processor without its host: envelopes in, facts out, acknowledged when they are safe.

What an envelope does to rooms is `RoomPartition.take_request`; this adds what a process needs
around it: ownership, recovery behind a gate, writing, checkpoints, the tick, and dying rather
than losing anything.
"""

import asyncio
import time
import uuid
from collections.abc import Iterable
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from engagement.domain import limits
from engagement.domain.envelope import Envelope
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC, Decided
from engagement.domain.moderation import Moderator
from engagement.errors import UnavailableError
from engagement.log.checkpoints import write_checkpoint
from engagement.log.codec import PoisonError, decode_envelope
from engagement.log.dead_letters import DEAD_LETTER_PARTITION, DeadLetters
from engagement.log.topics import DEAD_LETTER_TOPIC, ROOM_STATE_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.processors import metrics
from engagement.processors.dying import die
from engagement.processors.intruders import facts_of_others
from engagement.processors.owned_partition import Acknowledge, OwnedPartition
from engagement.processors.recovery import end_positions, recover
from engagement.settings import Settings

log = structlog.get_logger()

TICK_S: Final = 0.05
"""Windows are 250 ms; a fifth of that is how late one may close."""
PENDING_BYTES_MAX: Final = 32 * 1024 * 1024
"""Facts that wait for the broker; beyond it no envelope is taken until it has caught up."""
WAITING_RECORDS_MAX: Final = 2_000
"""Envelopes of partitions that are still being recovered; beyond it the others wait, too."""

_Waiting = list[tuple[Any, Acknowledge]]


class RoomProcessor:
    """The partitions that this worker owns."""

    def __init__(self, settings: Settings, moderator: Moderator) -> None:
        self._settings = settings
        self._moderator = moderator
        self._writer = LogWriter(
            settings.bootstrap_servers, client_id=f"room-worker-{settings.worker_id}"
        )
        self._life = f"{settings.worker_id}-{uuid.uuid4().hex[:8]}".encode()
        self._dead_letters = DeadLetters(self._writer)
        self._owned: dict[int, OwnedPartition] = {}
        self._parked: dict[int, OwnedPartition] = {}
        self._recovering: dict[int, _Waiting] = {}
        self._recovered = asyncio.Event()
        """No partition of ours is being recovered: the gate."""
        self._assignment = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False
        self._stopping = False
        self._alive_at_s = time.monotonic()

    async def start(self) -> None:
        """Connect the writer; idempotent."""
        if not self._started:
            self._started = True
            await self._writer.start()

    async def stop(self) -> None:
        """Take nothing more, checkpoint what has changed and flush; every acknowledgement that is
        due has been given when this returns."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        try:
            async with asyncio.timeout(limits.WORKER_STOP_TIMEOUT_S):
                await self.checkpoint(all_changed=True)
        except (TimeoutError, UnavailableError) as error:
            log.warning("stopped without a checkpoint", error=repr(error))
        await self._writer.stop()

    # --- ownership -------------------------------------------------------------------------------

    def revoked(self, partitions: Iterable[int]) -> None:
        """These may be somebody else's now. Their state is kept, in case they come back."""
        self._assignment += 1
        for number in partitions:
            owned = self._owned.pop(number, None)
            if owned is not None:
                self._parked[number] = owned
        # What waits is delivered again, to whoever gets the partition.
        self._recovering.clear()
        self._recovered.clear()

    def assigned(self, partitions: Iterable[int]) -> None:
        """Own these, as soon as their state is here: until then their envelopes wait."""
        self._assignment += 1
        self._recovering = {number: [] for number in partitions if number not in self._owned}
        self._recovered.clear()
        task = asyncio.ensure_future(self._bring_back(self._assignment, sorted(self._recovering)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring_back(self, assignment: int, wanted: list[int]) -> None:
        started_s = time.monotonic()
        try:
            await self.start()
            kept = await self._unchanged(wanted)
            self._adopt(assignment, kept)
            fresh = [number for number in wanted if number not in kept]
            recovered = await recover(self._settings.bootstrap_servers, fresh, self._moderator)
        except (KafkaError, OSError, UnavailableError) as error:
            die("recovery failed", error)
        taken = {
            number: OwnedPartition(
                number,
                each,
                self._writer,
                life=self._life,
                intruder=self._intruded,
                failed=_failed,
            )
            for number, each in recovered.items()
        }
        self._adopt(assignment, taken)
        if assignment == self._assignment:
            self._parked.clear()
            self._recovered.set()
            took_s = time.monotonic() - started_s
            metrics.RECOVERY_SECONDS.observe(took_s)
            log.info(
                "partitions assigned", kept=sorted(kept), fresh=fresh, took_ms=round(took_s * 1000)
            )

    def _adopt(self, assignment: int, partitions: dict[int, OwnedPartition]) -> None:
        if assignment != self._assignment:
            return  # A rebalance has overtaken this recovery.
        for number, owned in partitions.items():
            self._owned[number] = owned
            for record, acknowledge in self._recovering.pop(number, []):
                self._process(owned, record, acknowledge)

    async def _unchanged(self, wanted: Iterable[int]) -> dict[int, OwnedPartition]:
        """Partitions that came back and that nobody has written to in between."""
        parked = {number: self._parked[number] for number in wanted if number in self._parked}
        if not parked:
            return {}
        written = {number: await owned.positions() for number, owned in parked.items()}
        ends = await end_positions(self._settings.bootstrap_servers, parked)
        return {
            number: owned for number, owned in parked.items() if written[number] == ends[number]
        }

    async def ready(self) -> None:
        """Back-pressure: returns when there is room for another envelope."""
        if sum(map(len, self._recovering.values())) >= WAITING_RECORDS_MAX:
            await self._recovered.wait()
        if self._writer.pending_bytes() > PENDING_BYTES_MAX:
            for number in list(self._owned):
                for topic in (ROOM_TOPIC, ACTIVITY_TOPIC):
                    try:
                        await self._writer.acknowledged(topic, number)
                    except UnavailableError as error:
                        die("facts were not acknowledged", error)

    # --- the flow --------------------------------------------------------------------------------

    def process(self, record: Any, acknowledge: Acknowledge) -> None:
        """One record of the requests topic; `acknowledge` is called once its facts are safe.

        Never awaits: awaiting acknowledgements here would serialise the flow at one per envelope.
        """
        self._refuse_to_be_a_zombie()
        owned = self._owned.get(record.partition)
        if self._stopping:
            return
        if owned is not None:
            owned.next_request = record.offset + 1
            self._process(owned, record, acknowledge)
        elif record.partition in self._recovering:
            self._recovering[record.partition].append((record, acknowledge))
        # Otherwise revoked meanwhile: it was never acknowledged, so whoever owns it now has it.

    def _process(self, owned: OwnedPartition, record: Any, acknowledge: Acknowledge) -> None:
        others: list[tuple[str, int]] = []
        facts: list[Decided] = []
        try:
            envelope, poison = decode_envelope(record.value)
        except PoisonError as error:
            poison = [error]
        else:
            repeats = owned.rooms.repeats
            self._take(owned, envelope, facts, poison)
            metrics.REPEATS.inc(owned.rooms.repeats - repeats)
            metrics.observe_envelope(envelope, facts)
            acknowledge = metrics.observed_when_written(envelope, acknowledge)
        if poison:
            self._dead_letters.put(record, _reasons(poison))
            others.append((DEAD_LETTER_TOPIC, DEAD_LETTER_PARTITION))
        owned.acknowledge_after(self._write(owned, facts), others, acknowledge)

    def _take(
        self,
        owned: OwnedPartition,
        envelope: Envelope,
        facts: list[Decided],
        poison: list[PoisonError],
    ) -> None:
        partitions = self._settings.partitions
        for asked in envelope.requests:
            if asked.room and partition_of(asked.room, partitions) != owned.number:
                # Nobody of ours sent it: its facts would be where nobody looks for them.
                reason = f"request {asked.request.id}: its room is not of this partition"
                poison.append(PoisonError(reason))
                continue
            try:
                owned.rooms.take_request(envelope, asked, facts)
            except Exception as error:
                # Ours to mend, but not at the price of a partition that stands still.
                log.exception("request cannot be decided", request=asked.request.id)
                poison.append(PoisonError(f"request {asked.request.id}: {error!r}"))

    def _write(self, owned: OwnedPartition, facts: list[Decided]) -> set[str]:
        try:
            return owned.write(facts)
        except UnavailableError as error:
            die("facts cannot be written", error)

    # --- time ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Close windows and end leases by the wall clock."""
        self._refuse_to_be_a_zombie()
        self._alive_at_s = time.monotonic()
        if self._stopping:
            return
        now_us = time.time_ns() // 1000
        for owned in self._owned.values():
            facts = owned.rooms.tick(now_us)
            if facts:
                metrics.observe_facts(facts)
                owned.acknowledge_after(self._write(owned, facts), (), lambda: None)

    def next_requests(self) -> dict[int, int]:
        """Offset of the next request record to be processed, per partition; for the lag."""
        return {
            number: owned.next_request
            for number, owned in self._owned.items()
            if owned.next_request is not None
        }

    def _refuse_to_be_a_zombie(self) -> None:
        """A worker that slept longer than its session has lost its partitions: it must not write.

        (SIGSTOP, a suspended machine, a starved container.)
        """
        asleep_s = time.monotonic() - self._alive_at_s
        if asleep_s > limits.SESSION_TIMEOUT_S * 0.8 and self._owned:
            die(f"asleep for {asleep_s:.1f} s")

    # --- checkpoints -----------------------------------------------------------------------------

    async def checkpoint(self, *, all_changed: bool = False) -> None:
        """Write the rooms that changed, of the partitions where it is due."""
        for owned in list(self._owned.values()):
            is_due = owned.checkpointing.is_due(owned.rooms, owned.facts_since_checkpoint)
            if is_due or (all_changed and owned.rooms.changed):
                await self._checkpoint(owned)

    async def _checkpoint(self, owned: OwnedPartition) -> None:
        # Frozen and asked for in one turn of the loop: the states are the fold of exactly the
        # facts that were appended so far.
        order = owned.order
        frozen = owned.checkpointing.freeze(owned.rooms)
        owned.facts_since_checkpoint = 0
        positions = await owned.positions()
        if self._owned.get(owned.number) is not owned:
            # Parked; if it comes back, all of this is still to be written.
            owned.rooms.changed.update(room.room for room in frozen.rooms)
            return
        self._refuse_to_be_a_zombie()
        begin = owned.checkpointing.begin(frozen)
        written = write_checkpoint(
            self._writer, owned.number, frozen.rooms, positions, begin, frozen.known_ids, order
        )
        last = await self._writer.acknowledged(ROOM_STATE_TOPIC, owned.number)
        owned.checkpointing.wrote(frozen, written, last)
        metrics.CHECKPOINT_BYTES.inc(written)

    # --- intruders -------------------------------------------------------------------------------

    def _intruded(self, owned: OwnedPartition, topic: str, first: int, last: int) -> None:
        task = asyncio.ensure_future(self._look(owned.number, topic, first, last))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, number: int, topic: str, first: int, last: int) -> None:
        """Somebody else wrote to our facts: fatal if these are facts, too."""
        try:
            foreign = await facts_of_others(
                self._settings.bootstrap_servers, topic, number, first, last, self._life
            )
        except (KafkaError, OSError) as error:
            die("cannot see what somebody else has written", error)
        if foreign:
            # Ours were decided without them. Whoever starts now folds them, in their place.
            die(f"{foreign} facts of somebody else in {topic}/{number} before offset {last}")
        log.warning("foreign records", topic=topic, partition=number, first=first, last=last)


def _failed(error: BaseException) -> None:
    die("facts were not acknowledged", error)


def _reasons(poison: list[PoisonError]) -> str:
    return "; ".join(error.reason for error in poison[:10])
