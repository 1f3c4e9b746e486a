"""Battles, folded from what they told, against the gifts that were paid."""

from collections import Counter
from typing import Any

from tests.simulation.audit_money import Book, Paid
from tests.simulation.auditor import Evidence, Fact, micros, read_facts

ENDS = ("battle.ended", "battle.declined", "battle.cancelled", "battle.expired")
UNREVISED = ("battle.contributed", "battle.contribution.late", "battle.refused")
TOP = 3
WELL_US = 900_000
"""A gift that is on the log within this time of its acceptance is one of a well log."""


def compare(evidence: Evidence, books: list[Book]) -> None:
    """Every battle and every room of it."""
    battles: dict[str, list[Fact]] = {}
    rooms: dict[str, list[Fact]] = {}
    for number in range(evidence.partitions):
        for fact in read_facts(evidence, "live.battle.v1", number):
            battles.setdefault(fact.about, []).append(fact)
        for fact in read_facts(evidence, "live.room.v1", number):
            rooms.setdefault(fact.about, []).append(fact)
    paid = {gift.transfer: gift for book in books for gift in book.paid}
    meant = {
        fact.data["transfer"]: fact.data["battle"]
        for facts in rooms.values()
        for fact in facts
        if fact.type == "gift.sent" and "battle" in fact.data
    }
    for name, facts in battles.items():
        _Battle(evidence, name, facts, books, paid, meant, rooms).judge()
    for transfer, battle in meant.items():
        if battle not in battles:
            evidence.complain(f"{transfer} is for {battle}, which nobody knows")


