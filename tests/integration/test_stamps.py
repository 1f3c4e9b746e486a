"""Stamps end to end: media, gateway and worker as processes, and all stamps derived again."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from engagement.commands.verify_stamps import derive_stamps
from engagement.domain import limits
from engagement.domain.clock_events import anchor_of
from engagement.domain.events import ROOM_TOPIC, RawFact, unix_us
from engagement.domain.media_time import Anchor, pts_at
from engagement.log.codec import decode_raw
from engagement.log.topics import partition_of
from engagement.settings import Settings
from tests.gateway_process import GatewayProcess, Worker
from tests.media_process import ClockReader, Media, media
from tests.waiting import until

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
async def gateway(engines: Settings) -> AsyncIterator[GatewayProcess]:
    worker, gateway = Worker(engines), GatewayProcess(engines)
    worker.start()
    gateway.start()
    yield await gateway.ready()
    gateway.stop()
    worker.stop()


@pytest.fixture(scope="module")
def process(engines: Settings) -> Iterator[Media]:
    with media(engines, []) as process:
        yield process


@asynccontextmanager
async def commenting(gateway: GatewayProcess, room: str) -> AsyncIterator[list[str]]:
    """Somebody who never stops talking; the ids of what was accepted so far."""
    accepted: list[str] = []

    async def talk() -> None:
        while True:
            accepted.append(await gateway.comment(room, "hello", user=f"u{len(accepted) % 7}"))

    task = asyncio.create_task(talk())
    try:
        yield accepted
    finally:
        task.cancel()
        await asyncio.wait({task})


async def talked_about(accepted: list[str]) -> None:
    """Return when what happened last has been commented."""
    wanted = len(accepted) + 3

    async def enough() -> bool:
        return len(accepted) >= wanted

    await until(enough, "comments")


async def comments_of(engines: Settings, room: str, count: int) -> list[RawFact]:
    """The room's comments from the log, once there are so many."""
    at = TopicPartition(ROOM_TOPIC, partition_of(room, engines.partitions))
    consumer = AIOKafkaConsumer(
        bootstrap_servers=engines.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[RawFact] = []
    try:
        consumer.assign([at])
        async with asyncio.timeout(30):
            while len(found) < count:
                record = await consumer.getone()
                if record.key != room.encode():
                    continue  # Other tests share the partition, and some of them write poison.
                fact = decode_raw(record.value)
                if fact.type == "comment.posted":
                    found.append(fact)
        return found
    finally:
        await consumer.stop()


def anchors_of(reader: ClockReader) -> dict[int, list[Anchor]]:
    """By epoch, in order."""
    from engagement.domain.events import ClockAnchored

    anchors: dict[int, list[Anchor]] = defaultdict(list)
    for event in reader.seen:
        data = ClockAnchored(**event["data"])
        anchors[data.epoch].append(anchor_of(event["id"], event["type"], data))
    return anchors


def hindsight_ms(anchors: list[Anchor], at_us: int) -> float:
    """Media time by the anchors on either side of an instant, which no gateway could know."""
    before = [anchor for anchor in anchors if anchor.at_us <= at_us] or anchors[:1]
    after = [anchor for anchor in anchors if anchor.at_us > at_us]
    if before[-1].ended or not after:
        return pts_at(before[-1], at_us)
    earlier, later = before[-1], after[0]
    share = (at_us - earlier.at_us) / (later.at_us - earlier.at_us)
    from_later_ms = later.pts_ms + (at_us / 1000 - later.server_ms)
    return pts_at(earlier, at_us) * (1 - share) + from_later_ms * share


async def wait_for(reader: ClockReader, kind: str, reason: str) -> dict[str, Any]:
    return await reader.until(
        lambda event: event["type"] == kind and event["data"]["reason"] == reason
    )


async def test_all_stamps_are_derived_again_after_steps_drift_and_a_stall(
    engines: Settings, gateway: GatewayProcess, process: Media, room: str
) -> None:
    await process.ready()
    await gateway.open_room(room)
    await process.do(room, "start", drift_ppm=50, clock_offset_ms=-7_000)
    async with ClockReader(engines, room) as reader:
        async with commenting(gateway, room) as accepted:
            await wait_for(reader, "clock.anchored", "settled")
            await process.do(room, "step", of="publisher_clock", by_ms=1_300)
            await wait_for(reader, "clock.stepped", "publisher_clock")
            for by_ms in (-1_300, 1_300):
                await process.do(room, "step", of="media_timeline", by_ms=by_ms)
                await wait_for(reader, "clock.epoch.opened", "media_step")
                await talked_about(accepted)
            await process.do(room, "stall", for_ms=700, kind="late")
            await wait_for(reader, "clock.stepped", "stalled")
            await wait_for(reader, "clock.anchored", "interval")
            await process.do(room, "republish")
            await wait_for(reader, "clock.anchored", "settled")
            await talked_about(accepted)
        facts = await comments_of(engines, room, len(accepted))
    stamped = [fact for fact in facts if fact.mediaanchor is not None]
    assert {fact.mediaepoch for fact in stamped} == {1, 2, 3, 4}
    assert len(stamped) > 50

    verdict = await derive_stamps(engines, room=room)
    assert verdict.wrong is None
    assert verdict.stamped >= len(stamped)
    assert verdict.with_uncertainty >= len(stamped)

    anchors = anchors_of(reader)
    for fact in stamped:
        assert fact.mediaerr is not None
        truth_ms = hindsight_ms(anchors[fact.mediaepoch], unix_us(fact.time))
        assert abs(fact.mediapts - truth_ms) <= fact.mediaerr, fact


async def test_when_the_host_has_left_media_time_stands_still(
    engines: Settings, gateway: GatewayProcess, process: Media, room: str
) -> None:
    await process.ready()
    await gateway.open_room(room)
    await process.do(room, "start")
    async with ClockReader(engines, room) as reader:
        await wait_for(reader, "clock.anchored", "settled")
        await process.do(room, "stop")
        closed = await reader.kind("clock.epoch.closed")
    viewer = await gateway.watch(room)

    hello = await viewer.next("hello")
    known = [anchor["at_us"] for anchor in hello["clock"]]
    while closed["data"]["at_us"] not in known:
        known.append((await viewer.next("clock"))["anchor"]["at_us"])
    await viewer.leave()
    first = await gateway.comment(room, "what happened?")
    second = await gateway.comment(room, "hello?")
    facts = {fact.id: fact for fact in await comments_of(engines, room, 2)}
    stamps = [facts[each].mediapts for each in (first, second)]
    assert stamps == [round(closed["data"]["pts_ms"])] * 2
    assert facts[second].mediaerr == pytest.approx(
        closed["data"]["err_ms"] + limits.ANCHOR_STEP_MS + 0.5, abs=0.01
    )
    assert (await derive_stamps(engines, room=room)).wrong is None
