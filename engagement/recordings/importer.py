"""Writing a planned import to the log, as a gateway would, and waiting for its facts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from msgspec.structs import replace

from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import (
    ACTIVITY_TOPIC,
    CLOCK_TOPIC,
    ROOM_TOPIC,
    RawFact,
    RequestRefused,
)
from engagement.errors import ConflictError, UnavailableError
from engagement.log.codec import (
    PoisonError,
    decode_data,
    decode_raw,
    encode_envelope,
    encode_fact,
)
from engagement.log.topics import REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.recordings.past import RoomPast
from engagement.recordings.plan import ImportPlan, anchor_facts, plan_import
from engagement.recordings.reading import Recording
from engagement.settings import Settings

REQUESTS_PER_ENVELOPE: Final = 200
"""500 characters are 2 KB of UTF-8 (3 KB escaped): 600 KB of the 1 MB that a record may have."""
PENDING_BYTES_MAX: Final = 4 * 1024 * 1024
"""Beyond this the broker is waited for: a long recording is not held in memory twice."""
GATEWAY: Final = "importer"
STALL_S: Final = 30
"""Without a single new fact for so long, no worker is running: a restart takes 4 s, a lost host's
partitions move after 10."""
QUIET_S: Final = 2.0
"""After the closing's fact: what has not come by then was a repeat, which makes no fact."""

Tell = Callable[[int, int], None]


class Imported(Struct, frozen=True):
    """What came of an import."""

    plan: ImportPlan
    written: int
    """Requests that have their facts now and had none before."""
    already_there: int
    refused: dict[str, int]
    """Requests that the room did not grant, by code: the moderator's word list, mostly."""


