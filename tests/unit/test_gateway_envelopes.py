"""Envelopes: one per partition and grid point, whole, bounded, with the anchor that held."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest
from msgspec import UNSET

from engagement.domain import limits
from engagement.domain.media_time import Anchor, RoomClock
from engagement.domain.requests import CommentPost, CommentText
from engagement.gateway.envelopes import EnvelopeWriter, Group
from engagement.gateway.flushes import Grid
from tests.unit.gateway_parts import FakeClocks, FakeLog
from tests.waiting import until


def group(room: str = "kitchen", count: int = 1, at_us: int = 5_000_000, text: str = "hi") -> Group:
    asks = [
        ("ben", CommentPost(id=str(uuid.uuid4()), data=CommentText(text))) for _ in range(count)
    ]
    return Group(room, "viewer", at_us, asks)  # type: ignore[arg-type]


def anchor(name: str, epoch: int, at_us: int) -> Anchor:
    return Anchor(name, epoch, 90_000, 0, 0.0, at_us / 1000, 0.0, 1.0, at_us)


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture
async def writer(log: FakeLog, clocks: FakeClocks) -> EnvelopeWriter:
    grid = Grid(0.05, asyncio.get_running_loop())
    return EnvelopeWriter(log, clocks, grid, gateway="g")


def written(log: FakeLog, count: int) -> Callable[[], Awaitable[bool]]:
    async def enough() -> bool:
        return len(log.records) >= count

    return enough


async def test_a_quiet_gateway_writes_at_once(writer: EnvelopeWriter, log: FakeLog) -> None:
    writer.put(3, group())
    assert log.records == []
    await asyncio.sleep(0)
    assert [partition for partition, _ in log.records] == [3]
    assert log.envelopes[0].gateway == "g"


async def test_a_busy_gateway_writes_all_partitions_together_on_the_grid(
    writer: EnvelopeWriter, log: FakeLog
) -> None:
    loop = asyncio.get_running_loop()
    writer.put(0, group())
    await asyncio.sleep(0)
    first_s = loop.time()
    for partition in (1, 2, 1, 2, 0):
        writer.put(partition, group())
        await asyncio.sleep(0)
    assert len(log.records) == 1
    await until(written(log, 4))
    assert loop.time() - first_s >= 0.04
    assert [partition for partition, _ in log.records[1:]] == [1, 2, 0]
    assert [len(each.requests) for each in log.envelopes] == [1, 2, 2, 1]


async def test_order_within_a_partition_is_the_order_of_acceptance(
    writer: EnvelopeWriter, log: FakeLog
) -> None:
    groups = [group(count=3), group(room="garden"), group(count=2)]
    for each in groups:
        writer.put(0, each)
    writer.flush()
    expected = [request.id for each in groups for _, request in each.asks]
    assert [each.request.id for each in log.envelopes[0].requests] == expected


async def test_a_full_envelope_is_written_and_the_next_begun(
    writer: EnvelopeWriter, log: FakeLog
) -> None:
    for _ in range(5):
        writer.put(0, group(count=400))
    writer.flush()
    assert [len(each.requests) for each in log.envelopes] == [800, 800, 400]


async def test_an_envelope_that_no_broker_would_take_is_split(
    writer: EnvelopeWriter, log: FakeLog
) -> None:
    big = group(count=1_000, text="🎉" * limits.COMMENT_CHARS_MAX)
    flush = writer.put(0, big)
    writer.flush()
    assert len(log.records) > 1
    assert all(len(value) <= limits.ENVELOPE_BYTES_MAX for _, value in log.records)
    ids = [each.request.id for envelope in log.envelopes for each in envelope.requests]
    assert ids == [request.id for _, request in big.asks]
    log.acknowledge()
    assert await flush.done


async def test_a_flush_is_done_when_the_broker_has_it(writer: EnvelopeWriter, log: FakeLog) -> None:
    flush = writer.put(0, group())
    writer.flush()
    assert not flush.done.done()
    log.acknowledge()
    assert await flush.done
    assert flush.acked


async def test_a_flush_that_failed_says_so_and_names_its_keys(
    writer: EnvelopeWriter, log: FakeLog
) -> None:
    failed: list[str] = []
    writer.failed = failed.extend
    flush = writer.put(0, group())
    flush.keys.append("ben/1")
    writer.flush()
    log.fail()
    assert not await flush.done
    assert failed == ["ben/1"]


@pytest.mark.parametrize("error", [ValueError("a bug")])
async def test_a_log_that_cannot_even_be_written_to_fails_that_flush_alone(
    writer: EnvelopeWriter, log: FakeLog, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    append = log.append

    def broken(topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        if partition == 0:
            raise error
        append(topic, partition, key, value)

    monkeypatch.setattr(log, "append", broken)
    bad, good = writer.put(0, group()), writer.put(1, group())
    writer.flush()
    log.acknowledge()
    assert not await bad.done
    assert await good.done


async def test_a_request_names_the_anchor_that_held_when_it_was_accepted(
    writer: EnvelopeWriter, log: FakeLog, clocks: FakeClocks
) -> None:
    clock = clocks.clocks["kitchen"] = RoomClock()
    clock.observe(anchor("old", 1, 1_000_000), 1_020_000)
    writer.put(0, group(at_us=2_000_000))
    writer.put(0, group(at_us=3_500_000))
    writer.put(0, group(room="garden", at_us=3_500_000))
    # A step that holds since 3 s becomes known only now, before the flush.
    clock.observe(anchor("new", 2, 3_000_000), 3_600_000)
    writer.flush()
    [envelope] = log.envelopes
    anchors = [entry.anchor.id for entry in envelope.clock]
    used = [None if r.anchor is UNSET else anchors[r.anchor] for r in envelope.requests]
    assert used == ["old", "new", None]
    assert {entry.lag_ms for entry in envelope.clock} == {600.0}


async def test_the_age_of_what_is_not_acknowledged_is_known(
    writer: EnvelopeWriter, log: FakeLog
) -> None:
    assert writer.stalled_s() == 0
    writer.put(0, group())
    writer.flush()
    assert writer.stalled_s() > 0
    log.acknowledge()
    await asyncio.sleep(0)
    assert writer.stalled_s() == 0


async def test_a_broker_that_is_far_behind_is_seen(writer: EnvelopeWriter, log: FakeLog) -> None:
    assert writer.has_room()
    log.bytes = limits.PENDING_BYTES_MAX
    assert not writer.has_room()
