"""The judge of money: reads the files of a run, and says which promises were broken.

``python -m tests.faults.money.judge DIR`` prints the verdict and exits 1 when there are anomalies.
A run directory holds JSON lines:

``gifts.jsonl``     what was asked and told (`plan.Gift`)
``altered.jsonl``   id, told: answers to the same id with another body
``wallets.jsonl``   account, bought, coins, held: what was bought, and the wallet by HTTP at the end
``room.jsonl``, ``ledger.jsonl``, ``battle.jsonl``  the topics, whole: p, o, v
``battles.jsonl``   the battles by HTTP at the end
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from .plan import Gift

EXAMPLES = 5
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fact(Struct):
    """The parts of a CloudEvent that are looked at."""

    id: str
    type: str
    time: str
    roomid: str = ""
    accountid: str = ""
    battleid: str = ""
    actorid: str = ""
    causationid: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Evidence(Struct):
    """Everything of a run; facts once each, in the order of the first time."""

    gifts: dict[str, Gift]
    altered: dict[str, list[str]]
    wallets: dict[str, dict[str, Any]]
    room: list[Fact]
    ledger: list[Fact]
    battle: list[Fact]
    battles: dict[str, dict[str, Any]]


class Anomaly(Struct):
    """A broken promise."""

    check: str
    about: str
    detail: str


def load(directory: Path) -> Evidence:
    """Read a run directory."""
    gifts = [msgspec.convert(line, Gift) for line in _lines(directory / "gifts.jsonl")]
    return Evidence(
        gifts={gift.id: gift for gift in gifts},
        altered={line["id"]: line["told"] for line in _lines(directory / "altered.jsonl")},
        wallets={line["account"]: line for line in _lines(directory / "wallets.jsonl")},
        room=_facts(directory / "room.jsonl"),
        ledger=_facts(directory / "ledger.jsonl"),
        battle=_facts(directory / "battle.jsonl"),
        battles={line["battle"]: line for line in _lines(directory / "battles.jsonl")},
    )


def anomalies(evidence: Evidence) -> list[Anomaly]:
    """Everything that is wrong."""
    return [anomaly for check in CHECKS for anomaly in check(evidence)]


def judge(evidence: Evidence) -> dict[str, Any]:
    """The verdict: ok, what was looked at, anomalies by check, examples."""
    wrong = anomalies(evidence)
    examples: dict[str, list[str]] = defaultdict(list)
    for anomaly in wrong:
        if len(examples[anomaly.check]) < EXAMPLES:
            examples[anomaly.check].append(f"{anomaly.about}: {anomaly.detail}")
    return {
        "ok": not wrong and bool(evidence.gifts),
        "looked_at": _looked_at(evidence),
        "anomalies": dict(Counter(anomaly.check for anomaly in wrong)),
        "examples": dict(examples),
    }


# --- gifts ---------------------------------------------------------------------------------------


def each_gift_has_one_fate(evidence: Evidence) -> Iterator[Anomaly]:
    """An acknowledged gift is paid and in its room once, or refused; never both, never neither."""
    sent = Counter(fact.causationid for fact in _of(evidence.room, "gift.sent"))
    refused = {fact.data["request"]: fact.data["code"] for fact in _refusals(evidence)}
    for gift in evidence.gifts.values():
        times = sent[gift.id]
        if times > 1:
            yield Anomaly("doubled", gift.id, f"{times} gift.sent")
        if times and refused.get(gift.id, "id_reused") != "id_reused":
            yield Anomaly("paid and refused", gift.id, refused[gift.id])
        if gift.acknowledged and not times and gift.id not in refused:
            yield Anomaly("lost", gift.id, f"acknowledged, told {gift.told}, no trace")
    for request in sent.keys() - evidence.gifts.keys():
        yield Anomaly("from nowhere", request, "a gift that nobody sent")


def senders_were_told_the_truth(evidence: Evidence) -> Iterator[Anomaly]:
    """`paid` and `refused` are what became of it."""
    sent = {fact.causationid for fact in _of(evidence.room, "gift.sent")}
    for gift in evidence.gifts.values():
        for told in set(gift.told):
            if told == "paid" and gift.id not in sent:
                yield Anomaly("told paid", gift.id, "and it is in no room")
            if told == "refused" and gift.id in sent:
                yield Anomaly("told refused", gift.id, "and it was paid")
    for gift_id, answers in evidence.altered.items():
        for told in answers:
            was_taken = told.partition(":")[0] in ("paid", "accepted")
            if was_taken and _count_of(evidence, gift_id) != evidence.gifts[gift_id].count:
                yield Anomaly("altered", gift_id, f"another body was taken: {told}")


def gifts_say_what_was_asked(evidence: Evidence) -> Iterator[Anomaly]:
    """Sender, room, gift and count are the request's."""
    for fact in _of(evidence.room, "gift.sent"):
        gift = evidence.gifts.get(fact.causationid)
        if gift is None:
            continue
        asked = (gift.room, gift.actor, gift.gift, gift.count)
        says = (fact.roomid, fact.actorid, fact.data["gift"], fact.data["count"])
        if asked != says:
            yield Anomaly("changed", gift.id, f"asked {asked}, recorded {says}")
        if fact.data["coins"] != fact.data["count"] * fact.data["unit_price"]:
            yield Anomaly("changed", gift.id, f"coins {fact.data['coins']}")


