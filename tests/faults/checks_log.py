"""The topics themselves: keys, repeats, order, windows, dead letters."""

from collections.abc import Iterator
from itertools import pairwise

from .anomalies import Anomaly, Index
from .evidence import POISON_MARK, Ask, Evidence, Record


def keyed_by_room(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """The key is the room, and all facts of a room lie in one partition of both topics."""
    homes: dict[str, int] = {}
    for record in (*evidence.room_log, *evidence.activity):
        fact = record.fact
        if fact is None:
            continue
        if record.key != fact.roomid:
            yield Anomaly("wrong_key", fact.roomid, fact.id, f"keyed {record.key!r}")
        home = homes.setdefault(fact.roomid, record.partition)
        if home != record.partition:
            detail = f"in partition {record.partition}, the room lives in {home}"
            yield Anomaly("wrong_partition", fact.roomid, fact.id, detail)


def repeats_are_equal(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """A fact that is written again has the same bytes: the filter let no second decision by."""
    for first, later in found.repeats:
        if first.body != later.body and first.fact:
            detail = f"{first.fact.type} at {_at(first)} and {_at(later)} differ"
            yield Anomaly("unequal_repeat", first.fact.roomid, first.fact.id, detail)


def log_keeps_real_time(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """What was acknowledged before another request was sent lies before it on the log.

    Gifts come to their room by the ledger; their order is that of their wallet.
    """
    for by_room in (found.by_room, found.activity_by_room):
        for room, records in by_room.items():
            newest_sent, newest = 0, ""
            for record in records:
                ask = _ask_of(record, evidence)
                if ask is None or ask.type == "gift.send":
                    continue
                if ask.acknowledged and ask.first_ack < newest_sent:
                    late_ms = (newest_sent - ask.first_ack) / 1e6
                    detail = f"acknowledged {late_ms:.1f} ms before {newest} was sent, lies after"
                    yield Anomaly("order_inverted", room, ask.id, detail)
                if ask.first_sent > newest_sent:
                    newest_sent, newest = ask.first_sent, ask.id


def batches_keep_their_order(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Requests of one array are recorded in the array's order."""
    batches: dict[int, list[Ask]] = {}
    for ask in evidence.asks.values():
        if ask.batch >= 0:
            batches.setdefault(ask.batch, []).append(ask)
    for asks in batches.values():
        if len({tuple(ask.calls[:1]) for ask in asks}) != 1:
            continue
        for topic in (found.room, found.activity):
            places = [
                (topic[ask.id].offset, ask.id)
                for ask in asks
                if ask.id in topic and not _sent_apart(ask, evidence)
            ]
            for (earlier, _), (later, late_id) in pairwise(places):
                if later < earlier:
                    detail = f"offset {later} after {earlier} in one array"
                    yield Anomaly("batch_reordered", asks[0].room, late_id, detail)
                    break


def windows_add_up(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Every version of a window once and rising; totals equal the single facts."""
    for room, records in found.by_room.items():
        singles = found.activity_by_room.get(room, [])
        yield from _likes(room, records, singles, evidence)
        yield from _presence(room, records, singles)


def _likes(
    room: str, records: list[Record], singles: list[Record], evidence: Evidence
) -> Iterator[Anomaly]:
    taps = sum(
        int(record.fact.data["count"])
        for record in singles
        if record.fact and record.fact.type == "like.tapped"
    )
    window, total, told = -1, 0, 0
    for record in records:
        fact = record.fact
        if fact is None or fact.type != "likes.counted":
            continue
        if fact.data["window"] <= window:
            yield Anomaly("window_again", room, fact.id, f"likes window {fact.data['window']}")
        if fact.data["room_total"] < total:
            yield Anomaly("total_fell", room, fact.id, f"{total} to {fact.data['room_total']}")
        window, total = fact.data["window"], fact.data["room_total"]
        told += fact.data["count"]
    if total != taps:
        yield Anomaly("wrong_total", room, "", f"windows tell {total} likes, {taps} were tapped")
    if told != taps:
        yield Anomaly("wrong_total", room, "", f"window counts sum to {told}, {taps} were tapped")
    for reader, counts in (("GET room", evidence.room_views), ("projection", evidence.counts)):
        shown = counts.get(room, {}).get("likes", 0)
        if shown != taps:
            yield Anomaly("wrong_total", room, "", f"{reader} shows {shown} likes of {taps}")


def _presence(room: str, records: list[Record], singles: list[Record]) -> Iterator[Anomaly]:
    leases: set[str] = set()
    joined = left = 0
    for record in singles:
        fact = record.fact
        if fact is None or fact.type not in ("viewer.joined", "viewer.left"):
            continue
        session = str(fact.data["session"])
        if fact.type == "viewer.joined":
            joined += 1
            if session in leases:
                yield Anomaly("joined_twice", room, fact.id, f"{session} is in already")
            leases.add(session)
        else:
            left += 1
            if session not in leases:
                yield Anomaly("left_twice", room, fact.id, f"{session} is not in")
            leases.discard(session)
    window, told_joined, told_left, online = -1, 0, 0, 0
    for record in records:
        fact = record.fact
        if fact is None or fact.type != "viewers.counted":
            continue
        if fact.data["window"] <= window:
            yield Anomaly("window_again", room, fact.id, f"viewers window {fact.data['window']}")
        window, online = fact.data["window"], fact.data["online"]
        told_joined += fact.data["joined"]
        told_left += fact.data["left"]
    if any(record.fact and record.fact.type == "room.closed" for record in records):
        return  # Closing ends all leases at once, untold one by one.
    for name, told, true in (
        ("joined", told_joined, joined),
        ("left", told_left, left),
        ("online", online, len(leases)),
        ("online at the end", online, 0),
    ):
        if told != true:
            yield Anomaly("wrong_total", room, "", f"{name}: windows tell {told}, facts {true}")


def poison_is_put_aside(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Every garbage record is a dead letter, and nothing else is."""
    planted = {
        (bad["topic"], bad["partition"], bad["offset"])
        for bad in evidence.poison
        if bad["offset"] >= 0
    }
    seen = set()
    for record in evidence.dead:
        headers = record.headers
        place = (
            headers.get("topic", ""),
            int(headers.get("partition", -1)),
            int(headers.get("offset", -1)),
        )
        seen.add(place)
        if POISON_MARK.encode() not in record.body:
            detail = f"{place} became a dead letter: {headers.get('reason')}"
            yield Anomaly("dead_letter_unasked", record.key, str(place), detail)
    for place in sorted(planted - seen):
        yield Anomaly("poison_lost", "", str(place), "garbage record without a dead letter")


def _ask_of(record: Record, evidence: Evidence) -> Ask | None:
    return evidence.asks.get(record.fact.id) if record.fact else None


def _sent_apart(ask: Ask, evidence: Evidence) -> bool:
    """Whether a call without the whole of its batch may have been what got it in."""
    whole = len(evidence.calls[ask.calls[0]])
    return any(len(evidence.calls[call]) != whole for call in ask.calls)


def _at(record: Record) -> str:
    return f"{record.partition}:{record.offset}"


CHECKS = (
    keyed_by_room,
    repeats_are_equal,
    log_keeps_real_time,
    batches_keep_their_order,
    windows_add_up,
    poison_is_put_aside,
)