class Importer:
    """One import into one room."""

    def __init__(self, settings: Settings, room: str) -> None:
        self._settings = settings
        self._room = room
        self._partition = partition_of(room, settings.partitions)

    async def run(self, recording: Recording, *, host: str, title: str, tell: Tell) -> Imported:
        """Plan, write and wait.

        Raises ConflictError when the room is live, or is closed while the import runs, and
        UnavailableError when nobody processes.
        """
        past = await self._past()
        self._check(past, host)
        plan = plan_import(recording, room=self._room, host=host, title=title, past=past)
        if plan.closing.request.id in past.epoch_of_request:
            return Imported(plan, 0, plan.already_there, {})
        fresh = plan.requests
        consumer = self._consumer()
        await consumer.start()
        try:
            places = self._places(ROOM_TOPIC, ACTIVITY_TOPIC)
            consumer.assign(places)
            for place, end in (await consumer.end_offsets(places)).items():
                consumer.seek(place, end)
            await self._write(plan, fresh)
            missing, refused = await self._wait(consumer, plan, fresh, tell)
        finally:
            await consumer.stop()
        written = len(fresh) - len(missing) - sum(refused.values())
        return Imported(plan, written, plan.already_there + len(missing), dict(refused))

    def _check(self, past: RoomPast, host: str) -> None:
        if past.open_as == "live":
            raise ConflictError(
                f"room {self._room} is live; import into another one", code="room_is_live"
            )
        if past.open_as and past.host != host:
            raise ConflictError(
                f"an import into room {self._room} was broken off; its host is {past.host}",
                code="room_taken",
            )

    async def _write(self, plan: ImportPlan, fresh: Sequence[Accepted]) -> None:
        writer = LogWriter(self._settings.bootstrap_servers, client_id=GATEWAY)
        await writer.start()
        try:
            for fact in anchor_facts(plan, self._room):
                value = encode_fact(fact)
                writer.append(CLOCK_TOPIC, self._partition, self._room.encode(), value)
            await writer.acknowledged(CLOCK_TOPIC, self._partition)
            asked = [plan.opening, *fresh, plan.closing]
            for first in range(0, len(asked), REQUESTS_PER_ENVELOPE):
                envelope = _envelope(plan, asked[first : first + REQUESTS_PER_ENVELOPE])
                value = encode_envelope(envelope)
                writer.append(REQUESTS_TOPIC, self._partition, GATEWAY.encode(), value)
                if writer.pending_bytes() > PENDING_BYTES_MAX:
                    await writer.acknowledged(REQUESTS_TOPIC, self._partition)
            await writer.acknowledged(REQUESTS_TOPIC, self._partition)
        finally:
            await writer.stop()

    async def _wait(
        self, consumer: Any, plan: ImportPlan, fresh: Sequence[Accepted], tell: Tell
    ) -> tuple[set[str], Counter[str]]:
        """Wait for the facts; returns requests that have none (repeats), and refusals by code."""
        waiting = {asked.request.id for asked in fresh}
        refused: Counter[str] = Counter()
        loop = asyncio.get_running_loop()
        heard_s = loop.time()
        closed = False
        while waiting or not closed:
            fetched = await consumer.getmany(timeout_ms=250)
            if fetched:
                heard_s = loop.time()
            for fact in self._facts(fetched):
                if fact.type == "request.refused":
                    self._check_refusal(decode_data(fact), plan, waiting, refused)
                waiting.discard(fact.causationid)
                closed = closed or fact.causationid == plan.closing.request.id
            tell(len(fresh) - len(waiting), len(fresh))
            silent_s = loop.time() - heard_s
            if closed and silent_s > QUIET_S:
                break
            if silent_s > STALL_S:
                raise UnavailableError(
                    "the requests are on the log, but no worker processes them: start "
                    "`engagement up` or `engagement worker`; the import goes on by itself",
                    code="no_worker",
                )
        return waiting, refused

    def _check_refusal(
        self, refusal: RequestRefused, plan: ImportPlan, waiting: set[str], refused: Counter[str]
    ) -> None:
        if refusal.request in waiting and refusal.code != "room_closed":
            refused[refusal.code] += 1
        elif refusal.request in waiting:
            raise ConflictError(
                f"room {self._room} was closed while the import ran; import it again",
                code="room_closed",
            )
        elif refusal.request in (plan.opening.request.id, plan.closing.request.id):
            raise ConflictError(
                f"room {self._room} cannot be opened for the recording: {refusal.code}",
                code=refusal.code,
            )

    async def _past(self) -> RoomPast:
        """What the log says of the room."""
        past = RoomPast()
        for topics in ((ROOM_TOPIC, ACTIVITY_TOPIC), (CLOCK_TOPIC,)):
            async for fact in self._read_all(*topics):
                past.learn(fact, decode_data(fact))
        return past

    async def _read_all(self, *topics: str) -> AsyncIterator[RawFact]:
        """The room's facts on these topics, from the first to what is the last one now."""
        consumer = self._consumer()
        await consumer.start()
        try:
            places = self._places(*topics)
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            await consumer.seek_to_beginning(*places)
            left = set(places)
            while left := {place for place in left if await consumer.position(place) < ends[place]}:
                for fact in self._facts(await consumer.getmany(timeout_ms=250)):
                    yield fact
        finally:
            await consumer.stop()

    def _facts(self, fetched: dict[TopicPartition, list[Any]]) -> list[RawFact]:
        """This room's readable facts: what is poison is no concern of an import."""
        facts = []
        for records in fetched.values():
            for record in records:
                if record.key != self._room.encode():
                    continue
                try:
                    fact = decode_raw(record.value)
                    decode_data(fact)
                except PoisonError:
                    continue
                facts.append(fact)
        return facts

    def _consumer(self) -> Any:
        return AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap_servers, auto_offset_reset="earliest"
        )

    def _places(self, *topics: str) -> list[TopicPartition]:
        return [TopicPartition(topic, self._partition) for topic in topics]


def _envelope(plan: ImportPlan, asked: Sequence[Accepted]) -> Envelope:
    """An envelope with only the anchors that its requests name, renumbered."""
    used: dict[int, int] = {}
    renumbered = []
    for one in asked:
        if isinstance(one.anchor, int):
            place = used.setdefault(one.anchor, len(used))
            renumbered.append(replace(one, anchor=place))
        else:
            renumbered.append(one)
    clock = [ClockEntry(plan.anchors[number]) for number in used]
    return Envelope(gateway=GATEWAY, requests=renumbered, clock=clock)
