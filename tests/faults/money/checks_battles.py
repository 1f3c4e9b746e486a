"""Battles: one end, the same for everybody, and what the gifts make."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.faults.evidence import Fact

from .evidence import Anomaly, MoneyEvidence, unix_us

CLOCK_SLACK_US = 5_000
"""Between two clocks of one machine, whose difference is measured once."""


def each_battle_ends_once_and_equally(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """One end of every battle that started; its rooms and HTTP say the same."""
    ends: dict[str, list[Fact]] = defaultdict(list)
    for fact in evidence.of_battles["battle.ended"]:
        ends[fact.data["battle"]].append(fact)
    in_rooms: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for fact in evidence.of_rooms["battle.ended"]:
        in_rooms[fact.data["battle"], fact.roomid].append(fact.data)
    started = _by_battle(evidence, "battle.started")
    for battle, start in started.items():
        if len(ends[battle]) != 1:
            yield Anomaly("battle_ends", battle, f"{len(ends[battle])} times")
            continue
        end = ends[battle][0].data
        for side in start["sides"]:
            told = in_rooms[battle, side["room"]]
            if told != [end]:
                yield Anomaly("room_end", battle, f"{side['room']} was told {told}, not {end}")
        shown = evidence.battles.get(battle)
        if shown is not None:
            scores = {side["room"]: side["score"] for side in shown["sides"]}
            if (shown["status"], scores) != ("ended", end["totals"]):
                detail = f"HTTP says {shown['status']} {scores}, the end {end['totals']}"
                yield Anomaly("battle_shown", battle, detail)
    for battle in ends.keys() - started.keys():
        yield Anomaly("battle_ends", battle, "without having started")
    for battle in evidence.fought:
        if battle not in started:
            yield Anomaly("battle_lost", battle, "its hosts were told that it runs")


def ends_are_just(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """Whoever has most wins; two who have most have a draw; the last revision is the end's."""
    newest: Counter[str] = Counter()
    for kind in ("battle.scored", "battle.window.opened", "battle.window.closed"):
        for fact in evidence.of_battles[kind]:
            if fact.data.get("kind") != "punish":
                battle = fact.data["battle"]
                newest[battle] = max(newest[battle], fact.data["revision"])
    for fact in evidence.of_battles["battle.ended"]:
        data = fact.data
        battle, totals = data["battle"], data["totals"]
        if data["final_revision"] <= newest[battle]:
            detail = f"{newest[battle]} after the end, {data['final_revision']}"
            yield Anomaly("revision_after_end", battle, detail)
        if data["reason"] != "deadline":
            continue
        best = [room for room, score in totals.items() if score == max(totals.values())]
        expected = ("win", best[0]) if len(best) == 1 else ("draw", None)
        if (data["result"], data.get("winner")) != expected:
            yield Anomaly("unjust_end", battle, f"{totals}: {data['result']} {data.get('winner')}")


def finals_are_the_fold_of_the_gifts(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """What was accepted between start and deadline scored, by the rule, once."""
    started = _by_battle(evidence, "battle.started")
    invited = _by_battle(evidence, "battle.invited")
    fights: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for battle, start in started.items():
        for side in start["sides"]:
            span = unix_us(start["started"]), unix_us(start["deadline"])
            fights[side["room"]].append((*span, battle))
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for fact in evidence.of_rooms["gift.sent"]:
        at_us = unix_us(fact.time)
        for start_us, deadline_us, battle in fights[fact.roomid]:
            if start_us <= at_us <= deadline_us:
                times = _multiplier(at_us - start_us, invited[battle]["windows"])
                totals[battle][fact.roomid] += fact.data["coins"] * times
    for battle, end in _by_battle(evidence, "battle.ended").items():
        if end["reason"] != "deadline":
            continue
        fold = {room: totals[battle][room] for room in end["totals"]}
        if fold != end["totals"]:
            yield Anomaly("wrong_score", battle, f"gifts make {fold}, the end {end['totals']}")


def each_gift_scores_once(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """A gift is in one battle, once, as itself; what scored adds up to the end's totals."""
    sent = {fact.data["transfer"]: fact for fact in evidence.of_rooms["gift.sent"]}
    seen: set[str] = set()
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for kind in ("battle.contributed", "battle.contribution.late"):
        for fact in evidence.of_battles[kind]:
            data = fact.data
            gift = sent.get(data["transfer"])
            if data["transfer"] in seen:
                yield Anomaly("scored_twice", data["transfer"], data["battle"])
            seen.add(data["transfer"])
            if gift is None or (gift.roomid, gift.data["coins"]) != (data["room"], data["coins"]):
                yield Anomaly("scored_unpaid", data["transfer"], data["battle"])
            totals[data["battle"]][data["room"]] += data.get("points", 0)
    for battle, end in _by_battle(evidence, "battle.ended").items():
        fold = {room: totals[battle][room] for room in end["totals"]}
        if fold != end["totals"]:
            detail = f"contributions make {fold}, the end {end['totals']}"
            yield Anomaly("wrong_sum", battle, detail)


def rooms_hear_the_same_revisions(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """At the same revision every room shows the same totals, and revisions only grow."""
    told = {
        (fact.data["battle"], fact.data["revision"]): fact.data["totals"]
        for fact in evidence.of_battles["battle.scored"]
    }
    newest: Counter[tuple[str, str]] = Counter()
    for fact in evidence.of_rooms["battle.scored"]:
        battle, revision = fact.data["battle"], fact.data["revision"]
        if told.get((battle, revision)) != fact.data["totals"]:
            yield Anomaly("other_totals", battle, f"{fact.roomid} at {revision}")
        if revision <= newest[battle, fact.roomid]:
            yield Anomaly("revision_order", battle, f"{fact.roomid}: {revision} again or late")
        newest[battle, fact.roomid] = revision


def gifts_are_accepted_in_time(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """A gift's accepted time lies between its first try and its first acknowledgement."""
    offset_us = evidence.unix_us_at_0
    for fact in evidence.of_rooms["gift.sent"]:
        gift = evidence.gifts.get(fact.causationid)
        if gift is None:
            continue
        at_us = unix_us(fact.time)
        sent_us = gift.first_sent // 1000 + offset_us
        acked_us = gift.first_ack // 1000 + offset_us if gift.acknowledged else at_us
        if not sent_us - CLOCK_SLACK_US <= at_us <= acked_us + CLOCK_SLACK_US:
            detail = f"{at_us - sent_us} µs after it was sent, {acked_us - at_us} before the answer"
            yield Anomaly("wrong_time", gift.id, detail)


def _by_battle(evidence: MoneyEvidence, kind: str) -> dict[str, dict[str, Any]]:
    return {fact.data["battle"]: fact.data for fact in evidence.of_battles[kind]}


def _multiplier(since_us: int, windows: list[dict[str, int]]) -> int:
    return max(
        (
            window["multiplier"]
            for window in windows
            if 0 <= since_us - window["after_s"] * 1_000_000 < window["duration_s"] * 1_000_000
        ),
        default=1,
    )


CHECKS = (
    each_battle_ends_once_and_equally,
    ends_are_just,
    finals_are_the_fold_of_the_gifts,
    each_gift_scores_once,
    rooms_hear_the_same_revisions,
    gifts_are_accepted_in_time,
)
