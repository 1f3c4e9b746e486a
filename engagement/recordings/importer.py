"""Writing a planned import to the log, as a gateway would, and waiting for its facts."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec.structs import replace

from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import ACTIVITY_TOPIC, CLOCK_TOPIC, ROOM_TOPIC
from engagement.errors import ConflictError, UnavailableError
from engagement.log.codec import PoisonError, decode_raw, encode_envelope, encode_fact
from engagement.log.topics import REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.recordings.plan import ImportPlan, anchor_facts
from engagement.settings import Settings

REQUESTS_PER_ENVELOPE: Final = 200
GATEWAY: Final = "importer"
STALL_S: Final = 30
"""Without a single new fact for so long, no worker is running."""

Tell = Callable[[int, int], None]


class Importer:
    """One import into one room."""

    def __init__(self, settings: Settings, room: str) -> None:
        self._settings = settings
        self._room = room
        self._partition = partition_of(room, settings.partitions)
        self._places = [
            TopicPartition(ROOM_TOPIC, self._partition),
            TopicPartition(ACTIVITY_TOPIC, self._partition),
        ]

    async def run(self, plan: ImportPlan, tell: Tell) -> tuple[int, int]:
        """Write the plan and wait; returns (requests written, requests that were there already).

        Raises ConflictError when the room is live, UnavailableError when nobody processes.
        """
        known, status = await self._known()
        if status == "live":
            raise ConflictError(
                f"room {self._room} is live; import into another one", code="room_is_live"
            )
        fresh = [asked for asked in plan.requests if asked.request.id not in known]
        if not fresh and plan.closing.request.id in known:
            return 0, len(plan.requests)
        writer = LogWriter(self._settings.bootstrap_servers, client_id="importer")
        await writer.start()
        try:
            waiting = {asked.request.id for asked in fresh}
            consumer = await self._follow()
            try:
                await self._write(writer, plan, fresh)
                await self._wait(consumer, plan, waiting, tell)
            finally:
                await consumer.stop()
        finally:
            await writer.stop()
        return len(fresh), len(plan.requests) - len(fresh)

    async def _write(self, writer: LogWriter, plan: ImportPlan, fresh: Sequence[Accepted]) -> None:
        for fact in anchor_facts(plan, self._room):
            writer.append(CLOCK_TOPIC, self._partition, self._room.encode(), encode_fact(fact))
        asked = [plan.opening, *fresh, plan.closing]
        for first in range(0, len(asked), REQUESTS_PER_ENVELOPE):
            envelope = _envelope(plan, asked[first : first + REQUESTS_PER_ENVELOPE])
            value = encode_envelope(envelope)
            writer.append(REQUESTS_TOPIC, self._partition, GATEWAY.encode(), value)
        await writer.acknowledged(CLOCK_TOPIC, self._partition)
        await writer.acknowledged(REQUESTS_TOPIC, self._partition)

    async def _follow(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        consumer.assign(self._places)
        for place, end in (await consumer.end_offsets(self._places)).items():
            consumer.seek(place, end)
        return consumer

    async def _wait(
        self, consumer: AIOKafkaConsumer, plan: ImportPlan, waiting: set[str], tell: Tell
    ) -> None:
        """Until the closing's fact, or its repeat's absence, says that all is folded."""
        total = len(waiting)
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + STALL_S
        closed = False
        while waiting or not closed:
            fetched = await consumer.getmany(timeout_ms=250)
            for records in fetched.values():
                deadline_s = loop.time() + STALL_S
                for record in records:
                    if record.key != self._room.encode():
                        continue
                    fact = decode_raw(record.value)
                    waiting.discard(fact.causationid)
                    closed = closed or fact.causationid == plan.closing.request.id
            tell(total - len(waiting), total)
            if closed and not fetched:
                return  # Joins of people who were there already make no fact.
            if loop.time() > deadline_s:
                raise UnavailableError(
                    "the requests are on the log, but no worker processes them: start "
                    "`engagement up` or `engagement worker`; the import goes on by itself",
                    code="no_worker",
                )

    async def _known(self) -> tuple[set[str], str]:
        """Ids of requests that the room has seen, and whether the room is live now."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        known: set[str] = set()
        status = ""
        try:
            consumer.assign(self._places)
            ends = await consumer.end_offsets(self._places)
            left = {place for place, end in ends.items() if end > 0}
            while left:
                for records in (await consumer.getmany(timeout_ms=250)).values():
                    for record in records:
                        if record.key != self._room.encode():
                            continue
                        try:
                            fact = decode_raw(record.value)
                        except PoisonError:
                            continue
                        known.add(fact.causationid)
                        if fact.type == "room.opened":
                            status = "recorded" if fact.decode().recorded else "live"
                        elif fact.type == "room.closed":
                            status = "closed"
                left = {place for place in left if await consumer.position(place) < ends[place]}
        finally:
            await consumer.stop()
        return known, status


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
