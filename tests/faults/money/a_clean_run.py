"""A small run with gifts and a battle and no fault in it: what planted bugs are planted into."""

import json
from pathlib import Path
from typing import Any

from tests.faults.a_clean_run import ROOMS, CleanRun

from .evidence import share_of, unix_us
from .plan import PRICES

UNIX_US = unix_us("2026-01-01T00:00:00Z")
HOST = "host"
BATTLE = "battle-1"
NAMES = ("ledger", "battle", "wallets", "earnings", "leaders", "battles")


class CleanMoneyRun(CleanRun):
    """Lines of every file; a test spoils some and writes them all."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: list[dict[str, Any]] = []
        self.battle: list[dict[str, Any]] = []
        self.wallets: list[dict[str, Any]] = []
        self.earnings: list[dict[str, Any]] = []
        self.leaders: list[dict[str, Any]] = []
        self.battles: list[dict[str, Any]] = []
        self.history[0] |= {"gifts": 8, "unix_us_at_0": UNIX_US}
        self._coins: dict[str, int] = {}
        self._given: dict[str, dict[str, int]] = {room: {} for room in ROOMS}
        self._scores = dict.fromkeys(ROOMS, 0)
        self._entry = self._revision = 0
        self._play_with_money()
        self._look()

    def write(self, directory: Path) -> Path:
        """Write all files; returns the directory."""
        super().write(directory)
        for name in NAMES:
            lines = "".join(json.dumps(line) + "\n" for line in getattr(self, name))
            (directory / f"{name}.jsonl").write_text(lines)
        return directory

    # --- what tests look up -----------------------------------------------------------------------

    def transfers(self, request: str) -> list[dict[str, Any]]:
        """The data of a request's transfers."""
        facts = (line["v"] for line in self.ledger if line["v"]["type"] == "transfer.posted")
        return [fact["data"] for fact in facts if fact["data"]["request"] == request]

    def battle_fact(self, kind: str, number: int = 0) -> dict[str, Any]:
        """The data of a battle's fact of this type, in the battles' topic."""
        facts = [line["v"]["data"] for line in self.battle if line["v"]["type"] == kind]
        found: dict[str, Any] = facts[number]
        return found

    def in_room(self, kind: str, room: str) -> dict[str, Any]:
        """The data of a battle's fact as this room has it."""
        for line in self.room:
            if line["v"]["type"] == kind and line["v"]["roomid"] == room:
                found: dict[str, Any] = line["v"]["data"]
                return found
        raise LookupError(kind)

    def unpay(self, request: str) -> None:
        """Take a gift's transfers out of the ledger."""
        self.ledger[:] = [line for line in self.ledger if line["v"]["data"]["request"] != request]

    # --- the run ----------------------------------------------------------------------------------

    def _play_with_money(self) -> None:
        for account, coins in (("ana", 500), ("ben", 100), ("cid", 5)):
            self.buy(f"buy-{account}", account, coins)
        self.give("early", "ben", "ash", "fault-rose", 1, "paid")
        self._invite()
        self.give("first", "ana", "ash", "fault-rose", 2, "accepted", scores=3)
        self.give("second", "ben", "oak", "fault-cake", 1, "duplicate:paid", scores=3)
        self.refuse("poor", "cid", "ash", "fault-rocket", 1)
        self.give("third", "ana", "oak", "fault-rose", 1, "paid", scores=3)
        self._end()
        self.give("late", "ana", "ash", "fault-cake", 2, "accepted", scores=0)
        self.history += [
            {"k": "altered", "id": "late", "data": {"gift": "fault-cake", "count": 3}},
            {"k": "try", "c": 9_000, "at": self.tick(), "ids": ["late"], "altered": True},
            {"k": "ans", "c": 9_000, "at": self.tick(), "st": ["rejected:id_reused"]},
        ]
        self.buy("buy-again", "cid", 100)
        self.give("rich", "cid", "oak", "fault-cake", 1, "paid")

    def buy(self, name: str, account: str, coins: int) -> None:
        """A deposit."""
        self.history += [
            {"k": "deposit", "id": name, "account": account, "coins": coins, "at": self.tick()},
            {"k": "deposited", "id": name, "at": self.tick()},
        ]
        self._coins[account] = self._coins.get(account, 0) + coins
        self._entry += 1
        self.transfer(account, name, 1, "purchases", f"wallet:{account}", coins, "purchase")

    def give(
        self,
        name: str,
        actor: str,
        room: str,
        gift: str,
        count: int,
        status: str,
        scores: int | None = None,
    ) -> None:
        """A gift that is paid; `scores` points a coin in the battle, or nothing of it."""
        order = {"gift": gift, "count": count}
        self.ask(name, room, "gift.send", order, status, actor=actor, expect="gift")
        coins = PRICES[gift] * count
        earned = share_of(coins)
        self._entry += 1
        entry = f"0-{self._entry}"
        payer = f"wallet:{actor}"
        self.transfer(actor, name, 1, payer, f"earnings:{HOST}", earned, "gift")
        self.transfer(actor, name, 2, payer, "house", coins - earned, "house_share")
        data = order | {
            "unit_price": PRICES[gift], "coins": coins, "earned": earned, "to": HOST,
            "transfer": entry,
        }  # fmt: skip
        fact = self.fact(name, room, "gift.sent", data, actor=actor)
        self.tell(fact | {"causationid": name})
        self._coins[actor] -= coins
        self._given[room][actor] = self._given[room].get(actor, 0) + coins
        if scores is not None:
            self._contribute(name, room, coins, coins * scores, entry)

    def refuse(self, name: str, actor: str, room: str, gift: str, count: int) -> None:
        """A gift that is not paid."""
        order = {"gift": gift, "count": count}
        self.ask(name, room, "gift.send", order, "refused:insufficient_funds", actor=actor,
                 expect="gift")  # fmt: skip
        code = {"request": name, "code": "insufficient_funds"}
        self.ledger_fact(f"{name}-refused", "gift.refused", actor, order | code | {"room": room})
        told = self.fact(f"{name}-unpaid", room, "request.refused", code, actor=actor)
        self.append(self.activity, ROOMS.index(room), told | {"causationid": name})

    def transfer(
        self, account: str, request: str, line: int, debit: str, credit: str, coins: int, why: str
    ) -> None:
        """One line of the newest entry."""
        name = f"0-{self._entry}.{line}"
        data = {"transfer": name, "debit": debit, "credit": credit, "coins": coins}
        data |= {"request": request, "reason": why}
        self.ledger_fact(f"posted-{name}", "transfer.posted", account, data)

    def ledger_fact(self, name: str, kind: str, account: str, data: dict[str, Any]) -> None:
        """One more record of the ledger's topic."""
        fact = {"id": name, "type": kind, "accountid": account, "time": self._time(), "data": data}
        self.ledger.append({"p": 0, "o": len(self.ledger), "k": account, "v": fact})

    def tell(self, fact: dict[str, Any]) -> None:
        """One more fact of a room, and everybody hears of it."""
        room = fact["roomid"]
        partition = ROOMS.index(room)
        self.append(self.room, partition, fact)
        self.rows.append({"p": partition, "o": self.room[-1]["o"], "id": fact["id"]})
        [page for page in self.timeline if page["room"] == room][-1]["items"].append(fact)
        [told for told in self.viewers if told["room"] == room][-1]["ids"].append(fact["id"])

    def told_of_battle(self, kind: str, rooms: bool = True, **data: Any) -> None:
        """A fact of the battle, in its own topic and in its rooms."""
        self.tick()
        if kind not in ("battle.contributed", "battle.contribution.late"):
            self._revision += 1
        revision = "final_revision" if kind == "battle.ended" else "revision"
        data = {"battle": BATTLE, revision: self._revision} | data
        name = f"{kind}-{len(self.battle)}"
        fact = {"id": name, "type": kind, "time": self._time(), "data": data}
        self.battle.append({"p": 0, "o": len(self.battle), "k": BATTLE, "v": fact})
        for room in ROOMS if rooms else ():
            self.tell(self.fact(f"{name}-{room}", room, kind, dict(data), actor=""))

    def _invite(self) -> None:
        sides = [{"room": room, "host": HOST} for room in ROOMS]
        windows = [{"after_s": 0, "duration_s": 1, "multiplier": 3}]
        self.told_of_battle("battle.invited", sides=sides, windows=windows)
        self.tick()
        began, self._deadline = self._time(), self._now + 40_000_000
        deadline = self._time(self._deadline)
        self.told_of_battle("battle.started", sides=sides, started=began, deadline=deadline)
        self.history.append({"k": "battle", "id": BATTLE, "rooms": list(ROOMS), "duration_s": 1})

    def _contribute(self, gift: str, room: str, coins: int, points: int, entry: str) -> None:
        data = {"gift": gift, "room": room, "coins": coins, "transfer": entry}
        if not points:
            self.told_of_battle("battle.contribution.late", rooms=False, **data)
            return
        self.told_of_battle("battle.contributed", rooms=False, points=points, **data)
        self._scores[room] += points
        self.told_of_battle("battle.scored", totals=dict(self._scores), top=[])

    def _end(self) -> None:
        self._now = self._deadline + 1_000_000
        winner = max(self._scores, key=lambda room: self._scores[room])
        self.told_of_battle(
            "battle.ended", totals=dict(self._scores), result="win", reason="deadline",
            winner=winner,
        )  # fmt: skip

    def _look(self) -> None:
        for account, coins in self._coins.items():
            self.wallets.append({"account": account, "coins": coins, "held": 0})
        earned = sum(
            line["v"]["data"]["coins"]
            for line in self.ledger
            if line["v"]["data"].get("credit") == f"earnings:{HOST}"
        )
        self.earnings.append({"host": HOST, "coins": earned, "days": [{"coins": earned}]})
        for room, given in self._given.items():
            ranked = sorted(given.items(), key=lambda item: -item[1])
            items = [{"actor": actor, "coins": coins} for actor, coins in ranked]
            self.leaders.append({"room": room, "items": items})
        sides = [{"room": room, "score": score} for room, score in self._scores.items()]
        self.battles.append({"battle": BATTLE, "status": "ended", "sides": sides})

    def _time(self, at_ns: int | None = None) -> str:
        at_us = (self._now if at_ns is None else at_ns) // 1000
        return f"2026-01-01T00:00:00.{at_us:06d}Z"
