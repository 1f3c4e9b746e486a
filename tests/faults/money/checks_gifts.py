"""Gifts: each one's fate, what its sender was told of it, and its order."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.faults.evidence import Ask, Fact

from .evidence import Anomaly, MoneyEvidence, price_of, share_of

EXPECTED_REFUSALS = ("insufficient_funds",)
"""All gifts of a run are well-formed, for sale, to open rooms: only money can be missing."""


def each_gift_has_one_fate(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """An acknowledged gift is paid and in its room once, or refused; never both, never neither."""
    sent = Counter(fact.causationid for fact in evidence.of_rooms["gift.sent"])
    paid = {fact.data["request"] for fact in _payments(evidence)}
    refused = _refusals(evidence)
    for gift in evidence.gifts.values():
        code = refused.get(gift.id, "")
        if sent[gift.id] > 1:
            yield Anomaly("gift_doubled", gift.id, f"{sent[gift.id]} gift.sent")
        if (sent[gift.id] or gift.id in paid) and code:
            yield Anomaly("gift_paid_and_refused", gift.id, code)
        if gift.acknowledged and not sent[gift.id] and not code:
            in_ledger = "paid" if gift.id in paid else "no trace"
            yield Anomaly("gift_lost", gift.id, f"acknowledged, told {gift.told}, {in_ledger}")
    for request in sent.keys() - evidence.gifts.keys():
        yield Anomaly("gift_from_nowhere", request, "nobody sent it")
    for request, code in refused.items():
        if code not in EXPECTED_REFUSALS:
            yield Anomaly("gift_refused_wrongly", request, code)


def senders_were_told_the_truth(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """`paid` and `refused` are what became of it, whenever and wherever it was told."""
    sent = {fact.causationid for fact in evidence.of_rooms["gift.sent"]}
    refused = _refusals(evidence)
    for gift in evidence.gifts.values():
        if "paid" in gift.told and gift.id not in sent:
            yield Anomaly("told_paid", gift.id, "and it is in no room")
        if "refused" in gift.told and gift.id not in refused:
            yield Anomaly("told_refused", gift.id, "and the ledger has not refused it")
        if gift.rejected and not gift.acknowledged and gift.id in sent:
            yield Anomaly("told_rejected", gift.id, f"with {gift.rejected}, and it was paid")


def other_bodies_are_found_out(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """The same id with another body is never paid, and whoever waits is told `id_reused`."""
    for request, answers in evidence.run.altered_told.items():
        if request not in evidence.gifts:
            continue
        for told in answers:
            status, _, code = told.partition(":")
            if code != "id_reused" and status not in ("accepted", "unknown"):
                yield Anomaly("altered_taken", request, told)


def gifts_say_what_was_asked(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """Sender, room, host, gift, count, and the price of the catalogue."""
    for fact in evidence.of_rooms["gift.sent"]:
        gift = evidence.gifts.get(fact.causationid)
        if gift is None:
            continue
        coins = price_of(gift)
        asked = (
            *(gift.room, gift.actor, gift.data["gift"], gift.data["count"]),
            *(evidence.hosts_of[gift.room], coins, share_of(coins)),
        )
        data = fact.data
        says = (
            *(fact.roomid, fact.actorid, data["gift"], data["count"]),
            *(data["to"], data["coins"], data["earned"]),
        )
        if asked != says:
            yield Anomaly("gift_changed", gift.id, f"asked {asked}, recorded {says}")


def wallets_keep_real_time(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """What was acknowledged before another gift of the same wallet was sent is decided before."""
    by_account: dict[str, list[Ask]] = defaultdict(list)
    seen: set[str] = set()
    for record in evidence.ledger:
        fact = record.fact
        if fact is None or fact.type not in ("transfer.posted", "gift.refused"):
            continue
        gift = evidence.gifts.get(str(fact.data["request"]))
        if gift is None or gift.id in seen or fact.data.get("code") == "id_reused":
            continue
        seen.add(gift.id)
        by_account[gift.actor].append(gift)
    for account, gifts in by_account.items():
        newest_sent = 0
        for gift in gifts:
            if gift.acknowledged and gift.first_ack < newest_sent:
                late_ms = (newest_sent - gift.first_ack) / 1e6
                yield Anomaly("gift_order", gift.id, f"{account}: decided {late_ms:.1f} ms late")
            newest_sent = max(newest_sent, gift.first_sent)


def _payments(evidence: MoneyEvidence) -> Iterator[Fact]:
    for fact in evidence.of_ledger["transfer.posted"]:
        if fact.data["reason"] in ("gift", "house_share"):
            yield fact


def _refusals(evidence: MoneyEvidence) -> dict[str, str]:
    """Gift → why it was refused; other bodies under its id are no refusals of it."""
    return {
        fact.data["request"]: fact.data["code"]
        for fact in evidence.of_ledger["gift.refused"]
        if fact.data["code"] != "id_reused"
    }


CHECKS = (
    each_gift_has_one_fate,
    senders_were_told_the_truth,
    other_bodies_are_found_out,
    gifts_say_what_was_asked,
    wallets_keep_real_time,
)
