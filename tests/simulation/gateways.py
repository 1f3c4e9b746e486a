"""Gateways: they price a gift, put the terms and the time into the record, and write one envelope
per partition every few milliseconds. What they accepted may be lost until the log has it.
"""

import asyncio
from typing import Any, Final

import msgspec
from msgspec import UNSET

from engagement.domain.battle_requests import BattleAsked, BattleEnvelope
from engagement.domain.catalogue import PricedGift, priced_of
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import CATALOGUE_TOPIC
from engagement.domain.ledger_events import GiftCatalogued
from engagement.domain.ledger_requests import MoneyAsked, MoneyEnvelope
from engagement.log.battle_codec import encode_battle_envelope
from engagement.log.codec import encode_envelope
from engagement.log.money_codec import encode_money_envelope
from engagement.log.topics import (
    BATTLE_REQUESTS_TOPIC,
    GIFT_REQUESTS_TOPIC,
    REQUESTS_TOPIC,
    partition_of,
)
from tests.simulation.log import Log, Network

FLUSH_S: Final = 0.01
Asked = MoneyAsked | Accepted | BattleAsked
_Waiting = list[tuple[Asked, "asyncio.Future[bool]"]]


class Gateway:
    """One of them."""

    def __init__(self, name: str, log: Log, network: Network, partitions: int) -> None:
        self.name = name
        self.clock_off_us = 0
        self._log = log
        self._network = network
        self._partitions = partitions
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._terms: dict[str, PricedGift] = {}
        self._read = dict.fromkeys(range(partitions), 0)

    def now_us(self) -> int:
        """What its clock shows."""
        return self._network.wall_us() + self.clock_off_us

    async def take(self, asked: Asked, *, again: bool = False) -> bool:
        """Accept a request; whether the log has acknowledged it. `again`: it is there twice."""
        topic, home = _home(asked)
        place = topic, partition_of(home, self._partitions)
        if place not in self._waiting:
            self._waiting[place] = []
            self._network.loop.outside(
                self._network.random.random() * FLUSH_S, self._flush, place, again
            )
        answer: asyncio.Future[bool] = self._network.loop.create_future()
        self._waiting[place].append((asked, answer))
        return await answer

    def _flush(self, place: tuple[str, int], again: bool) -> None:
        waiting = self._waiting.pop(place)
        delay_s = self._network.delay_s()
        self._network.loop.outside(delay_s, self._arrive, place, waiting, again)

    def _arrive(self, place: tuple[str, int], waiting: _Waiting, again: bool) -> None:
        network = self._network
        away_s = network.log_away_until_s - network.loop.time()
        if away_s > 0:
            network.loop.outside(away_s + network.delay_s(), self._arrive, place, waiting, again)
            return
        is_lost = network.is_lost()
        if not is_lost or network.random.random() < 0.5:
            for _ in range(2 if again else 1):
                value = self._encode([asked for asked, _ in waiting])
                self._log.append(*place, self.name.encode(), value, ())
        for _, answer in waiting:
            answer.set_result(not is_lost)

    def _encode(self, asks: list[Any]) -> bytes:
        if isinstance(asks[0], MoneyAsked):
            return encode_money_envelope(self._priced(asks))
        if isinstance(asks[0], BattleAsked):
            return encode_battle_envelope(BattleEnvelope(self.name, asks))
        return encode_envelope(Envelope(self.name, asks))

    def _priced(self, asks: list[MoneyAsked]) -> MoneyEnvelope:
        self._follow_catalogue()
        terms: list[PricedGift] = []
        priced = []
        for asked in asks:
            gift = getattr(asked.request.data, "gift", "") if asked.room else ""
            known = self._terms.get(gift)
            if known is not None and known.terms.offered:
                if known not in terms:
                    terms.append(known)
                index: Any = terms.index(known)
            else:
                index = UNSET
            priced.append(msgspec.structs.replace(asked, terms=index))
        return MoneyEnvelope(self.name, priced, terms=terms)

    def _follow_catalogue(self) -> None:
        for number, at in self._read.items():
            for record in self._log.read(CATALOGUE_TOPIC, number, at):
                data = msgspec.json.decode(record.value or b"")["data"]
                priced = priced_of(msgspec.convert(data, GiftCatalogued))
                known = self._terms.get(priced.terms.gift)
                if known is None or known.version < priced.version:
                    self._terms[priced.terms.gift] = priced
            self._read[number] = self._log.end(CATALOGUE_TOPIC, number)


def _home(asked: Asked) -> tuple[str, str]:
    """The topic of a request, and what chooses its partition."""
    if isinstance(asked, MoneyAsked):
        return GIFT_REQUESTS_TOPIC, asked.account
    if isinstance(asked, BattleAsked):
        return BATTLE_REQUESTS_TOPIC, asked.battle
    return REQUESTS_TOPIC, asked.room
