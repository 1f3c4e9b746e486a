"""What became of each request: in exactly once, out, or unknown and then at most once."""

from collections.abc import Iterator

from .anomalies import Anomaly, Index
from .evidence import FACT_OF_REQUEST, TIMELINE_REQUESTS, Ask, Evidence, Fact, Record

CLIENT_MADE = frozenset(FACT_OF_REQUEST.values()) | {"comment.held"}
"""Fact types whose id is the id of the request that caused them."""


def acknowledged_is_in(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Lost: the client was told `accepted` or `duplicate`, and the topic has nothing of it."""
    for ask in evidence.asks.values():
        if not ask.acknowledged or ask.expect == "maybe":
            continue
        if ask.expect == "refused":
            told = len(found.refusals.get(ask.id, ()))
            if told != 1:
                yield _about("refusal_told_once", ask, f"{told} request.refused facts")
        elif _fact_of(ask, found) is None:
            refusal = _refusals_of(ask, found)
            if refusal and ask.expect == "gift":
                continue
            if refusal and refusal[0].fact:
                yield _about("refused_wrongly", ask, str(refusal[0].fact.data.get("code")))
            else:
                yield _about("lost", ask, f"acknowledged after {ask.tries} tries, in no topic")


def timeline_holds_it(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Exactly once in what HTTP answers as the room's timeline."""
    held: dict[str, int] = {}
    for items in evidence.timeline.values():
        for item in items:
            if item.fact is not None:
                held[item.fact.id] = held.get(item.fact.id, 0) + 1
    for ask in evidence.asks.values():
        times = held.get(ask.id, 0)
        if times > 1:
            yield _about("twice_in_timeline", ask, f"{times} items")
        if ask.id in found.removed:
            if times:
                yield _about("removed_in_timeline", ask, "removed, and still in the timeline")
        elif ask.acknowledged and _belongs_in_timeline(ask) and times == 0:
            yield _about("lost_in_timeline", ask, "acknowledged, not in the HTTP timeline")


def refused_is_out(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """A request that had to be refused has no fact, and one request has not both."""
    for ask in evidence.asks.values():
        record = _fact_of(ask, found)
        if record is None:
            continue
        if ask.expect == "refused":
            yield _about("refused_is_in", ask, f"{ask.type} became {record.fact.type}")  # type: ignore[union-attr]
        elif ask.rejected and not ask.acknowledged and not ask.unknown:
            yield _about("refused_is_in", ask, f"refused with {ask.rejected}, and in the topic")
        elif _refusals_of(ask, found):
            yield _about("fact_and_refusal", ask, "has a fact and a request.refused")


def once_by_any_name(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Twice: one request gave two facts with different ids, or sits in two topics."""
    for cause, records in found.by_cause.items():
        ask = evidence.asks.get(cause)
        if ask is not None and len(records) > 1:
            ids = ", ".join(record.fact.id for record in records if record.fact)
            yield _about("twice", ask, f"{len(records)} facts: {ids}")


def body_is_what_was_sent(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """The fact says what the request said, of whom and where."""
    for ask in evidence.asks.values():
        record = _fact_of(ask, found)
        if record is None or record.fact is None:
            continue
        if ask.expect == "maybe" and record.fact.type == "request.unchanged":
            continue  # The lease had run out: there was nothing left to end.
        wrong = _differences(ask, record.fact)
        if wrong:
            yield _about("wrong_body", ask, "; ".join(wrong))


def nothing_unasked(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Phantom: a fact of a kind that only clients cause, and no client asked for it."""
    for record in (*found.room.values(), *found.activity.values()):
        fact = record.fact
        if fact is None or fact.type not in CLIENT_MADE or fact.id in evidence.asks:
            continue
        if fact.type in ("viewer.joined", "viewer.left") and not _over_http(fact):
            continue  # A socket's lease, made by its gateway.
        if fact.type == "viewer.left" and fact.data.get("reason") != "left":
            continue  # An end by time, made by the room.
        yield Anomaly("phantom", fact.roomid, fact.id, f"{fact.type} that nobody sent")
    for items in evidence.timeline.values():
        for item in items:
            if item.fact is not None and item.fact.id not in found.room:
                yield Anomaly(
                    "phantom", item.fact.roomid, item.fact.id, "in the timeline, not in the topic"
                )


def comments_are_the_posted(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """`GET comments` lists every comment that was not removed, newest first, once."""
    for room in evidence.comments:
        records = found.by_room.get(room, [])
        want = {
            record.fact.id
            for record in records
            if record.fact and record.fact.type == "comment.posted"
        } - found.removed
        have = [item.fact.id for item in evidence.comments[room] if item.fact]
        for missing in sorted(want - set(have)):
            yield Anomaly("comment_missing", room, missing, "posted, not removed, not listed")
        for extra in sorted(set(have) - want):
            yield Anomaly("comment_extra", room, extra, "listed, though removed or never posted")
        if len(have) != len(set(have)):
            yield Anomaly("comment_twice", room, "", f"{len(have) - len(set(have))} repeated items")


def _belongs_in_timeline(ask: Ask) -> bool:
    return ask.expect == "fact" and ask.type in TIMELINE_REQUESTS


def _fact_of(ask: Ask, found: Index) -> Record | None:
    return found.room.get(ask.id) or found.activity.get(ask.id)


def _refusals_of(ask: Ask, found: Index) -> list[Record]:
    """Distinct refusals of a request; not those of another body under a gift's id."""
    refusals = found.refusals.get(ask.id, [])
    if ask.expect != "gift":
        return refusals
    return [each for each in refusals if each.fact and each.fact.data.get("code") != "id_reused"]


def _over_http(fact: Fact) -> bool:
    return str(fact.data.get("session", "")).startswith("http/")


def _differences(ask: Ask, fact: Fact) -> list[str]:
    wrong = []
    want_type = "comment.held" if ask.expect == "held" else FACT_OF_REQUEST[ask.type]
    for name, want, have in (
        ("type", want_type, fact.type),
        ("room", ask.room, fact.roomid),
        ("actor", ask.actor, fact.actorid),
    ):
        if want != have:
            wrong.append(f"{name}: sent {want!r}, recorded {have!r}")
    for name, value in ask.data.items():
        if name == "seconds":
            continue  # Recorded as an instant.
        recorded = fact.data.get("combo_name" if name == "combo" else name)
        if recorded != value:
            wrong.append(f"data.{name}: sent {value!r}, recorded {recorded!r}")
    return wrong


def _about(check: str, ask: Ask, detail: str) -> Anomaly:
    return Anomaly(check, ask.room, ask.id, detail)


CHECKS = (
    acknowledged_is_in,
    timeline_holds_it,
    refused_is_out,
    once_by_any_name,
    body_is_what_was_sent,
    nothing_unasked,
    comments_are_the_posted,
)
