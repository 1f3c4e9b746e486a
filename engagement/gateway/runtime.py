"""A running gateway: its parts, how they are wired, how they start and end."""

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections.abc import Mapping

import structlog
from aiokafka.errors import KafkaError
from fastapi import Request
from starlette.datastructures import Headers

from engagement.database.battle_queries import BattleQueries
from engagement.database.connection import create_engine
from engagement.database.ledger_queries import LedgerQueries
from engagement.database.settled_lookups import SettledLookups
from engagement.domain import limits
from engagement.domain.events import ACTIVITY_TOPIC, CATALOGUE_TOPIC, CLOCK_TOPIC, ROOM_TOPIC
from engagement.domain.rooms import RoomState
from engagement.errors import ForbiddenError, UnauthorizedError, UnavailableError
from engagement.gateway import metrics
from engagement.gateway.auth import Authenticator
from engagement.gateway.catalogue_follower import CatalogueFollower
from engagement.gateway.clock_follower import ClockFollower
from engagement.gateway.envelopes import EnvelopeWriter
from engagement.gateway.flushes import Grid
from engagement.gateway.frames import clock_frame
from engagement.gateway.gifts_file import read_gifts
from engagement.gateway.gifts_intake import GiftsIntake
from engagement.gateway.hub import Hub
from engagement.gateway.intake import Intake, partition_of_room
from engagement.gateway.live import Live
from engagement.gateway.money_envelopes import MoneyWriter
from engagement.gateway.origin import Origins
from engagement.gateway.outcomes import Outcomes
from engagement.gateway.presence import Presence
from engagement.gateway.recent_comments import RecentComments
from engagement.gateway.room_archive import RoomArchive
from engagement.gateway.room_directory import RoomDirectory
from engagement.gateway.room_feed import Refusal, RoomFeed
from engagement.gateway.room_view import RoomView, room_view
from engagement.gateway.settlements import Settlements
from engagement.gateway.unsold_gifts import UnsoldGifts
from engagement.log.admin import cluster_id
from engagement.log.checkpoints import Checkpoint, read_checkpoints
from engagement.log.tail import Followed, Position, Range, Tail
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from engagement.tokens import Principal
from projections.queries import RoomQueries

log = structlog.get_logger()

_RETRY_S = 0.5
_ALL = 1 << 62
"""Records to read back: more than there ever are. The catalogue is compacted."""
_STALLED_S = 2.0
"""An acknowledgement that is older than this makes the gateway not ready."""


class Refusals:
    """Refusals of requests that this gateway itself made, by request id."""

    def __init__(self, directory: RoomDirectory) -> None:
        self._directory = directory
        self._expected: dict[str, list[str]] = {}

    def expect(self, request_id: str) -> list[str]:
        """A list that will hold the code, if there is one."""
        return self._expected.setdefault(request_id, [])

    def forget(self, request_id: str) -> None:
        """Nobody waits any more."""
        self._expected.pop(request_id, None)

    def take(self, refusal: Refusal, room: str) -> None:
        """Note a refusal, if it is expected, and wake whoever waits."""
        waiting = self._expected.get(refusal.request)
        if waiting is not None:
            waiting.append(refusal.code)
            self._directory.wake(room)


