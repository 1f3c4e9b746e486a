"""The Faust application that hosts the room processor, and beside it what decides in SQL.

Faust brings group membership, the consumer thread and commits of the acknowledged prefix; the
settings below are the ones without which this collapses (see docs/adr/0007 and 0008).
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import faust
import structlog
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from engagement.domain import limits
from engagement.domain.ledger import BrokenInvariantError
from engagement.domain.moderation import WordList
from engagement.errors import UnavailableError
from engagement.log.topics import REQUESTS_TOPIC
from engagement.processors import metrics
from engagement.processors.deciders import Deciders
from engagement.processors.dying import die
from engagement.processors.room_processor import TICK_S, RoomProcessor
from engagement.settings import Settings

log = structlog.get_logger()

GROUP: Final = "engagement.rooms.v1"
FETCH_MAX_WAIT_MS: Final = 100
"""Faust hard-codes 1,500: with one fetch in flight per broker a quiet partition can hold a busy
one back for that long."""
_CHECK_EVERY_S: Final = 1.0
"""How often it is asked whether a checkpoint is due."""


def build(settings: Settings) -> Any:
    """The Faust app of one worker, wired to its processor."""
    faust_dir = settings.data_dir / "faust" / settings.worker_id
    faust_dir.mkdir(parents=True, exist_ok=True)
    moderator = WordList(deny=settings.moderation_deny, hold=settings.moderation_hold)
    processor = RoomProcessor(settings, moderator)
    app = faust.App(
        GROUP,
        broker="kafka://" + settings.bootstrap_servers.replace(",", ";kafka://"),
        store="memory://",
        datadir=str(faust_dir),
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings.partitions,
        stream_wait_empty=False,
        stream_buffer_maxsize=4096,
        stream_publish_on_commit=False,
        broker_commit_interval=limits.COMMIT_INTERVAL_S,
        broker_session_timeout=limits.SESSION_TIMEOUT_S,
        broker_heartbeat_interval=2,
        broker_request_timeout=limits.SESSION_TIMEOUT_S * 2,
        consumer_auto_offset_reset="earliest",
        # KIP-345: a worker that is restarted at once keeps its partitions, and the others never
        # notice that it was away.
        consumer_group_instance_id=f"room-worker-{settings.worker_id}",
    )
    _shorten_fetch_wait()
    _connect(app, processor)
    _connect_deciders(app, Deciders(settings))
    return app


def _connect(app: Any, processor: RoomProcessor) -> None:
    requests = app.topic(
        REQUESTS_TOPIC,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    async def rooms(stream: Any) -> None:
        async for event in stream.noack().events():
            await processor.ready()
            processor.process(event.message, event.ack)

    async def on_assigned(_app: Any, assigned: Iterable[Any], **_: Any) -> None:
        processor.assigned(tp.partition for tp in assigned if tp.topic == REQUESTS_TOPIC)

    async def on_revoked(_app: Any, revoked: Iterable[Any], **_: Any) -> None:
        processor.revoked(tp.partition for tp in revoked if tp.topic == REQUESTS_TOPIC)

    async def ticking() -> None:
        while not app.should_stop:
            await asyncio.sleep(TICK_S)
            processor.tick()

    # Apart from the tick: a checkpoint waits for the broker, windows and leases do not.
    async def checkpointing() -> None:
        while not app.should_stop:
            await asyncio.sleep(_CHECK_EVERY_S)
            _measure_lag(app, processor)
            try:
                await processor.checkpoint()
            except UnavailableError as error:
                die("checkpoint was not acknowledged", error)

    async def on_shutdown(_app: Any, **_: Any) -> None:
        await processor.stop()

    app.agent(requests, name="rooms")(rooms)
    app.task()(ticking)
    app.task()(checkpointing)
    app.on_partitions_assigned.connect(on_assigned, weak=False)
    app.on_partitions_revoked.connect(on_revoked, weak=False)
    app.on_before_shutdown.connect(on_shutdown, weak=False)


def _connect_deciders(app: Any, deciders: Deciders) -> None:
    async def deciding() -> None:
        try:
            await deciders.run()
        except* BrokenInvariantError as wrong:
            die("the books are wrong", wrong)
        except* Exception as failed:
            log.error("decider failed", exc_info=failed)
            die("a decider failed", failed)

    async def on_shutdown(_app: Any, **_: Any) -> None:
        await deciders.stop()

    app.task()(deciding)
    app.on_before_shutdown.connect(on_shutdown, weak=False)


def _measure_lag(app: Any, processor: RoomProcessor) -> None:
    lag = 0
    for number, next_offset in processor.next_requests().items():
        lag += max(0, (app.consumer.highwater(TP(REQUESTS_TOPIC, number)) or 0) - next_offset)
    metrics.LAG.set(lag)


def _shorten_fetch_wait() -> None:
    """Wrap the driver's factory: there is no setting for this (faust-streaming 0.15.3)."""
    create = AIOKafkaConsumerThread._create_worker_consumer
    if getattr(create, "shortened", False):
        return

    def shortened(self: Any, transport: Any) -> Any:
        consumer = create(self, transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer

    shortened.shortened = True  # type: ignore[attr-defined]
    AIOKafkaConsumerThread._create_worker_consumer = shortened
