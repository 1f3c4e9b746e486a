"""Requests about money for tests that need a ledger without the gateway in front of it."""

import time
import uuid
from typing import Any

from engagement.domain import ledger_requests as asks
from engagement.domain import requests
from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.ledger_requests import MoneyAsked, MoneyEnvelope
from engagement.log.money_codec import encode_money_envelope
from engagement.log.topics import GIFT_REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter

ROSE = PricedGift(1, GiftTerms("rose", "Rose", 10, host_share_percent=45))


class MoneyLog:
    """Writes requests about money as a gateway would."""

    def __init__(self, writer: LogWriter, partitions: int) -> None:
        self._writer = writer
        self._partitions = partitions

    async def ask(self, account: str, request: Any, **more: Any) -> str:
        """Write one request and wait until it is on the log; returns its id."""
        known = {"actor": account, "role": "viewer", "at_us": time.time_ns() // 1000, **more}
        asked = MoneyAsked(account=account, request=request, **known)
        envelope = MoneyEnvelope("tests", [asked], terms=[ROSE])
        await self.put(account, encode_money_envelope(envelope))
        return str(request.id)

    async def put(self, account: str, value: bytes) -> None:
        """Write any bytes to the account's partition."""
        partition = partition_of(account, self._partitions)
        self._writer.append(GIFT_REQUESTS_TOPIC, partition, b"tests", value)
        await self._writer.acknowledged(GIFT_REQUESTS_TOPIC, partition)

    async def deposit(self, account: str, coins: int, request_id: str | None = None) -> str:
        """Buy coins."""
        order = asks.DepositOrder(coins)
        request = asks.Deposit(id=request_id or new_id(), data=order)
        return await self.ask(account, request, actor="shop", role="service")

    async def gift(
        self,
        account: str,
        room: str,
        *,
        count: int = 1,
        host: str = "host",
        request_id: str | None = None,
        **more: Any,
    ) -> str:
        """Send roses."""
        order = requests.GiftOrder(gift="rose", count=count)
        request = requests.GiftSend(id=request_id or new_id(), data=order)
        return await self.ask(account, request, room=room, host=host, terms=0, **more)


def new_id() -> str:
    """A request id."""
    return str(uuid.uuid4())
