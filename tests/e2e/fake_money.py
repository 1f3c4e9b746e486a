"""What the fake gateway has of money and battles: a catalogue, wallets, combos, one PK battle.

As simple as can be: no ledger, no log. What a page has to cope with is set by the test.
"""

import time
import uuid
from collections import Counter
from typing import Any

import msgspec

from engagement.domain import battle_events as battles
from engagement.domain.events import rfc3339
from engagement.domain.gift_events import GiftComboEnded, GiftSent

CATALOGUE: list[dict[str, Any]] = [
    {"gift": "rose", "name": "Rose", "coins": 1, "tier": 1, "combo": True},
    {"gift": "lantern", "name": "Sky Lantern", "coins": 30, "tier": 1, "combo": True},
    {"gift": "neon-fox", "name": "Neon Fox", "coins": 499, "tier": 2, "combo": False},
    {"gift": "whale", "name": "Aurora Whale", "coins": 15_000, "tier": 3, "combo": False},
]
WELCOME_COINS = 1_000


class FakeMoney:
    """Everybody has `WELCOME_COINS` at first."""

    def __init__(self) -> None:
        self.catalogue = [dict(gift, animation=gift["gift"], version=1) for gift in CATALOGUE]
        self.wallets: dict[str, int] = {}
        self.sent: Counter[str] = Counter()
        """Coins by sender."""
        self.is_deciding = True
        """False: gifts are accepted, and nobody says what becomes of them."""
        self._combos: dict[tuple[str, str], tuple[str, int]] = {}

    def coins(self, user: str) -> int:
        """What is in a wallet."""
        return self.wallets.setdefault(user, WELCOME_COINS)

    def buy(self, actor: str, data: dict[str, Any]) -> GiftSent | str:
        """Pay for a gift: the fact's data, or why it is refused."""
        gift = next((one for one in self.catalogue if one["gift"] == data["gift"]), None)
        if gift is None:
            return "unknown_gift"
        count = data.get("count", 1)
        price = int(gift["coins"]) * count
        if self.coins(actor) < price:
            return "insufficient_funds"
        self.wallets[actor] -= price
        return self.gift(actor, str(gift["gift"]), count)

    def gift(self, actor: str, name: str, count: int = 1) -> GiftSent:
        """A gift that somebody has paid for, and its combo."""
        gift = next(one for one in self.catalogue if one["gift"] == name)
        coins = int(gift["coins"]) * count
        self.sent[actor] += coins
        sent = GiftSent(
            gift=name,
            name=str(gift["name"]),
            tier=int(gift["tier"]),
            animation=name,
            count=count,
            unit_price=int(gift["coins"]),
            coins=coins,
            earned=coins // 2,
            to="ana",
            transfer="0-1",
            session="s",
        )
        if not gift["combo"]:
            return sent
        combo, before = self._combos.get((actor, name), (str(uuid.uuid4()), 0))
        self._combos[actor, name] = (combo, before + count)
        return msgspec.structs.replace(sent, combo=combo, combo_count=before + count)

    def end_combo(self, actor: str, name: str) -> GiftComboEnded:
        """The end of somebody's combo."""
        combo, count = self._combos.pop((actor, name))
        price = next(int(one["coins"]) for one in self.catalogue if one["gift"] == name)
        return GiftComboEnded(combo, name, count, count * price, "timeout")

    def top_senders(self) -> list[dict[str, Any]]:
        """As in a snapshot."""
        return [{"actor": actor, "coins": coins} for actor, coins in self.sent.most_common(10)]

    def leaderboard(self) -> list[dict[str, Any]]:
        """As the HTTP call tells it."""
        return [
            {"rank": rank, "gifts": 1, **row}
            for rank, row in enumerate(self.top_senders(), start=1)
        ]


class FakeBattle:
    """A PK battle between `demo` and `rival`, told fact by fact with a revision."""

    def __init__(self, name: str = "pk-1", duration_s: int = 60) -> None:
        self.name = name
        self.revision = 0
        self.duration_s = duration_s
        self.sides = [battles.Side("demo", "ana"), battles.Side("rival", "juno")]
        self.totals = {"demo": 0, "rival": 0}
        self.status = "invited"
        self.multiplier = 1
        self.started = self.deadline = self.result = self.winner = self.punish_until = ""
        self.top: list[battles.Supporter] = []

    def _next(self) -> int:
        self.revision += 1
        return self.revision

    def invited(self, punish_s: int = 10) -> battles.BattleInvited:
        """The host of `demo` asks."""
        return battles.BattleInvited(
            battle=self.name,
            revision=self._next(),
            sides=self.sides,
            duration_s=self.duration_s,
            rule="coins",
            windows=[],
            punish_s=punish_s,
            by="ana",
            expires=_in_s(60),
        )

    def start(self) -> battles.BattleStarted:
        """All have accepted."""
        self.status, self.started, self.deadline = "running", _in_s(0), _in_s(self.duration_s)
        return battles.BattleStarted(
            self.name,
            self._next(),
            self.sides,
            self.started,
            self.deadline,
            self.duration_s,
            "coins",
        )

    def score(self, demo: int, rival: int, top: str = "zoe") -> battles.BattleScored:
        """Absolute totals."""
        self.totals = {"demo": demo, "rival": rival}
        self.top = [battles.Supporter(top, "demo", demo), battles.Supporter("kai", "rival", rival)]
        return battles.BattleScored(self.name, self._next(), dict(self.totals), self.top)

    def boost(self, multiplier: int, until_s: float) -> battles.BattleWindowOpened:
        """Points count several-fold from here on."""
        self.multiplier = multiplier
        until = _in_s(until_s)
        return battles.BattleWindowOpened(self.name, self._next(), "multiplier", multiplier, until)

    def end(self) -> battles.BattleEnded:
        """The one end."""
        demo, rival = self.totals["demo"], self.totals["rival"]
        self.status, self.multiplier = "ended", 1
        self.result = "draw" if demo == rival else "win"
        self.winner = "" if demo == rival else "demo" if demo > rival else "rival"
        return battles.BattleEnded(
            battle=self.name,
            final_revision=self._next(),
            totals=dict(self.totals),
            result="win" if self.winner else "draw",
            reason="deadline",
            winner=self.winner or msgspec.UNSET,
            top=self.top,
        )

    def punish(self, seconds: float) -> battles.BattleWindowOpened:
        """The loser pays."""
        self.punish_until = _in_s(seconds)
        return battles.BattleWindowOpened(self.name, self._next(), "punish", 1, self.punish_until)

    def forgive(self) -> battles.BattleWindowClosed:
        """It is over."""
        self.punish_until = ""
        return battles.BattleWindowClosed(self.name, self._next(), "punish")

    def view(self) -> dict[str, Any]:
        """As `GET /v1/rooms/{room}` and a snapshot tell it."""
        sides = [
            {"room": side.room, "host": side.host, "score": self.totals[side.room]}
            for side in self.sides
        ]
        return {
            "battle": self.name,
            "status": self.status,
            "sides": sides,
            "revision": self.revision,
            "started": self.started,
            "deadline": self.deadline,
            "multiplier": self.multiplier,
            "result": self.result,
            "winner": self.winner,
            "punish_until": self.punish_until,
            "top": msgspec.to_builtins(self.top),
        }


def _in_s(seconds: float) -> str:
    return rfc3339(time.time_ns() // 1000 + round(seconds * 1_000_000))
