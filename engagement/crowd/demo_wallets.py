"""Coins for the demo: its people begin rich, its visitors are welcomed, as a platform would do it.

There is no back door: these are deposits of a service principal, as any platform's backend makes
them. Each has an id that follows from whom and what it is for, so nothing is given twice however
often this is restarted. Who has come, and who ran out, is read from `live.activity.v1`.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec
import structlog

from engagement.crowd.clients import Poster
from engagement.domain.events import ACTIVITY_TOPIC, RawFact
from engagement.log.codec import PoisonError, decode_raw
from engagement.log.tail import Followed, Tail
from engagement.settings import Settings

log = structlog.get_logger()

SERVICE: Final = "demo-crowd"
WELCOME_COINS: Final = 20_000
"""A visitor's first: every gift but the very largest."""
REFILL_COINS: Final = 20_000
"""For a visitor who ran out, once in `REFILL_EVERY_S`."""
REFILL_EVERY_S: Final = 300
PEOPLE_COINS: Final = 2_000_000
"""What each of the synthetic people begins with, and is given again."""
LOOK_BACK_RECORDS: Final = 5_000
"""Visitors who came while nobody looked, per partition: some ten minutes of the demo."""
WAITING_MAX: Final = 1_000
"""Deposits that wait; beyond it the next request of the same visitor brings another one."""
AT_ONCE: Final = 4
AGAIN_S: Final = 1.0

_NAMESPACE: Final = uuid.UUID("6f1c1f6e-6f0e-4c8e-9a4e-2a9d4f3b7c11")


@dataclass(frozen=True)
class Deposit:
    """Coins for somebody."""

    who: str
    what: str
    coins: int

    @property
    def id(self) -> str:
        """The same for the same deposit, whoever makes it and however often."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.what} {self.who}"))


class Wallets:
    """Deposits of the demo."""

    def __init__(self, settings: Settings, rooms: Sequence[str], people: Sequence[str]) -> None:
        self._settings = settings
        self._rooms = frozenset(rooms)
        self._people = frozenset(people)
        self._poster = Poster(settings)
        self._waiting: asyncio.Queue[Deposit] = asyncio.Queue(WAITING_MAX)
        self._welcomed: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        followed = Followed(ACTIVITY_TOPIC, self._handle, LOOK_BACK_RECORDS)
        tail = Tail(
            self._settings.bootstrap_servers,
            [followed],
            self._settings.partitions,
            client_id=SERVICE,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(tail.run())
                for _ in range(AT_ONCE):
                    tasks.create_task(self._deposit_all())
                for who in sorted(self._people):
                    await self._waiting.put(Deposit(who, "begin", PEOPLE_COINS))
        finally:
            await self._poster.close()

    def _handle(self, partition: int, records: Sequence[Any]) -> None:
        for record in records:
            try:
                deposit = self.owed(decode_raw(record.value), time.time())
            except PoisonError:
                continue  # The gateways tell of it.
            if deposit is not None:
                self._put(deposit)

    def owed(self, fact: RawFact, now_s: float) -> Deposit | None:
        """What follows from somebody's coming, or from their running out of coins."""
        who = fact.actorid
        if fact.roomid not in self._rooms or not who:
            return None
        if fact.type == "viewer.joined":
            if who in self._people or who in self._welcomed:
                return None
            self._welcomed.add(who)
            return Deposit(who, "welcome", WELCOME_COINS)
        if fact.type == "request.refused" and _is_out_of_coins(fact):
            coins = PEOPLE_COINS if who in self._people else REFILL_COINS
            return Deposit(who, f"refill {int(now_s // REFILL_EVERY_S)}", coins)
        return None

    def _put(self, deposit: Deposit) -> None:
        try:
            self._waiting.put_nowait(deposit)
        except asyncio.QueueFull:
            self._welcomed.discard(deposit.who)

    async def _deposit_all(self) -> None:
        while True:
            deposit = await self._waiting.get()
            try:
                await self._deposit(deposit)
            except ConnectionError as error:
                log.warning("a deposit of the demo waits", error=str(error))
                self._put(deposit)
                await asyncio.sleep(AGAIN_S)

    async def _deposit(self, deposit: Deposit) -> None:
        body = {"id": deposit.id, "coins": deposit.coins, "source": "promotion"}
        path = f"/v1/accounts/{quote(deposit.who, safe='')}/deposits"
        answer = await self._poster.call("POST", path, user=SERVICE, role="service", body=body)
        if answer.is_success:
            log.info("demo coins", account=deposit.who, what=deposit.what, coins=deposit.coins)
        else:
            log.warning("demo coins refused", account=deposit.who, answer=answer.text)


def _is_out_of_coins(fact: RawFact) -> bool:
    try:
        data = fact.decode()
    except (KeyError, msgspec.ValidationError):
        return False
    return bool(data.request_type == "gift.send" and data.code == "insufficient_funds")
