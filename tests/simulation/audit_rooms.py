"""What the rooms tell of gifts, against the auditor's ledger."""

from typing import Any

from tests.simulation.audit_money import Book
from tests.simulation.auditor import Evidence, Fact, read_facts

WINDOW_US = 5_000_000
"""Taps that are further apart than this, in accepted time, are two combos."""


def compare(evidence: Evidence, books: list[Book]) -> None:
    """Every paid gift once in its room, every reversal once, every refusal once; combos that add
    up and end."""
    sent: list[Fact] = []
    taken_back: list[Fact] = []
    for number in range(evidence.partitions):
        facts = read_facts(evidence, "live.room.v1", number)
        sent += [fact for fact in facts if fact.type == "gift.sent"]
        taken_back += [fact for fact in facts if fact.type == "gift.reversed"]
        _combos(evidence, facts)
        if evidence.is_calm:
            _one_combo(evidence, facts)
    _gifts(evidence, books, sent)
    _reversals(evidence, books, taken_back)
    _refusals(evidence, books)


def _gifts(evidence: Evidence, books: list[Book], facts: list[Fact]) -> None:
    paid = {gift.transfer: gift for book in books for gift in book.paid}
    seen: set[str] = set()
    for fact in facts:
        data = fact.data
        gift = paid.get(data["transfer"])
        if data["transfer"] in seen:
            evidence.complain(f"doubled in {fact.about}: {data}")
        elif gift is None:
            evidence.complain(f"sent and never paid: {fact}")
        elif (
            (gift.room, gift.account, gift.id, gift.gift, gift.to, gift.at_us)
            != (fact.about, fact.actor, fact.cause, data["gift"], data["to"], fact.time_us)
        ) or (gift.count, gift.price, gift.coins, gift.earned) != (
            data["count"], data["unit_price"], data["coins"], data["earned"]
        ):  # fmt: skip
            evidence.complain(f"sent as {fact}, paid as {gift}")
        seen.add(data["transfer"])
    for transfer in paid.keys() - seen:
        evidence.complain(f"paid and never sent: {paid[transfer]}")


def _reversals(evidence: Evidence, books: list[Book], facts: list[Fact]) -> None:
    expected = sorted(
        (f"{gift.ledger}-{gift.reversed_by}", gift.room, gift.id, gift.coins, gift.earned, by)
        for book in books
        for by, gift in book.taken_back
    )
    told = sorted(
        (
            fact.data["transfer"], fact.about, fact.data["request"], fact.data["coins"],
            fact.data["earned"], fact.cause,
        )
        for fact in facts
    )  # fmt: skip
    if told != expected:
        evidence.complain(f"reversals are told as {told}, must be {expected}")


def _refusals(evidence: Evidence, books: list[Book]) -> None:
    told: list[tuple[Any, ...]] = []
    for number in range(evidence.partitions):
        told += [
            (fact.about, fact.actor, fact.data["request"], fact.data["code"])
            for fact in read_facts(evidence, "live.activity.v1", number)
            if fact.type == "request.refused" and fact.data["request_type"] == "gift.send"
        ]
    expected = [refused for book in books for refused in book.refused]
    if sorted(told) != sorted(expected):
        lost, more = set(expected) - set(told), set(told) - set(expected)
        evidence.complain(f"refusals not told: {lost}, made up or doubled: {more}")


def _combos(evidence: Evidence, facts: list[Fact]) -> None:
    """Display only, and right: a combo counts its taps, and ends once, after the last of them."""
    counts: dict[str, list[int]] = {}
    ended: set[str] = set()
    for fact in facts:
        data = fact.data
        if fact.type == "gift.sent" and "combo" in data:
            if data["combo"] in ended:
                evidence.complain(f"a combo that has ended goes on: {fact}")
            so_far = counts.setdefault(data["combo"], [0, 0])
            so_far[0] += data["count"]
            so_far[1] += data["coins"]
            if data["combo_count"] != so_far[0]:
                evidence.complain(f"the combo counts {so_far[0]}: {fact}")
        elif fact.type == "gift.combo.ended":
            if data["combo"] in ended:
                evidence.complain(f"a combo has ended twice: {fact}")
            ended.add(data["combo"])
            if [data["total_count"], data["total_coins"]] != counts.get(data["combo"]):
                evidence.complain(f"the combo has {counts.get(data['combo'])}: {fact}")
    for combo in counts.keys() - ended:
        evidence.complain(f"combo {combo} never ends")


def _one_combo(evidence: Evidence, facts: list[Fact]) -> None:
    """Taps of one viewer, gift and name that are close together are one combo, where nothing was
    late: the room told its end before the tap only when it closed or when another name began."""
    open_: dict[tuple[str, str, str], Fact] = {}
    for fact in facts:
        if fact.type in ("room.opened", "room.closed"):
            open_ = {key: tap for key, tap in open_.items() if key[0] != fact.about}
        if fact.type != "gift.sent" or "combo" not in fact.data:
            continue
        key = fact.about, fact.actor, fact.data["gift"]
        last = open_.get(key)
        is_next = (
            last is not None
            and last.data.get("combo_name") == fact.data.get("combo_name")
            and abs(fact.time_us - last.time_us) <= WINDOW_US
        )
        if is_next and last is not None and last.data["combo"] != fact.data["combo"]:
            evidence.complain(f"a combo was cut: {fact} does not continue {last}")
        open_[key] = fact
