"""The auditor: reads what was written and says what is wrong with it.

Written from the decision records 0009 and 0010 and from what requests and events are documented to
say. It shares no code with what it audits: JSON in, its own arithmetic, words out.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """A record as a consumer gets it."""

    offset: int
    value: bytes
    headers: Mapping[str, bytes]
    time_us: int


@dataclass
class Evidence:
    """All that is left of a run."""

    topics: dict[str, dict[int, list[Record]]]
    tables: dict[str, dict[Any, Any]]
    commits: list[dict[str, Any]]
    """Every transaction that moved a position, in order."""
    acts: list[dict[str, Any]]
    """What was asked, and whether it was acknowledged."""
    rubbish: list[dict[str, Any]]
    """Records with something in them that belongs to the dead letters."""
    homes: dict[str, int]
    """The partition of an account."""
    partitions: int
    clocks_are_true: bool
    """Every wall clock was right within milliseconds."""
    is_calm: bool
    """Nothing was killed, stopped, lost or slow."""
    end_us: int
    """When everybody had been silent for long."""
    wrong: list[str] = field(default_factory=list)

    def complain(self, what: str) -> None:
        """Note something that must not be."""
        self.wrong.append(what)

    def records(self, topic: str, partition: int) -> list[Record]:
        """One partition, in order."""
        return self.topics.get(topic, {}).get(partition, [])


@dataclass(frozen=True)
class Fact:
    """An event as a consumer reads it."""

    id: str
    type: str
    about: str
    """The room, account, battle or gift."""
    actor: str
    time_us: int
    cause: str
    data: dict[str, Any]


def read_facts(evidence: Evidence, topic: str, partition: int) -> list[Fact]:
    """The facts of one partition, the first of each id."""
    facts: dict[str, Fact] = {}
    for record in evidence.records(topic, partition):
        event = json.loads(record.value)
        if event["id"] not in facts:
            facts[event["id"]] = Fact(
                event["id"],
                event["type"],
                event["source"].rsplit("/", 1)[1],
                event.get("actorid", ""),
                micros(event["time"]),
                event.get("causationid", ""),
                event["data"],
            )
    return list(facts.values())


def micros(text: str) -> int:
    """Unix µs of an RFC 3339 time in UTC with six digits."""
    from calendar import timegm
    from time import strptime

    assert len(text) == 27 and text.endswith("Z"), text
    return timegm(strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1_000_000 + int(text[20:26])


def audit(evidence: Evidence) -> list[str]:
    """Everything that is wrong."""
    from tests.simulation import audit_battles, audit_money, audit_rooms

    money = audit_money.replay(evidence)
    audit_money.compare(evidence, money)
    audit_rooms.compare(evidence, money)
    audit_battles.compare(evidence, money)
    positions(evidence)
    dead_letters(evidence)
    return evidence.wrong


def positions(evidence: Evidence) -> None:
    """Nobody commits but the owner, and every offset is decided once: no gap, no overlap."""
    at: dict[tuple[str, int], int] = {}
    for commit in evidence.commits:
        place = (commit["topic"], commit["partition"])
        if commit["token"] != commit["owner"]:
            evidence.complain(f"somebody who owns {place} no more has committed: {commit}")
        if commit["start"] != at.get(place, 0) or commit["was_at"] != commit["start"]:
            evidence.complain(f"{place} was at {at.get(place, 0)}: {commit}")
        if commit["end"] <= commit["start"]:
            evidence.complain(f"{place} did not go forward: {commit}")
        at[place] = commit["end"]
    for topic in ("live.gift-requests.v1", "live.battle-requests.v1"):
        for partition in range(evidence.partitions):
            there = len(evidence.records(topic, partition))
            if at.get((topic, partition), 0) != there:
                evidence.complain(f"{topic}/{partition} is decided up to {at}, of {there}")


def dead_letters(evidence: Evidence) -> None:
    """What cannot be decided is set aside, with its place, and nothing else is."""
    set_aside = {
        tuple(record.headers[name].decode() for name in ("topic", "partition", "offset"))
        for record in evidence.records("live.dead-letter.v1", 0)
    }
    rubbish = {
        (each["topic"], str(each["partition"]), str(each["offset"])) for each in evidence.rubbish
    }
    for place in rubbish - set_aside:
        evidence.complain(f"rubbish was not set aside: {place}")
    for place in set_aside - rubbish:
        evidence.complain(f"no rubbish, and set aside: {place}")


# --- at every commit -----------------------------------------------------------------------------


def books_in_balance(accounts: Mapping[Any, Any], holds: Mapping[Any, Any]) -> list[str]:
    """Σ debits = Σ credits, nobody below zero, and what is held is what pending holds hold.

    `accounts`: (partition, name) → debits, credits, held. `holds`: (user, id) → partition, to,
    coins, end, status.
    """
    wrong = []
    debits = sum(row[0] for row in accounts.values())
    credits = sum(row[1] for row in accounts.values())
    if debits != credits:
        wrong.append(f"{debits} coins debited, {credits} credited")
    held: dict[str, int] = {}
    for (user, _), row in holds.items():
        if row[4] == "pending":
            held["wallet:" + user] = held.get("wallet:" + user, 0) + row[2]
    for (_, name), (debit, credit, holding) in accounts.items():
        if name not in ("purchases", "promotions") and credit - debit - holding < 0:
            wrong.append(f"{name} is overdrawn: {credit} - {debit} - {holding}")
        if holding != held.get(name, 0):
            wrong.append(f"{name} holds {holding}, its holds {held.get(name, 0)}")
    return wrong


def one_battle_a_room(states: Iterable[bytes]) -> list[str]:
    """No room fights twice at a time. `states`: battles as they are kept, JSON."""
    taken: dict[str, str] = {}
    wrong = []
    for state in map(json.loads, states):
        if state.get("status") in ("running", "settling") or state.get("punishing"):
            for side in state["sides"]:
                if side["room"] in taken:
                    both = f"{taken[side['room']]} and {state['battle']}"
                    wrong.append(f"{side['room']} is in two battles: {both}")
                taken[side["room"]] = state["battle"]
    return wrong
