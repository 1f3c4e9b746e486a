"""Gifts that the catalogue here does not have: not sold, or not heard of yet?

A gateway follows the catalogue topic, and may be behind it: another one has changed the catalogue a
moment ago, or the broker has just come up. Before a gift is refused for good the ledger's own table
is asked.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final, Protocol

import structlog

from engagement.domain import limits
from engagement.domain.catalogue import PricedGift
from engagement.gateway.catalogue_follower import CatalogueFollower
from engagement.gateway.database_reads import AWAY

log = structlog.get_logger()

SURE_S: Final = 1.0
"""So long an answer of the ledger holds: who makes names up costs one query a second."""
NAMES_MAX: Final = 10_000
"""Made-up names that are remembered; beyond it all are forgotten."""


class Terms(Protocol):
    """Who decides about the catalogue."""

    async def priced(self, gifts: Sequence[str]) -> list[PricedGift]:
        """The newest terms of those of these gifts that were ever offered."""
        ...


class UnsoldGifts:
    """Asks for gifts that are not known here."""

    def __init__(self, catalogue: CatalogueFollower, terms: Terms) -> None:
        self._catalogue = catalogue
        self._terms = terms
        self._asked_s: dict[str, float] = {}
        self._asking = asyncio.Lock()

    def is_unsold(self, gift: str) -> bool:
        """Whether the ledger itself has said, just now, that there is no such gift."""
        asked_s = self._asked_s.get(gift)
        return asked_s is not None and time.monotonic() - asked_s < SURE_S

    async def look_up(self, gifts: Collection[str]) -> None:
        """Learn of these what is not known. When the ledger cannot be asked nothing is learnt."""
        if not self._doubtful(gifts):
            return
        async with self._asking:
            doubtful = self._doubtful(gifts)  # Others have asked meanwhile.
            if not doubtful:
                return
            try:
                async with asyncio.timeout(limits.SETTLED_TIMEOUT_S):
                    found = await self._terms.priced(doubtful)
            except AWAY as error:
                log.warning("catalogue.unavailable", error=repr(error)[:300])
                return
        for priced in found:
            self._catalogue.learn(priced)
        if len(self._asked_s) + len(doubtful) > NAMES_MAX:
            self._asked_s.clear()
        sold = {priced.terms.gift for priced in found}
        now_s = time.monotonic()
        self._asked_s.update((gift, now_s) for gift in doubtful if gift not in sold)

    def _doubtful(self, gifts: Collection[str]) -> list[str]:
        return [
            gift
            for gift in gifts
            if self._catalogue.known(gift) is None and not self.is_unsold(gift)
        ]
