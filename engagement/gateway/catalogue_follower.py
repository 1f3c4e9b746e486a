"""The gift catalogue, as `live.catalogue.v1` tells it: what gifts cost, here and now.

A gateway prices every gift that it takes by what it follows; the ledger decides about changes. At
its start a gateway offers the gifts of its file under ids that derive from their terms: what was
offered once is a repeat for ever, so what was changed at run time since then stands.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import msgspec
import structlog

from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms, PricedGift, priced_of
from engagement.domain.events import RawFact
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT, CatalogueChange
from engagement.domain.names import derived_id
from engagement.gateway import metrics
from engagement.gateway.flushes import Flush
from engagement.gateway.money_envelopes import MoneyAsk

log = structlog.get_logger()

_FACTS: Final = msgspec.json.Decoder(RawFact)
_POISON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError)
_RETRY_S: Final = 1.0


class CatalogueFollower:
    """What is sold, by name; newer versions replace older ones in whatever order they come."""

    def __init__(self, file: Iterable[GiftTerms] = ()) -> None:
        self._file = {terms.gift: terms for terms in file}
        self._priced: dict[str, PricedGift] = {}
        self._changed = asyncio.Event()

    def find(self, gift: str) -> PricedGift | None:
        """What a gift costs; None when it is not sold."""
        priced = self._priced.get(gift)
        return priced if priced is not None and priced.terms.offered else None

    def known(self, gift: str) -> PricedGift | None:
        """What a gift costs or has cost."""
        return self._priced.get(gift)

    def awaits(self, gift: str) -> bool:
        """Whether this gift was offered by the file and the ledger has not answered yet."""
        return gift in self._file and gift not in self._priced

    async def until(self, gifts: Collection[str], wait_s: float) -> None:
        """Wait until none of these is awaited any more, but not for ever: on a fresh instance the
        first gifts may come before the ledger has taken the file in."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while any(map(self.awaits, gifts)):
                    self._changed.clear()
                    await self._changed.wait()

    @property
    def full(self) -> bool:
        """Whether no further gift has room."""
        return len(self._priced) >= limits.GIFTS_IN_CATALOGUE_MAX

    def offered(self) -> list[PricedGift]:
        """All that is sold: the smallest first."""
        sold = [priced for priced in self._priced.values() if priced.terms.offered]
        return sorted(
            sold, key=lambda priced: (priced.terms.tier, priced.terms.coins, priced.terms.gift)
        )

    def handle(self, partition: int, records: Sequence[Any]) -> None:
        """Take records of the catalogue topic in."""
        for record in records:
            if record.value is None:
                continue
            try:
                self._take(record.value)
            except _POISON as error:
                metrics.FACTS_DROPPED.labels("catalogue_poison").inc()
                log.warning("catalogue.poison", offset=record.offset, error=str(error))
        self._changed.set()

    def _take(self, value: bytes) -> None:
        fact = _FACTS.decode(value)
        if fact.type != "gift.catalogued":
            raise KeyError(fact.type)
        # The terms' own bounds hold here too: nobody else's bytes set a price.
        priced = msgspec.convert(
            msgspec.to_builtins(priced_of(fact.decode())), PricedGift, strict=True
        )
        if priced.terms.gift not in self._priced and self.full:
            raise KeyError("the catalogue is full")
        self.learn(priced)

    def learn(self, priced: PricedGift) -> None:
        """Take terms in, unless newer ones are known or there is no room."""
        gift = priced.terms.gift
        known = self._priced.get(gift)
        if (known is None and not self.full) or (known and known.version < priced.version):
            self._priced[gift] = priced

    # --- the file -------------------------------------------------------------------------------

    def changes(self) -> list[MoneyAsk]:
        """What of the file is not so already, as requests to the ledger."""
        return [
            change_of(terms, role="service", actor="catalogue-file", request_id=_id_of(terms))
            for terms in self._file.values()
            if (known := self._priced.get(terms.gift)) is None or known.terms != terms
        ]

    async def offer(self, put: Callable[[MoneyAsk], Flush[MoneyAsk]]) -> None:
        """Offer the file's gifts until the log has them all."""
        left = self.changes()
        while left:
            flushes = [(ask, put(ask)) for ask in left]
            await asyncio.wait({flush.done for _, flush in flushes})
            left = [ask for ask, flush in flushes if not flush.acked]
            if left:
                await asyncio.sleep(_RETRY_S)


def change_of(terms: GiftTerms, *, role: Any, actor: str, request_id: str) -> MoneyAsk:
    """A request to change the catalogue."""
    return MoneyAsk(
        account=CATALOGUE_ACCOUNT,
        role=role,
        at_us=time.time_ns() // 1000,
        request=CatalogueChange(id=request_id, data=terms),
        actor=actor,
    )


def with_animation(terms: GiftTerms) -> GiftTerms:
    """The terms as the catalogue will tell them: an animation is named like the gift by default."""
    return terms if terms.animation else msgspec.structs.replace(terms, animation=terms.gift)


def _id_of(terms: GiftTerms) -> str:
    body = msgspec.json.encode(terms, order="deterministic")
    return derived_id("catalogue.change", terms.gift, body.decode())
