"""Viewers who tap gifts, a shop that sells coins, hosts who fight, and somebody who writes rubbish:
what they do follows from the seed, and what was acknowledged to them is kept.

Clients repeat what they do not know to be done, under the same id, through another gateway; some
repeat what is done, and some use an id again for something else.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgspec

from engagement.domain import battle_requests as battles
from engagement.domain import ledger_requests as money
from engagement.domain import requests
from engagement.domain.battle_events import ScoreWindow, Side
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.catalogue import GiftTerms
from engagement.domain.envelope import Accepted
from engagement.domain.ledger_requests import CATALOGUE_ACCOUNT, MoneyAsked
from engagement.log.topics import BATTLE_REQUESTS_TOPIC, GIFT_REQUESTS_TOPIC, partition_of
from tests.simulation.gateways import Asked, Gateway
from tests.simulation.log import Log

HOSTS: Final = {"red": "ann", "blue": "bob", "green": "cid"}
VIEWERS: Final = ("uma", "viv", "wim", "xia", "yan")
GIFTS: Final = (
    GiftTerms("rose", "Rose", 1, host_share_percent=50),
    GiftTerms("fox", "Fox", 7, tier=2, host_share_percent=45),
    GiftTerms("star", "Star", 33, tier=3, combo=False, host_share_percent=33),
    GiftTerms("note", "Note", 10, host_share_percent=0),
)
TRIES: Final = 5


@dataclass
class Act:
    """A request that somebody made, and whether any gateway has acknowledged it."""

    account: str
    """Empty: it is about a battle or a room."""
    id: str
    kind: str
    acknowledged: bool = False


@dataclass(frozen=True)
class Rubbish:
    """A record that nobody can decide about, or in which something is that nobody can."""

    topic: str
    partition: int
    offset: int


class People:
    """Everybody."""

    def __init__(
        self, seed: int, gateways: list[Gateway], log: Log, partitions: int, length_s: float
    ) -> None:
        self.random = Random(f"people {seed}")
        self.acts: list[Act] = []
        self.rubbish: list[Rubbish] = []
        self.asks_twice = 0.1
        """How often something that is done is asked for once more."""
        self._gateways = gateways
        self._log = log
        self._partitions = partitions
        self._length_s = length_s
        self._sent: list[tuple[str, str]] = []
        """Account and id of gifts."""

    async def live(self) -> None:
        """From the opening of the rooms to the last retry."""
        await self._all([self._open(room) for room in HOSTS])
        await self._all([self._price(terms) for terms in GIFTS])
        await self._all([self._deposit(who, self.random.choice([5, 60, 400])) for who in VIEWERS])
        lives: list[Awaitable[None]] = [self._view(who) for who in VIEWERS]
        lives += [self._keep_shop(), self._fight("derby"), self._fight("final"), self._vandalise()]
        if self.random.random() < 0.2:
            lives.append(self._close_one())
        await self._all(lives)

    # --- lives -----------------------------------------------------------------------------------

    async def _view(self, who: str) -> None:
        """Tap gifts, in bursts, mostly where the battle is."""
        until_s = self._now_s() + self._length_s
        room = "red"
        while self._now_s() < until_s:
            await self._wait(0, 1.2)
            if self.random.random() < 0.5:
                room = self.random.choice(["red", "red", "blue", "blue", "green"])
            gift = self.random.choice(GIFTS).gift
            count = self.random.choice([1, 1, 1, 2, 5])
            name = self.random.choice(["", "", "spree"])
            taps = self.random.choice([1, 1, 2, 4])
            await self._all([self._tap(who, room, gift, count, name) for _ in range(taps)])
            if self.random.random() < 0.08:
                await self._deposit(who, self.random.randint(1, 80))

    async def _keep_shop(self) -> None:
        """Hold, post, void, reverse; change prices; do all of that once too often."""
        for _ in range(self.random.randint(3, 7)):
            await self._wait(0, self._length_s / 5)
            await self.random.choice([self._hold, self._hold, self._take_back, self._reprice])()

    async def _fight(self, battle: str) -> None:
        """One battle, more or less as it is meant to be."""
        await self._wait(0, self._length_s / 3)
        rooms = self.random.sample(sorted(HOSTS), self.random.choice([2, 2, 3]))
        windows = [ScoreWindow(1, 1, 3)] if self.random.random() < 0.5 else []
        invitation = battles.Invitation(
            [Side(room, HOSTS[room]) for room in rooms],
            duration_s=self.random.randint(2, 4),
            windows=windows,
            punish_s=self.random.choice([0, 0, 1]),
        )
        await self._battle(battle, HOSTS[rooms[0]], battles.BattleInvite, invitation)
        await self._wait(0, 0.3)
        answer = battles.SideAnswer([])
        for room in rooms[1:]:
            kind = battles.BattleAccept
            if self.random.random() < 0.05:
                kind = battles.BattleDecline  # type: ignore[assignment]
            await self._battle(battle, HOSTS[room], kind, answer)
        if self.random.random() < 0.12:
            await self._wait(0, 3)
            await self._battle(battle, HOSTS[rooms[0]], battles.BattleCancel, answer)
        if self.random.random() < 0.2:  # Too late, or not his.
            await self._battle(
                battle, self.random.choice(["uma", "bob"]), battles.BattleAccept, answer
            )

    async def _close_one(self) -> None:
        await self._wait(self._length_s / 2, self._length_s)
        room = self.random.choice(sorted(HOSTS))
        await self._room(room, requests.RoomClose(id=self._id()))

    async def _vandalise(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            await self._wait(0, self._length_s / 2)
            topic = self.random.choice([GIFT_REQUESTS_TOPIC, BATTLE_REQUESTS_TOPIC])
            value = self.random.choice([b"", b"rubbish", b"{}", b"[1", b'{"gateway":"g","asks":1}'])
            partition = self.random.randrange(self._partitions)
            if topic == GIFT_REQUESTS_TOPIC and self.random.random() < 0.6:
                partition, value = self._half_rubbish()
            offset = self._log.append(topic, partition, b"vandal", value, ())
            self.rubbish.append(Rubbish(topic, partition, offset))

    def _half_rubbish(self) -> tuple[int, bytes]:
        """An envelope in which one deposit is good, and beside it one of nothing, or one for a
        wallet that lives elsewhere."""
        who = self.random.choice(VIEWERS)
        home = partition_of(who, self._partitions)
        good = self._money_asked(who, money.Deposit(id=self._id(), data=money.DepositOrder(3)))
        bad = msgspec.to_builtins(good)
        strangers = [each for each in VIEWERS if partition_of(each, self._partitions) != home]
        if strangers and self.random.random() < 0.5:
            bad["account"] = self.random.choice(strangers)
        else:
            bad["request"]["data"]["coins"] = 0
        bad["request"]["id"] = self._id()
        asks = [msgspec.to_builtins(good), bad]
        self.random.shuffle(asks)
        self.acts.append(Act(who, good.request.id, "wallet.deposit", acknowledged=True))
        return home, msgspec.json.encode({"gateway": "vandal", "asks": asks})

    # --- requests --------------------------------------------------------------------------------

    async def _tap(self, who: str, room: str, gift: str, count: int, name: str) -> None:
        host, to = HOSTS[room], None
        chance = self.random.random()
        if chance < 0.02:
            who = host
        elif chance < 0.04:
            gift = "unheard"
        elif chance < 0.06:
            to = "nobody"
        order = requests.GiftOrder(gift=gift, count=count, **({"to": to} if to else {}),
                                   **({"combo": name} if name else {}))  # fmt: skip
        request = requests.GiftSend(id=self._id(), data=order)
        self._sent.append((who, request.id))
        others = []
        if self.random.random() < 0.04:
            other = msgspec.structs.replace(order, count=count + 1)
            others = [requests.GiftSend(id=request.id, data=other)]
        await self._money(who, request, *others, room=room, host=host, role="viewer", actor=who)

    async def _deposit(self, who: str, coins: int) -> None:
        order = money.DepositOrder(coins, self.random.choice(["purchase", "promotion"]))
        await self._money(who, money.Deposit(id=self._id(), data=order))

    async def _price(self, terms: GiftTerms) -> None:
        await self._money(CATALOGUE_ACCOUNT, money.CatalogueChange(id=self._id(), data=terms))

    async def _reprice(self) -> None:
        terms = self.random.choice(GIFTS)
        coins = max(1, terms.coins + self.random.randint(-2, 5))
        await self._price(msgspec.structs.replace(terms, coins=coins))

    async def _hold(self) -> None:
        who = self.random.choice(VIEWERS)
        order = money.HoldOrder(
            self.random.randint(1, 40), self.random.randint(1, 3), self.random.choice(["", "bob"])
        )
        placed = money.HoldPlace(id=self._id(), data=order)
        await self._money(who, placed)
        await self._wait(0, 2.5)
        for _ in range(self.random.choice([0, 1, 1, 2])):
            kind = self.random.choice([money.HoldPost, money.HoldPost, money.HoldVoid])
            await self._money(who, kind(id=self._id(), data=money.HoldTarget(placed.id)))

    async def _take_back(self) -> None:
        if self._sent:
            who, gift = self.random.choice(self._sent)
            for _ in range(self.random.choice([1, 1, 2])):
                order = money.ReversalOrder(gift, "a mistake")
                await self._money(who, money.GiftReverse(id=self._id(), data=order))

    async def _open(self, room: str) -> None:
        opening = requests.RoomOpening("live", HOSTS[room])
        await self._room(room, requests.RoomOpen(id=self._id(), data=opening))

    async def _room(self, room: str, request: Any) -> None:
        act = self._act("", request)
        await self._until_done(
            act, lambda at_us: Accepted(room, HOSTS[room], "host", at_us, request)
        )

    async def _battle(self, battle: str, who: str, kind: Any, data: Any) -> None:
        request = kind(id=self._id(), data=data)
        act = self._act("", request)
        await self._until_done(act, lambda at_us: BattleAsked(battle, who, "host", at_us, request))

    async def _money(self, account: str, *bodies: Any, **more: Any) -> None:
        """Ask, with all bodies of one id."""
        act = self._act(account, bodies[0])
        await self._all(
            [
                self._until_done(
                    act, lambda at_us, body=body: self._money_asked(account, body, at_us, **more)
                )
                for body in bodies
            ]
        )

    def _money_asked(self, account: str, body: Any, at_us: int = 0, **more: Any) -> MoneyAsked:
        known: dict[str, Any] = {"actor": "shop", "role": "service", **more}
        at_us = at_us or self._gateways[0].now_us()
        return MoneyAsked(account=account, at_us=at_us, request=body, **known)

    async def _until_done(self, act: Act, make: Callable[[int], Asked]) -> None:
        """Ask until a gateway says that it is on the log, and at times once more."""
        for _ in range(TRIES):
            gateway = self.random.choice(self._gateways)
            doubled = self.random.random() < 0.03
            done = await gateway.take(make(gateway.now_us()), again=doubled)
            act.acknowledged = act.acknowledged or done
            if done and self.random.random() >= self.asks_twice:
                return
            await self._wait(0, 0.8)

    # --- small things ----------------------------------------------------------------------------

    def _act(self, account: str, request: Any) -> Act:
        act = Act(account, request.id, str(request.__struct_config__.tag))
        self.acts.append(act)
        return act

    def _id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128)))

    async def _wait(self, least_s: float, most_s: float) -> None:
        await asyncio.sleep(self.random.uniform(least_s, most_s))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def _all(self, works: list[Any]) -> None:
        await asyncio.gather(*works)
