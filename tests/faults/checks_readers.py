"""Everybody who reads the log: the projection, its pages, and the viewers' sockets."""

from collections.abc import Iterator
from itertools import pairwise

from .anomalies import Anomaly, Index
from .evidence import Evidence, Fact, Record, ViewerLine


def pages_equal_the_log(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """The HTTP timeline holds the topic's records, byte for byte, in media order."""
    for room in evidence.timeline:
        items = evidence.timeline[room]
        places = {r.fact.id: n for n, r in enumerate(found.by_room.get(room, [])) if r.fact}
        for item in items:
            first = found.room.get(item.fact.id) if item.fact else None
            if first is not None and first.body != item.body:
                detail = "the timeline's bytes are not the topic's"
                yield Anomaly("body_differs", room, first.fact.id, detail)  # type: ignore[union-attr]
        have = [item.fact for item in items if item.fact]
        for missing in sorted(set(places) - {fact.id for fact in have} - found.removed):
            yield Anomaly("timeline_gap", room, missing, "in the topic, not in the timeline")
        for earlier, later in pairwise(have):
            if _place(earlier, places) > _place(later, places):
                detail = f"{earlier.id} stands before it"
                yield Anomaly("timeline_order", room, later.id, detail)
        if len(have) != len({fact.id for fact in have}):
            yield Anomaly("timeline_repeat", room, "", "a page repeats an item")


def rows_cover_the_log(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """One row per distinct fact, at the offset where the topic has it first."""
    want = {(r.partition, r.offset): r.fact.id for r in found.room.values() if r.fact}
    have: dict[tuple[int, int], str] = {}
    ids: set[str] = set()
    for partition, offset, fact_id in evidence.rows:
        if fact_id in ids or (partition, offset) in have:
            yield Anomaly("row_twice", "", fact_id, f"at {partition}:{offset}")
        ids.add(fact_id)
        have[partition, offset] = fact_id
    for (partition, offset), fact_id in want.items():
        if have.get((partition, offset)) != fact_id:
            yield Anomaly("row_missing", "", fact_id, f"no row for {partition}:{offset}")
    for (partition, offset), fact_id in have.items():
        if (partition, offset) not in want:
            yield Anomaly("row_extra", "", fact_id, f"row {partition}:{offset} is not in the topic")


def viewers_miss_nothing(evidence: Evidence, found: Index) -> Iterator[Anomaly]:
    """Each socket got every event once and in order, or was told what it did not get."""
    places: dict[str, dict[str, int]] = {}
    for room, records in found.by_room.items():
        places[room] = {r.fact.id: n for n, r in enumerate(records) if r.fact}
    for number, lines in evidence.viewers.items():
        room = lines[0].room
        follower = _Follower(number, room, found.by_room.get(room, []), places.get(room, {}))
        for line in lines:
            yield from follower.take(line)
        sentinel = evidence.sentinels.get(room, "")
        yield from follower.finish(sentinel)


class _Follower:
    """One viewer's place in its room's log, as far as its socket has told it."""

    def __init__(self, number: int, room: str, log: list[Record], places: dict[str, int]) -> None:
        self._number = number
        self._room = room
        self._log = log
        self._places = places
        self._at: int | None = None
        """Place of the newest event; None while only the snapshot says where we are."""
        self._floor = -1
        """Place of the newest comment in the snapshot: no later comment may be missing."""
        self._missing: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._seen: set[str] = set()

    def take(self, line: ViewerLine) -> Iterator[Anomaly]:
        """One line of what the socket was told."""
        if line.k == "hello" and not (line.resumed and line.recovered):
            yield from self._settle()
            self._at = None
            self._floor = max((self._places.get(name, -1) for name in line.newest), default=-1)
        elif line.k == "skipped":
            for kind, count in line.counts.items():
                self._told[kind] = self._told.get(kind, 0) + count
        elif line.k == "closed" and 3500 <= line.code < 4000:
            yield self._anomaly("viewer_sent_away", "", f"close code {line.code}")
        for event in line.ids:
            yield from self._event(event)

    def finish(self, sentinel: str) -> Iterator[Anomaly]:
        """After the last line: the room's last comment must have arrived."""
        yield from self._settle()
        if sentinel and sentinel not in self._seen and not self._sentinel_in_snapshot(sentinel):
            yield self._anomaly("viewer_cut_short", sentinel, "never got the room's last comment")

    def _sentinel_in_snapshot(self, sentinel: str) -> bool:
        return self._at is None and self._floor >= self._places.get(sentinel, 0)

    def _event(self, event: str) -> Iterator[Anomaly]:
        place = self._places.get(event)
        if place is None:
            yield self._anomaly("viewer_phantom", event, "an event that is not on the log")
            return
        if self._at is None:
            between = self._log[self._floor + 1 : place] if self._floor >= 0 else []
            missed = [r for r in between if r.fact and r.fact.type == "comment.posted"]
            if missed:
                detail = f"{len(missed)} comments between the snapshot and the first event"
                yield self._anomaly("viewer_gap", event, detail)
        elif place <= self._at:
            which = "again" if event in self._seen else "out of order"
            yield self._anomaly("viewer_repeat", event, f"{which}, at {place} after {self._at}")
            return
        else:
            for record in self._log[self._at + 1 : place]:
                kind = record.fact.type if record.fact else ""
                self._missing[kind] = self._missing.get(kind, 0) + 1
        self._at = place
        self._seen.add(event)

    def _settle(self) -> Iterator[Anomaly]:
        for kind in sorted(set(self._missing) | set(self._told)):
            missing, told = self._missing.get(kind, 0), self._told.get(kind, 0)
            if missing > told:
                detail = f"{missing} {kind} missing, {told} told as skipped"
                yield self._anomaly("viewer_gap", "", detail)
        self._missing, self._told = {}, {}

    def _anomaly(self, check: str, about: str, detail: str) -> Anomaly:
        return Anomaly(check, self._room, about, f"viewer {self._number}: {detail}")


def _place(fact: Fact, places: dict[str, int]) -> tuple[int, int, int]:
    return fact.mediaepoch, fact.mediapts, places.get(fact.id, -1)


CHECKS = (pages_equal_the_log, rows_cover_the_log, viewers_miss_nothing)