# --- ledger --------------------------------------------------------------------------------------


def every_coin_is_accounted_for(evidence: Evidence) -> Iterator[Anomaly]:
    """Transfers make the wallets that HTTP tells; none was ever overdrawn; all sums to zero."""
    balance: Counter[str] = Counter()
    seen: dict[str, Fact] = {}
    for fact in _of(evidence.ledger, "transfer.posted"):
        data = fact.data
        if data["transfer"] in seen:
            yield Anomaly("transfer twice", data["transfer"], f"{seen[data['transfer']].id}")
            continue
        seen[data["transfer"]] = fact
        balance[data["debit"]] -= data["coins"]
        balance[data["credit"]] += data["coins"]
        if data["debit"].startswith("wallet:") and balance[data["debit"]] < 0:
            yield Anomaly("overdrawn", data["debit"], f"{balance[data['debit']]} coins")
    if sum(balance.values()):
        yield Anomaly("unbalanced", "ledger", f"sums to {sum(balance.values())}")
    for account, wallet in evidence.wallets.items():
        if wallet["coins"] + wallet["held"] != balance[f"wallet:{account}"]:
            told = f"{wallet['coins']} by HTTP, {balance[f'wallet:{account}']} by transfers"
            yield Anomaly("wallet", account, told)


def what_is_paid_is_sent_and_earned(evidence: Evidence) -> Iterator[Anomaly]:
    """Debits for gifts = gifts in rooms = earnings and the house's share, entry by entry."""
    paid: Counter[str] = Counter()
    earned: Counter[str] = Counter()
    for data in _transfers(evidence):
        if data["reason"] in ("gift", "house_share"):
            entry = data["transfer"].rpartition(".")[0]
            paid[entry] += data["coins"]
            if data["credit"].startswith("earnings:"):
                earned[entry] += data["coins"]
    sent: set[str] = set()
    for fact in _of(evidence.room, "gift.sent"):
        entry = fact.data["transfer"]
        if entry in sent:
            yield Anomaly("entry twice", entry, f"told by {fact.id}, too")
        sent.add(entry)
        if fact.data["coins"] != paid[entry] or fact.data["earned"] != earned[entry]:
            says = f"{fact.data['coins']}/{fact.data['earned']}"
            yield Anomaly("unequal", entry, f"sent {says}, paid {paid[entry]}/{earned[entry]}")
    for entry in paid.keys() - sent:
        yield Anomaly("paid, not sent", entry, f"{paid[entry]} coins")


# --- battles -------------------------------------------------------------------------------------


def each_battle_ends_once_and_equally(evidence: Evidence) -> Iterator[Anomaly]:
    """One end; every room, the battle's own topic and HTTP say the same."""
    started = {fact.data["battle"]: fact for fact in _of(evidence.battle, "battle.started")}
    ends: dict[str, list[Fact]] = defaultdict(list)
    for fact in _of(evidence.battle, "battle.ended"):
        ends[fact.data["battle"]].append(fact)
    in_rooms: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for fact in _of(evidence.room, "battle.ended"):
        in_rooms[fact.data["battle"], fact.roomid].append(fact.data)
    for battle, start in started.items():
        if len(ends[battle]) != 1:
            yield Anomaly("ends", battle, f"{len(ends[battle])} times")
            continue
        end = ends[battle][0].data
        for side in start.data["sides"]:
            if in_rooms[battle, side["room"]] != [end]:
                yield Anomaly("room's end", battle, f"{side['room']} was told another")
        shown = evidence.battles.get(battle, {})
        scores = {side["room"]: side["score"] for side in shown.get("sides", ())}
        if scores != end["totals"]:
            yield Anomaly("final", battle, f"HTTP says {scores}, the end {end['totals']}")


