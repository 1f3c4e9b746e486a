"""`engagement verify stamps`: every stamp again, from the topics alone.

Epoch and media time follow from the fact's `time` and the anchor that it names, read from the
clock topic. The uncertainty also holds the lag of the gateway that accepted the request, which is
in its envelope: it is derived again as long as the envelope is kept.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from rich.console import Console

from engagement.commands.progress import counted
from engagement.domain.events import CLOCK_TOPIC, ROOM_TOPIC, RawFact, unix_us
from engagement.domain.media_time import WALL_EPOCH, Anchor, Stamp, stamp
from engagement.log.codec import PoisonError, decode_envelope, decode_raw
from engagement.log.topics import REQUESTS_TOPIC
from engagement.settings import Settings


class WrongStamp(Struct, frozen=True):
    """The first fact whose stamp does not follow from the topics."""

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
            f"[red]different[/]: {ROOM_TOPIC}, partition {wrong.partition}, offset "
            f"{wrong.offset}, fact {wrong.fact}: {wrong.what}"
        )
        return 1
    console.print(
        f"[green]equal[/]: {verdict.stamped} stamps derived again ({verdict.with_uncertainty} with "
        f"their uncertainty), {verdict.without_clock} without a media clock, "
        f"{verdict.anchor_gone} whose anchor is gone"
    )
    return 0


async def derive_stamps(settings: Settings, tell: Any = lambda *_: None) -> Verdict:
    """Derive the stamp of every fact of the room topic, partition by partition."""
    verdict = Verdict()
    for number in range(settings.partitions):
        anchors = {
            anchor.id: anchor async for anchor in _anchors(settings.bootstrap_servers, number)
        }
        lags = await _lags(settings.bootstrap_servers, number)
        async for record in _records(settings.bootstrap_servers, ROOM_TOPIC, number):
            try:
                fact = decode_raw(record.value)
                wrong = _check(fact, anchors, lags, verdict)
            except (PoisonError, ValueError):
                continue
            if wrong:
                verdict.wrong = WrongStamp(number, record.offset, fact.id, wrong)
                return verdict
        tell(number + 1, settings.partitions)
    return verdict


def _check(
    fact: RawFact,
    anchors: dict[str, Anchor],
    lags: dict[tuple[str, str], float],
    verdict: Verdict,
) -> str:
    """What is wrong with a stamp, or nothing."""
    if fact.mediaepoch == WALL_EPOCH or fact.mediaanchor is None:
        verdict.without_clock += 1
        return ""
    anchor = anchors.get(fact.mediaanchor)
    if anchor is None:
        verdict.anchor_gone += 1
        return ""
    lag_ms = lags.get((fact.roomid, fact.causationid))
    derived = stamp(anchor, lag_ms or 0.0, unix_us(fact.time))
    stated = Stamp(fact.mediaepoch, fact.mediapts, fact.mediaerr, fact.mediaanchor)
    if (derived.epoch, derived.pts_ms) != (stated.epoch, stated.pts_ms):
        return f"is {stated.epoch}/{stated.pts_ms}, should be {derived.epoch}/{derived.pts_ms}"
    verdict.stamped += 1
    if lag_ms is not None:
        if derived.err_ms != stated.err_ms:
            return f"uncertainty is {stated.err_ms} ms, should be {derived.err_ms} ms"
        verdict.with_uncertainty += 1
    return ""


async def _anchors(bootstrap: str, partition: int) -> AsyncIterator[Anchor]:
    async for record in _records(bootstrap, CLOCK_TOPIC, partition):
        try:
            fact = decode_raw(record.value)
            data = fact.decode()
        except (PoisonError, KeyError, ValueError):
            continue
        yield Anchor(
            id=fact.id,
            epoch=data.epoch,
            rate=data.rate,
            rtp=data.rtp,
            pts_ms=data.pts_ms,
            wall_ms=data.wall_ms,
            offset_ms=data.offset_ms,
            err_ms=data.err_ms,
            at_us=data.at_us,
        )


async def _lags(bootstrap: str, partition: int) -> dict[tuple[str, str], float]:
    """Lag by (room, request), as the envelopes that are still kept state it."""
    lags: dict[tuple[str, str], float] = {}
    async for record in _records(bootstrap, REQUESTS_TOPIC, partition):
        try:
            envelope, _ = decode_envelope(record.value)
        except PoisonError:
            continue
        for asked in envelope.requests:
            if isinstance(asked.anchor, int) and 0 <= asked.anchor < len(envelope.clock):
                # The first one counts: later ones are repeats, which make no fact.
                key = (asked.room, asked.request.id)
                lags.setdefault(key, envelope.clock[asked.anchor].lag_ms)
    return lags


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
