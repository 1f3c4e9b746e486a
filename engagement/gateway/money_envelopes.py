"""Requests about money on their way to the ledger: one envelope per account partition and flush.

What the ledger decides by is put into the record: the gift's terms and the room's host as they were
when the request was accepted, and the clock anchor, looked up when it is flushed (as for the
requests of rooms).
"""

from functools import lru_cache

from msgspec import UNSET, Struct, UnsetType

from engagement.domain import limits
from engagement.domain.catalogue import PricedGift
from engagement.domain.envelope import ClockEntry
from engagement.domain.ledger_requests import MoneyAsked, MoneyEnvelope, MoneyRequest
from engagement.domain.requests import Role
from engagement.gateway.envelopes import Anchors, Clocks
from engagement.gateway.flushes import Flush, FlushWriter, Grid, Log
from engagement.log.money_codec import encode_money_envelope
from engagement.log.topics import GIFT_REQUESTS_TOPIC, partition_of


@lru_cache(maxsize=65_536)
def partition_of_account(account: str, partitions: int) -> int:
    """`partition_of`, remembered: its hash is pure Python and costs more than a whole request."""
    return partition_of(account, partitions)


class MoneyAsk(Struct, frozen=True, gc=False):
    """One request about money as it was accepted."""

    account: str
    role: Role
    at_us: int
    request: MoneyRequest
    room: str = ""
    host: str = ""
    priced: PricedGift | None = None
    """What the gift costs."""
    actor: str = ""
    """Who asks; empty: the account's owner."""
    session: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET


class MoneyWriter(FlushWriter[MoneyAsk]):
    """Writes `live.gift-requests.v1`."""

    def __init__(
        self, writer: Log, clocks: Clocks, grid: Grid, *, gateway: str, partitions: int
    ) -> None:
        super().__init__(writer, grid, topic=GIFT_REQUESTS_TOPIC, key=gateway.encode())
        self._clocks = clocks
        self._gateway = gateway
        self._partitions = partitions

    def put(self, ask: MoneyAsk) -> Flush[MoneyAsk]:
        """Take a request; the flush that it leaves with."""
        flush = self.reserve(partition_of_account(ask.account, self._partitions), 1)
        flush.parts.append(ask)
        flush.count += 1
        return flush

    def _encode(self, parts: list[MoneyAsk]) -> list[bytes]:
        anchors = Anchors(self._clocks)
        terms: list[PricedGift] = []
        index: dict[tuple[str, int], int] = {}
        asks = [
            MoneyAsked(
                account=ask.account,
                actor=ask.actor or ask.account,
                role=ask.role,
                at_us=ask.at_us,
                request=ask.request,
                room=ask.room,
                host=ask.host,
                session=ask.session,
                anchor=anchors.index(ask.room, ask.at_us) if ask.room else UNSET,
                terms=_index_of(ask.priced, terms, index),
                traceparent=ask.traceparent,
            )
            for ask in parts
        ]
        return self._split(anchors.entries, terms, asks)

    def _split(
        self, clock: list[ClockEntry], terms: list[PricedGift], asks: list[MoneyAsked]
    ) -> list[bytes]:
        value = encode_money_envelope(MoneyEnvelope(self._gateway, asks, clock, terms))
        if len(value) <= limits.ENVELOPE_BYTES_MAX or len(asks) == 1:
            return [value]
        half = len(asks) // 2
        return self._split(clock, terms, asks[:half]) + self._split(clock, terms, asks[half:])


def _index_of(
    priced: PricedGift | None, terms: list[PricedGift], index: dict[tuple[str, int], int]
) -> int | UnsetType:
    if priced is None:
        return UNSET
    key = (priced.terms.gift, priced.version)
    if key not in index:
        index[key] = len(terms)
        terms.append(priced)
    return index[key]