def finals_are_the_fold_of_the_gifts(evidence: Evidence) -> Iterator[Anomaly]:
    """What was accepted between start and deadline scored, by the rule, once."""
    started = {fact.data["battle"]: fact.data for fact in _of(evidence.battle, "battle.started")}
    invited = {fact.data["battle"]: fact.data for fact in _of(evidence.battle, "battle.invited")}
    ended = {fact.data["battle"]: fact.data for fact in _of(evidence.battle, "battle.ended")}
    battle_in: dict[str, list[str]] = defaultdict(list)
    for battle, start in started.items():
        for side in start["sides"]:
            battle_in[side["room"]].append(battle)
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for fact in _of(evidence.room, "gift.sent"):
        for battle in battle_in[fact.roomid]:
            since_us = _us(fact.time) - _us(started[battle]["started"])
            if since_us < 0 or _us(fact.time) > _us(started[battle]["deadline"]):
                continue
            times = _multiplier(since_us, invited[battle]["windows"])
            totals[battle][fact.roomid] += fact.data["coins"] * times
    for battle, end in ended.items():
        fold = {room: totals[battle][room] for room in end["totals"]}
        if fold != end["totals"]:
            yield Anomaly("score", battle, f"gifts make {fold}, the end says {end['totals']}")


def rooms_hear_the_same_revisions(evidence: Evidence) -> Iterator[Anomaly]:
    """At the same revision every room shows the same totals, and revisions only grow."""
    told: dict[tuple[str, int], dict[str, int]] = {}
    newest: Counter[tuple[str, str]] = Counter()
    for fact in _of(evidence.room, "battle.scored"):
        battle, revision = fact.data["battle"], fact.data["revision"]
        first = told.setdefault((battle, revision), fact.data["totals"])
        if first != fact.data["totals"]:
            yield Anomaly("revision", battle, f"{revision}: {first} and {fact.data['totals']}")
        if revision <= newest[battle, fact.roomid]:
            yield Anomaly("order", battle, f"{fact.roomid}: {revision} again or late")
        newest[battle, fact.roomid] = revision


CHECKS: tuple[Callable[[Evidence], Iterator[Anomaly]], ...] = (
    each_gift_has_one_fate,
    senders_were_told_the_truth,
    gifts_say_what_was_asked,
    every_coin_is_accounted_for,
    what_is_paid_is_sent_and_earned,
    each_battle_ends_once_and_equally,
    finals_are_the_fold_of_the_gifts,
    rooms_hear_the_same_revisions,
)


def _of(facts: list[Fact], kind: str) -> Iterator[Fact]:
    return (fact for fact in facts if fact.type == kind)


def _refusals(evidence: Evidence) -> Iterator[Fact]:
    return _of(evidence.ledger, "gift.refused")


def _transfers(evidence: Evidence) -> Iterator[dict[str, Any]]:
    return (fact.data for fact in _of(evidence.ledger, "transfer.posted"))


def _count_of(evidence: Evidence, gift_id: str) -> int:
    sent = (fact for fact in _of(evidence.room, "gift.sent") if fact.causationid == gift_id)
    return sum(fact.data["count"] for fact in sent)


def _multiplier(since_us: int, windows: list[dict[str, int]]) -> int:
    return max(
        (
            window["multiplier"]
            for window in windows
            if 0 <= since_us - window["after_s"] * 1_000_000 < window["duration_s"] * 1_000_000
        ),
        default=1,
    )


def _us(time: str) -> int:
    return (datetime.fromisoformat(time) - _UNIX_EPOCH) // timedelta(microseconds=1)


def _looked_at(evidence: Evidence) -> dict[str, int]:
    gifts = evidence.gifts.values()
    return {
        "gifts": len(evidence.gifts),
        "acknowledged": sum(gift.acknowledged for gift in gifts),
        "told_their_outcome": sum(bool(gift.told) for gift in gifts),
        "paid": sum(1 for _ in _of(evidence.room, "gift.sent")),
        "coins_paid": sum(fact.data["coins"] for fact in _of(evidence.room, "gift.sent")),
        "refused": len({fact.data["request"] for fact in _refusals(evidence)}),
        "altered": len(evidence.altered),
        "transfers": sum(1 for _ in _transfers(evidence)),
        "wallets": len(evidence.wallets),
        "battles_started": sum(1 for _ in _of(evidence.battle, "battle.started")),
        "battles_ended": sum(1 for _ in _of(evidence.battle, "battle.ended")),
        "gifts_scored": sum(1 for _ in _of(evidence.battle, "battle.contributed")),
        "gifts_too_late": sum(1 for _ in _of(evidence.battle, "battle.contribution.late")),
        "scores_told": sum(1 for _ in _of(evidence.room, "battle.scored")),
    }


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield msgspec.json.decode(line)


def _facts(path: Path) -> list[Fact]:
    """Facts once each: every consumer drops a repeat by its id."""
    facts: dict[str, Fact] = {}
    for line in _lines(path):
        try:
            fact = msgspec.convert(line["v"], Fact)
        except (msgspec.ValidationError, KeyError):
            continue  # Garbage that a run wrote itself.
        facts.setdefault(fact.id, fact)
    return list(facts.values())


def main(directory: Path) -> int:
    """Print the verdict of a run directory; 0 when nothing is wrong."""
    verdict = judge(load(directory))
    print(msgspec.json.format(msgspec.json.encode(verdict), indent=2).decode())
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
