"""`engagement verify stamps`: every stamp again, from the topics alone (ADR 0005).

Epoch and media time follow from the fact's `time` and the anchor that it names, read from the
clock topic. The uncertainty also holds the lag of the gateway that accepted the request, which is
in its envelope: it is derived again as long as the envelope is kept. Without a media clock the
stamp is wall time since the room opened, which the room topic tells.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from rich.console import Console

from engagement.commands.progress import counted
from engagement.domain.clock_events import anchor_of
from engagement.domain.events import (
    ACTIVITY_TOPIC,
    CLOCK_TOPIC,
    ROOM_TOPIC,
    ClockAnchored,
    RawFact,
    unix_us,
)
from engagement.domain.media_time import WALL_EPOCH, Anchor, stamp, wall_stamp
from engagement.log.codec import PoisonError, decode_data, decode_envelope, decode_raw
from engagement.log.topics import REQUESTS_TOPIC, partition_of
from engagement.settings import Settings


class WrongStamp(Struct, frozen=True):
    """The first fact whose stamp does not follow from the topics."""

    topic: str
    partition: int
    offset: int
    fact: str
    what: str


class Verdict(Struct):
    """What was derived again."""

    stamped: int = 0
    """Facts whose epoch and media time came out equal."""
    with_uncertainty: int = 0
    """Of those, facts whose envelope is still there and gave the same uncertainty."""
    without_clock: int = 0
    """Facts of rooms without a media clock: wall time since the room opened."""
    anchor_gone: int = 0
    """Facts whose anchor the clock topic has compacted away."""
    wrong: WrongStamp | None = None


def verify_stamps(settings: Settings) -> int:
    """Exit code 0 when all stamps come out equal, 1 otherwise."""
    console = Console()
    with counted("deriving stamps") as tell:
        verdict = asyncio.run(derive_stamps(settings, tell))
    if verdict.wrong is not None:
        wrong = verdict.wrong
        console.print(
            f"[red]different[/]: {wrong.topic}, partition {wrong.partition}, offset "
            f"{wrong.offset}, fact {wrong.fact}: {wrong.what}"
        )
        return 1
    console.print(
        f"[green]equal[/]: {verdict.stamped} stamps derived again ({verdict.with_uncertainty} with "
        f"their uncertainty), {verdict.without_clock} without a media clock, "
        f"{verdict.anchor_gone} whose anchor is gone"
    )
    return 0


class Evidence(Struct):
    """What the stamps of one partition are derived from."""

    anchors: dict[str, Anchor]
    lags_of_request: dict[tuple[str, str], set[tuple[int, str | None, float]]]
    """(accepted µs, anchor, lag) of every envelope a request was in, by (room, request)."""
    lags_at: dict[tuple[str, int, str], set[float]]
    """The same by (room, accepted µs, anchor): facts that no request caused carry the time and
    the stamp of one that a request did."""
    openings_us: dict[str, set[int]]
    """When each room opened, again and again."""


async def derive_stamps(
    settings: Settings, tell: Any = lambda *_: None, *, room: str | None = None
) -> Verdict:
    """Derive the stamp of every fact of both fact topics, partition by partition.

    `room` leaves all other rooms out.
    """
    verdict = Verdict()
    bootstrap = settings.bootstrap_servers
    numbers = range(settings.partitions)
    for number in numbers if room is None else [partition_of(room, settings.partitions)]:
        evidence = await _gather(bootstrap, number)
        for topic in (ROOM_TOPIC, ACTIVITY_TOPIC):
            async for record in _records(bootstrap, topic, number):
                try:
                    fact = decode_raw(record.value)
                    if room not in (None, fact.roomid):
                        continue
                    what = check_stamp(fact, evidence, verdict)
                except (PoisonError, ValueError):
                    continue  # Not ours: whoever reads it has put it into the dead letters.
                if what:
                    verdict.wrong = WrongStamp(topic, number, record.offset, fact.id, what)
                    return verdict
        tell(number + 1, settings.partitions)
    return verdict


def check_stamp(fact: RawFact, evidence: Evidence, verdict: Verdict) -> str:
    """What is wrong with a stamp, or nothing; counts it. ValueError when `time` is none."""
    at_us = unix_us(fact.time)
    if fact.mediaanchor is None:
        verdict.without_clock += 1
        return _check_wall_time(fact, at_us, evidence.openings_us.get(fact.roomid, set()))
    anchor = evidence.anchors.get(fact.mediaanchor)
    if anchor is None:
        verdict.anchor_gone += 1
        return ""
    derived = stamp(anchor, 0.0, at_us)
    if (derived.epoch, derived.pts_ms) != (fact.mediaepoch, fact.mediapts):
        return (
            f"is {fact.mediaepoch}/{fact.mediapts} ms, "
            f"should be {derived.epoch}/{derived.pts_ms} ms"
        )
    verdict.stamped += 1
    lags_ms = _lags_of(fact, at_us, evidence)
    if lags_ms is None:
        return ""
    uncertainties = sorted({stamp(anchor, lag_ms, at_us).err_ms or 0.0 for lag_ms in lags_ms})
    if fact.mediaerr not in uncertainties:
        return f"uncertainty is {fact.mediaerr} ms, should be one of {uncertainties} ms"
    verdict.with_uncertainty += 1
    return ""


def _check_wall_time(fact: RawFact, at_us: int, openings_us: set[int]) -> str:
    if fact.mediaepoch != WALL_EPOCH or fact.mediaerr is not None:
        return f"epoch {fact.mediaepoch} ± {fact.mediaerr} ms without an anchor"
    # A room that has not opened yet, or opens with this, counts from the fact itself.
    possible = {wall_stamp(opened_us, at_us).pts_ms for opened_us in (*openings_us, at_us)}
    if fact.mediapts in possible:
        return ""
    return f"is {fact.mediapts} ms of wall time, should be one of {sorted(possible)} ms"


def _lags_of(fact: RawFact, at_us: int, evidence: Evidence) -> set[float] | None:
    """The lags that the fact may have been stamped with; None when no envelope is left."""
    if not fact.causationid:
        return evidence.lags_at.get((fact.roomid, at_us, fact.mediaanchor or ""))
    told = evidence.lags_of_request.get((fact.roomid, fact.causationid))
    if told is None:
        return None
    return {lag_ms for when, anchor, lag_ms in told if (when, anchor) == (at_us, fact.mediaanchor)}


async def _gather(bootstrap: str, partition: int) -> Evidence:
    anchors = {anchor.id: anchor async for anchor in _anchors(bootstrap, partition)}
    evidence = Evidence(anchors, defaultdict(set), defaultdict(set), defaultdict(set))
    async for record in _records(bootstrap, REQUESTS_TOPIC, partition):
        try:
            envelope, _ = decode_envelope(record.value)
        except PoisonError:
            continue
        for asked in envelope.requests:
            entry = None
            if isinstance(asked.anchor, int) and 0 <= asked.anchor < len(envelope.clock):
                entry = envelope.clock[asked.anchor]
            key = (asked.room, asked.request.id)
            if entry is None:
                evidence.lags_of_request[key].add((asked.at_us, None, 0.0))
                continue
            told = (asked.at_us, entry.anchor.id, entry.lag_ms)
            evidence.lags_of_request[key].add(told)
            evidence.lags_at[asked.room, asked.at_us, entry.anchor.id].add(entry.lag_ms)
    async for record in _records(bootstrap, ROOM_TOPIC, partition):
        try:
            fact = decode_raw(record.value)
            if fact.type == "room.opened":
                evidence.openings_us[fact.roomid].add(unix_us(fact.time))
        except (PoisonError, ValueError):
            continue
    return evidence


async def _anchors(bootstrap: str, partition: int) -> AsyncIterator[Anchor]:
    async for record in _records(bootstrap, CLOCK_TOPIC, partition):
        try:
            raw = decode_raw(record.value)
            data = decode_data(raw)
        except PoisonError:
            continue
        if isinstance(data, ClockAnchored):
            yield anchor_of(raw.id, raw.type, data)


async def _records(bootstrap: str, topic: str, partition: int) -> AsyncIterator[Any]:
    """Every record of a partition, from the first to what is the last one now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    if record.offset < end:
                        yield record
    finally:
        await consumer.stop()
