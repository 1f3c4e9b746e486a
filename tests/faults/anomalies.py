"""What a check says when it finds something, and what all checks look things up in."""

from collections.abc import Callable, Iterator

from msgspec import Struct, field

from .evidence import Evidence, Record


class Anomaly(Struct, frozen=True):
    """One broken promise."""

    check: str
    room: str
    about: str
    """Id of the request or fact, or a position."""
    detail: str


class Index(Struct):
    """The topics as a consumer sees them that drops every id it has seen."""

    room: dict[str, Record] = field(default_factory=dict)
    activity: dict[str, Record] = field(default_factory=dict)
    by_room: dict[str, list[Record]] = field(default_factory=dict)
    """Room → its records of the room topic, first occurrences, in log order."""
    activity_by_room: dict[str, list[Record]] = field(default_factory=dict)
    refusals: dict[str, list[Record]] = field(default_factory=dict)
    """Request id → distinct `request.refused`."""
    by_cause: dict[str, list[Record]] = field(default_factory=dict)
    """Request id → distinct facts of both topics that name it as their cause."""
    removed: set[str] = field(default_factory=set)
    """Ids of comments that were taken back or down: a tombstone hides them everywhere."""
    repeats: list[tuple[Record, Record]] = field(default_factory=list)
    """(first, later) records of the same id."""


Check = Callable[[Evidence, Index], Iterator[Anomaly]]


def index(evidence: Evidence) -> Index:
    """Index both fact topics."""
    made = Index()
    _fill(made, evidence.room_log, made.room, made.by_room)
    _fill(made, evidence.activity, made.activity, made.activity_by_room)
    for record in made.activity.values():
        fact = record.fact
        if fact is not None and fact.type == "request.refused":
            made.refusals.setdefault(str(fact.data.get("request")), []).append(record)
    for record in made.room.values():
        if record.fact is not None and record.fact.type == "comment.removed":
            made.removed.add(str(record.fact.data.get("target")))
    return made


def _fill(
    made: Index,
    records: list[Record],
    firsts: dict[str, Record],
    by_room: dict[str, list[Record]],
) -> None:
    for record in sorted(records, key=lambda item: (item.partition, item.offset)):
        fact = record.fact
        if fact is None:
            continue
        first = firsts.get(fact.id)
        if first is not None:
            made.repeats.append((first, record))
            continue
        firsts[fact.id] = record
        by_room.setdefault(fact.roomid, []).append(record)
        if fact.causationid and fact.type != "request.refused":
            made.by_cause.setdefault(fact.causationid, []).append(record)