class Gateway:
    """All parts of one gateway. To be made inside a running loop."""

    def __init__(self, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        # A new name at every start: sessions of an earlier life must not be kept alive by ours.
        self.id = f"{settings.gateway_id or 'gateway'}"[:40] + "-" + uuid.uuid4().hex[:8]
        self.auth = Authenticator(settings)
        self.origins = Origins(settings.allowed_origins, loopback_only=settings.auth == "dev")
        self.directory = RoomDirectory()
        self.refusals = Refusals(self.directory)
        self.clocks = ClockFollower()
        self.hub = Hub(settings.tick_ms / 1000, loop)
        self.feed = RoomFeed(self.hub, self.directory, settings.partitions)
        self.writer = LogWriter(settings.bootstrap_servers, client_id=self.id)
        grid = Grid(settings.flush_ms / 1000, loop)
        self.envelopes = EnvelopeWriter(self.writer, self.clocks, grid, gateway=self.id)
        self.money = MoneyWriter(
            self.writer, self.clocks, grid, gateway=self.id, partitions=settings.partitions
        )
        self.engine = create_engine(settings)
        self.queries = RoomQueries(self.engine)
        # Single reads need no transaction around them.
        self.ledger = LedgerQueries(self.engine.execution_options(isolation_level="AUTOCOMMIT"))
        self._lookups = SettledLookups(self.engine)
        self.settlements = Settlements(self._lookups)
        self.battles = BattleQueries(self.engine.execution_options(isolation_level="AUTOCOMMIT"))
        self.outcomes = Outcomes(self.settlements)
        self.catalogue = CatalogueFollower(read_gifts(settings.gifts_file))
        self.gifts = GiftsIntake(
            settings,
            self.catalogue,
            UnsoldGifts(self.catalogue, self.ledger),
            self.money,
            self.settlements,
            self.outcomes,
        )
        self.intake = Intake(settings, self.envelopes, self.gifts)
        self.presence = Presence(
            self.envelopes, gateway=self.id, partitions=settings.partitions, loop=loop
        )
        recent = RecentComments(self.queries)
        self.archive = RoomArchive(self.queries, self.directory, self.hub, self.clocks, recent)
        self.live = Live(
            settings,
            gateway=self.id,
            auth=self.auth,
            origins=self.origins,
            directory=self.directory,
            clocks=self.clocks,
            hub=self.hub,
            intake=self.intake,
            gifts=self.gifts,
            presence=self.presence,
            recent=recent,
            archive=self.archive,
        )
        self.tail: Tail | None = None
        self.replays = 0
        self._started = False
        self._tasks: list[asyncio.Task[None]] = []
        self._wire()

    def _wire(self) -> None:
        self.clocks.told = lambda room, anchor: self.hub.broadcast(room, clock_frame(anchor))
        self.feed.banned = self.live.banned
        self.feed.opened = self._room_opened
        self.feed.held = self.live.held
        self.feed.refused = self._refused
        self.feed.gift_sent = self.outcomes.gift_sent
        self.envelopes.failed = self.money.failed = self.intake.forget

    def _room_opened(self, room: str) -> None:
        self.live.opened(room)
        self.archive.opened(self.directory.rooms[room])

    def _refused(self, refusal: Refusal) -> None:
        self.outcomes.refused(refusal.actor, refusal.request, refusal.code)
        self.live.refused(refusal)
        self.refusals.take(refusal, refusal.room)

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; the gateway answers probes at once and everything else when it has caught up."""
        self._tasks.append(asyncio.create_task(self._run(), name="gateway"))

    async def stop(self) -> None:
        """Let everyone leave and the log have it. Sockets have been closed by now."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.envelopes.settled()
                await self.money.settled()
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(2):
                await self.writer.stop()
        await self.archive.stop()
        await self.outcomes.stop()
        await self.settlements.stop()
        await self._lookups.close()
        await self.engine.dispose()
        log.info("gateway.stopped", gateway=self.id)

    async def _run(self) -> None:
        checkpoints = await self._connect()
        self.tail = Tail(
            self.settings.bootstrap_servers,
            self._followed(checkpoints),
            self.settings.partitions,
            client_id=self.id,
            opened=self._opened,
            lost=self._lost,
        )
        following = asyncio.create_task(self.tail.run(), name="tail")
        following.add_done_callback(_report)
        self._tasks.append(following)
        await self.tail.caught_up.wait()
        self.feed.caught_up()
        self._started = self.live.ready = True
        log.info("gateway.ready", gateway=self.id, rooms=len(self.directory.rooms))
        for work in (self.catalogue.offer(self.money.put), self.archive.let_go_forever()):
            self._tasks.append(asyncio.create_task(work))
        await self.presence.renew_forever()

    async def _connect(self) -> Mapping[int, Checkpoint]:
        """Reach the broker, however long it takes."""
        partitions = range(self.settings.partitions)
        while True:
            try:
                await self.writer.start()
                break
            except (KafkaError, OSError) as error:
                log.warning("gateway.no_broker", error=repr(error))
                await asyncio.sleep(_RETRY_S)
        while True:
            try:
                self.hub.cursors.name_log(await cluster_id(self.settings.bootstrap_servers))
                return await read_checkpoints(
                    self.settings.bootstrap_servers, partitions, with_leases=False
                )
            except (KafkaError, OSError) as error:
                log.warning("gateway.no_checkpoints", error=repr(error))
                await asyncio.sleep(_RETRY_S)

    def _followed(self, checkpoints: Mapping[int, Checkpoint]) -> list[Followed]:
        room_from: dict[str, int] = {}
        now_us = time.time_ns() // 1000
        for checkpoint in checkpoints.values():
            for room, state in checkpoint.rooms.items():
                if not self.archive.may_go(state, now_us):
                    self.directory.restore(state)
                room_from[room] = checkpoint.positions_of[room].room
        starts = {number: each.room_offset for number, each in checkpoints.items()}
        self.feed.fold_from(starts, room_from)
        back = limits.TAIL_SEED_FACTS_PER_PARTITION
        return [
            Followed(ROOM_TOPIC, self.feed.handle_room, back, starts),
            Followed(CLOCK_TOPIC, self.clocks.handle, limits.CLOCK_RECORDS_PER_PARTITION),
            Followed(ACTIVITY_TOPIC, self.feed.handle_activity, 0),
            Followed(CATALOGUE_TOPIC, self.catalogue.handle, _ALL),
        ]

    def _opened(self, ranges: Mapping[Position, Range]) -> None:
        for (topic, partition), each in ranges.items():
            if topic == ROOM_TOPIC:
                self.hub.begin(partition, each.start)

    def _lost(self, topic: str, partition: int, was: int, now: int) -> None:
        if topic == ROOM_TOPIC:
            self.hub.begin(partition, now)

    # --- state ----------------------------------------------------------------------------------

    def check_started(self) -> None:
        """Raise UnavailableError until the log has been read once: nothing is known before."""
        if not self._started:
            raise UnavailableError("the gateway is starting", code="starting", retry_after_s=1)

    def checks(self) -> dict[str, bool]:
        """What must hold for this gateway to be of use, by name."""
        return {
            "log": max(self.envelopes.stalled_s(), self.money.stalled_s()) < _STALLED_S,
            "tail": self._started,
            "keys": self.auth.keys is None or not self.auth.keys.failed,
        }

    def view(self, state: RoomState) -> RoomView:
        """The room as it is told."""
        partition = partition_of_room(state.room, self.settings.partitions)
        channel = self.hub.channel(state.room, partition)
        told = self.hub.cursors.text(partition, self.hub.horizon(channel))
        return room_view(state, self.clocks.clock(state.room), told)

    def measure(self) -> None:
        """Set the gauges that are not set where they change."""
        metrics.ROOMS.set(len(self.directory.rooms))
        metrics.RING_BYTES.set(self.hub.kept_bytes)
        self.outcomes.measure()
        metrics.PENDING_BYTES.set(self.writer.pending_bytes())
        if self.tail is not None:
            for topic, behind in self.tail.behind().items():
                metrics.TAIL_BEHIND.labels(topic).set(behind)


def _report(task: asyncio.Task[None]) -> None:
    """A tail that ended by itself is a bug: a gateway that sees nothing must not go on."""
    if not task.cancelled() and task.exception() is not None:
        log.error("tail.ended", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def sender_of(request: Request) -> Principal:
    """Whoever asks for a change. Raises UnauthorizedError, ForbiddenError for a foreign origin."""
    gateway, headers = gateway_of(request), request.headers
    check_origin(gateway, headers)
    principal = await gateway.auth.by_headers(
        headers.get("authorization"), headers.get("x-user"), headers.get("x-role")
    )
    if principal is None:
        raise UnauthorizedError("say who is asking: Authorization: Bearer <token>")
    return principal


def check_origin(gateway: Gateway, headers: Headers) -> None:
    """Raise ForbiddenError when a page that is not allowed to asks for a change."""
    if not gateway.origins.allows(headers.get("origin"), headers.get("host")):
        raise ForbiddenError("this origin is not allowed", code="origin_not_allowed")