class _Battle:
    """One of them."""

    def __init__(
        self,
        evidence: Evidence,
        name: str,
        facts: list[Fact],
        books: list[Book],
        paid: dict[str, Paid],
        meant: dict[str, str],
        rooms: dict[str, list[Fact]],
    ) -> None:
        self.evidence = evidence
        self.name = name
        self.facts = facts
        self.books = books
        self.paid = paid
        self.meant = meant
        self.rooms = rooms

    def judge(self) -> None:
        self._revisions()
        invited, started, ended = (self._only(f"battle.{kind}") for kind in _KINDS)
        ends = [fact.type for fact in self.facts if fact.type in ENDS]
        if invited is None:
            if len(self.facts) > sum(fact.type in UNREVISED for fact in self.facts):
                self._wrong("goes on without an invitation")
            return
        if len(ends) != 1 or (started is None) == (ended is not None):
            self._wrong(f"has ended by {ends}")
            return
        self._rooms_agree([side["room"] for side in invited.data["sides"]])
        if started is None or ended is None:
            return
        self._contributions(invited, started, ended)
        self._scores(ended)
        self._result(started, ended)

    def _wrong(self, what: str) -> None:
        self.evidence.complain(f"battle {self.name} {what}")

    def _only(self, kind: str) -> Fact | None:
        found = [fact for fact in self.facts if fact.type == kind]
        if len(found) > 1:
            self._wrong(f"has {len(found)} times {kind}")
        return found[0] if found else None

    def _told(self) -> list[Fact]:
        return [fact for fact in self.facts if fact.type not in UNREVISED]

    def _revisions(self) -> None:
        told = [_revision(fact) for fact in self._told()]
        if told != list(range(1, len(told) + 1)):
            self._wrong(f"has revisions {told}")

    def _rooms_agree(self, rooms: list[str]) -> None:
        """Every room has the same revisions with the same data, in order."""
        told = [(fact.type, _revision(fact), fact.data) for fact in self._told()]
        for room in rooms:
            heard = [
                (fact.type, _revision(fact), fact.data)
                for fact in self.rooms.get(room, [])
                if fact.type.startswith("battle.") and fact.data["battle"] == self.name
            ]
            if heard != told:
                lost = [each for each in told if each not in heard]
                more = [each for each in heard if each not in told]
                self._wrong(f"is not the same in {room}: lacks {lost}, has {more}")

    # --- gifts -----------------------------------------------------------------------------------

    def _contributions(self, invited: Fact, started: Fact, ended: Fact) -> None:
        heard: Counter[str] = Counter()
        for fact in self.facts:
            if fact.type not in ("battle.contributed", "battle.contribution.late"):
                continue
            data = fact.data
            heard[data["transfer"]] += 1
            gift = self.paid.get(data["transfer"])
            if gift is None or (gift.id, gift.room, gift.coins) != (
                data["gift"], data["room"], data["coins"]
            ):  # fmt: skip
                self._wrong(f"has heard of {data}, paid was {gift}")
            elif fact.type == "battle.contributed":
                self._counts(gift, data["points"], invited, started, ended)
            else:
                self._is_late(gift, started, ended)
        ours = Counter(each for each, battle in self.meant.items() if battle == self.name)
        if heard != ours:
            self._wrong(f"lacks gifts {ours - heard}, has too often {heard - ours}")
        if self.evidence.is_calm:
            self._nobody_forgotten(started, ended, heard)

    def _counts(self, gift: Paid, points: int, invited: Fact, started: Fact, ended: Fact) -> None:
        began_us, over_us = (micros(started.data[each]) for each in ("started", "deadline"))
        if not began_us <= gift.at_us <= over_us:
            self._wrong(f"has scored a gift of another time: {gift}")
        best = 1
        for window in invited.data["windows"]:
            since_us = gift.at_us - began_us - window["after_s"] * 1_000_000
            if 0 <= since_us < window["duration_s"] * 1_000_000:
                best = max(best, window["multiplier"])
        if points != gift.coins * best:
            self._wrong(f"gives {points} points, not {gift.coins} x {best}: {gift}")

    def _is_late(self, gift: Paid, started: Fact, ended: Fact) -> None:
        began_us, over_us = (micros(started.data[each]) for each in ("started", "deadline"))
        if ended.data["reason"] != "deadline" or not began_us <= gift.at_us <= over_us:
            return
        barrier = self.books[gift.ledger].marks.get(self.name)
        if barrier is None or gift.offset < barrier:
            self._wrong(f"has not scored a gift that was before its barrier: {gift}")
        elif self.evidence.clocks_are_true and gift.landed_us - gift.at_us < WELL_US:
            self._wrong(f"has not scored a gift that came in time: {gift}")

    def _nobody_forgotten(self, started: Fact, ended: Fact, heard: Counter[str]) -> None:
        """Where nothing went wrong, no gift of the battle's time and rooms is missing."""
        if ended.data["reason"] != "deadline":
            return
        began_us, over_us = (micros(started.data[each]) for each in ("started", "deadline"))
        rooms = {side["room"] for side in started.data["sides"]}
        for gift in self.paid.values():
            is_of_its_time = gift.room in rooms and began_us <= gift.at_us <= over_us
            if is_of_its_time and not heard[gift.transfer]:
                self._wrong(f"was not told of a gift of its time: {gift}")

    # --- scores ----------------------------------------------------------------------------------

    def _scores(self, ended: Fact) -> None:
        """Every score is the sum of the contributions before it; the last is all there is."""
        points: Counter[str] = Counter()
        given: Counter[tuple[str, str]] = Counter()
        for fact in self.facts:
            if fact.type == "battle.contributed":
                points[fact.data["room"]] += fact.data["points"]
                given[fact.data["room"], fact.actor] += fact.data["points"]
                if fact is not ended and self.facts.index(fact) > self.facts.index(ended):
                    self._wrong(f"scores after its end: {fact}")
            elif fact.type in ("battle.scored", "battle.ended"):
                totals = {room: total for room, total in fact.data["totals"].items() if total}
                if totals != dict(points):
                    self._wrong(f"tells {totals}, has heard {dict(points)}")
                best = sorted(given.items(), key=lambda item: (-item[1], item[0]))[:TOP]
                top = [((each["room"], each["actor"]), each["points"])
                       for each in fact.data.get("top", [])]  # fmt: skip
                if top != best:
                    self._wrong(f"names {top}, best are {best}")

    def _result(self, started: Fact, ended: Fact) -> None:
        data: dict[str, Any] = ended.data
        totals = data["totals"]
        if data["reason"] == "aborted":
            if data["result"] != "aborted" or "winner" in data:
                self._wrong(f"was broken off and has a winner: {data}")
            return
        may_be_lost = {
            room
            for room in totals
            for fact in self.rooms.get(room, [])
            if fact.type == "room.closed"
        }
        best = max(totals.values())
        winners = [room for room, total in totals.items() if total == best]
        expected = ("win", winners[0]) if len(winners) == 1 else ("draw", "")
        told = (data["result"], data.get("winner", ""))
        if not may_be_lost and (told != expected or data["reason"] != "deadline"):
            self._wrong(f"is {told} by {data['reason']}, must be {expected}")
        punished = [fact.type for fact in self.facts if fact.data.get("kind") == "punish"]
        if len(punished) % 2:
            self._wrong("does not stop to punish")


_KINDS = ("invited", "started", "ended")


def _revision(fact: Fact) -> int:
    number: int = fact.data.get("revision") or fact.data["final_revision"]
    return number
