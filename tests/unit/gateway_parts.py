"""Parts of a gateway for its unit tests: a log in memory, rooms, viewers."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from engagement.domain.catalogue import GiftTerms, PricedGift, catalogued
from engagement.domain.envelope import Envelope
from engagement.domain.events import rfc3339
from engagement.domain.ledger import RequestKey, Settled
from engagement.domain.ledger_requests import MoneyEnvelope
from engagement.domain.media_time import RoomClock
from engagement.domain.rooms import RoomState
from engagement.gateway.catalogue_follower import CatalogueFollower
from engagement.gateway.envelopes import EnvelopeWriter
from engagement.gateway.flushes import Grid
from engagement.gateway.frames import Event
from engagement.gateway.gifts_intake import GiftsIntake
from engagement.gateway.intake import Intake
from engagement.gateway.money_envelopes import MoneyWriter
from engagement.gateway.outcomes import Outcomes
from engagement.gateway.settlements import Settlements
from engagement.gateway.unsold_gifts import UnsoldGifts
from engagement.log.topics import GIFT_REQUESTS_TOPIC
from engagement.settings import Settings


class FakeLog:
    """A log that keeps what is appended and acknowledges when it is told to."""

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []
        self.money: list[tuple[int, bytes]] = []
        """Records of the ledger's requests."""
        self.waiting: list[asyncio.Future[int]] = []
        self.bytes = 0

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        (self.money if topic == GIFT_REQUESTS_TOPIC else self.records).append((partition, value))

    def acknowledged(self, topic: str, partition: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def pending_bytes(self) -> int:
        return self.bytes

    def acknowledge(self) -> None:
        for future in self.waiting:
            future.set_result(0)
        self.waiting.clear()

    def fail(self) -> None:
        for future in self.waiting:
            future.set_exception(ConnectionError("the broker is gone"))
        self.waiting.clear()

    @property
    def envelopes(self) -> list[Envelope]:
        return [msgspec.json.decode(value, type=Envelope) for _, value in self.records]

    @property
    def money_envelopes(self) -> list[MoneyEnvelope]:
        return [msgspec.json.decode(value, type=MoneyEnvelope) for _, value in self.money]


class FakeLedger:
    """What the ledger has stored, and whether its database answers."""

    def __init__(self) -> None:
        self.stored: dict[RequestKey, Settled] = {}
        self.away = False
        self.queries: list[list[RequestKey]] = []
        self.catalogued: list[PricedGift] = []
        self.priced_queries: list[list[str]] = []
        self.answers: asyncio.Event | None = None
        """When there is one, queries wait for it."""

    async def settled(self, keys: Sequence[RequestKey]) -> dict[RequestKey, Settled]:
        self.queries.append(list(keys))
        if self.answers is not None:
            await self.answers.wait()
        if self.away:
            raise OSError("the database is gone")
        return {key: self.stored[key] for key in keys if key in self.stored}

    async def priced(self, gifts: Sequence[str]) -> list[PricedGift]:
        self.priced_queries.append(sorted(gifts))
        if self.away:
            raise OSError("the database is gone")
        return [each for each in self.catalogued if each.terms.gift in gifts]


class IntakeParts:
    """An intake over a log in memory, with everything that it needs."""

    def __init__(self, log: "FakeLog", settings: Settings) -> None:
        grid = Grid(0.01, asyncio.get_running_loop())
        self.clocks = FakeClocks()
        self.envelopes = EnvelopeWriter(log, self.clocks, grid, gateway="g")
        self.money = MoneyWriter(log, self.clocks, grid, gateway="g", partitions=8)
        self.ledger = FakeLedger()
        self.settlements = Settlements(self.ledger)
        self.outcomes = Outcomes(self.settlements)
        self.catalogue = CatalogueFollower()
        self.gifts = GiftsIntake(
            settings,
            self.catalogue,
            UnsoldGifts(self.catalogue, self.ledger),
            self.money,
            self.settlements,
            self.outcomes,
        )
        self.intake = Intake(settings, self.envelopes, self.gifts)
        self.envelopes.failed = self.money.failed = self.intake.forget


def sell(
    catalogue: CatalogueFollower,
    gift: str,
    coins: int = 1,
    version: int = 1,
    *,
    offered: bool = True,
) -> None:
    """The catalogue topic tells of a gift."""
    terms = GiftTerms(gift=gift, name=gift.title(), coins=coins, offered=offered)
    priced = PricedGift(version, terms)
    fact = fact_bytes("", "gift.catalogued", msgspec.to_builtins(catalogued(priced, "ops")))
    catalogue.handle(0, [Record(0, fact)])


class Record(NamedTuple):
    """A record as a tail hands it over."""

    offset: int
    value: bytes | None


class FakeClocks:
    """Clocks by room."""

    def __init__(self) -> None:
        self.clocks: dict[str, RoomClock] = {}

    def clock(self, room: str) -> RoomClock | None:
        return self.clocks.get(room)


class FakeViewer:
    """A socket that writes down what it is sent."""

    def __init__(self) -> None:
        self.slow = False
        self.skipped: dict[str, int] = {}
        self.frames: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.buffered = 0
        self.closed = False

    def write(self, frame: bytes) -> None:
        self.raw.append(frame)
        self.frames.append(message_of(frame))

    def buffered_bytes(self) -> int:
        return self.buffered

    def close_slow(self) -> None:
        self.closed = True

    @property
    def event_ids(self) -> list[str]:
        return [
            event["id"]
            for frame in self.frames
            if frame["t"] == "events"
            for event in frame["events"]
        ]


def message_of(frame: bytes) -> dict[str, Any]:
    """The JSON in an unmasked text frame."""
    assert frame[0] == 0x81
    skip = {126: 4, 127: 10}.get(frame[1], 2)
    message: dict[str, Any] = msgspec.json.decode(frame[skip:])
    return message


def open_room(name: str = "kitchen", host: str = "ana") -> RoomState:
    return RoomState(name, status="open", host=host, session="s", opened_us=1)


def fact_bytes(
    room: str,
    kind: str = "comment.posted",
    data: Any = None,
    fact_id: str | None = None,
    at_us: int = 1_700_000_000_000_000,
    actor: str = "ben",
) -> bytes:
    return msgspec.json.encode(
        {
            "id": fact_id or str(uuid.uuid4()),
            "type": kind,
            "time": rfc3339(at_us),
            "roomid": room,
            "actorid": actor,
            "data": {"text": "hello"} if data is None else data,
        }
    )


def event(offset: int, kind: str = "comment.posted", size: int = 0) -> Event:
    fact_id = f"fact-{offset}"
    raw = msgspec.json.encode({"id": fact_id, "type": kind, "pad": "x" * size})
    return Event(offset, kind, fact_id, raw, 0)
