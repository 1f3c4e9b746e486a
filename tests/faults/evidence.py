"""What a fault run leaves behind, as files, and the same in memory for the checks.

Nothing here knows the product: the formats below, the outside contract (api.md) and the public
names of topics and event types are all that the checker stands on.

A run directory holds JSON lines:

``history.jsonl``  one object a line, told apart by ``k``:
    ``run``    seed, requests, commit, started …
    ``room``   room, status (``open``, ``closed``), host
    ``ask``    id, room, actor, type, data, expect, batch: what one request is, and what must
               become of it
    ``altered`` id, data: the same id was sent again with another body, after its ack
    ``try``    c, at, ids, via: one call left the client (c numbers calls, at is monotonic ns;
               ``altered``: with another body than the one that the ids belong to)
    ``ans``    c, at, st: its answers, one status per id (see `Status` below)
    ``unopened`` user, why: a sender's socket that did not open
    ``told``   id, st: what became of a gift, as its sender's socket was told later
    ``fault``  what (kill, stop, continue), kind, at
    ``poison`` topic, partition, offset: a garbage record that the run itself wrote (every one
               of them contains `POISON_MARK`, also those whose offset was never told)
    ``sentinel`` room, id: the room's last comment, sent after all faults
``room.jsonl``, ``activity.jsonl``, ``dead.jsonl``  the topics, whole: p, o, k, v (or x: base64 of
    what is not JSON; h: headers)
``timeline.jsonl``, ``comments.jsonl``  room, items: each page as HTTP answered it, in order
``rooms.jsonl``  ``GET /v1/rooms/{room}`` of every room, at the end
``rows.jsonl``  p, o, id: the rows of the timeline projection, from the database
``counts.jsonl``  room, likes, online: what the other projections hold
``viewers.jsonl``  what sockets were told: see `ViewerLine`
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, field

Expectation = Literal["fact", "held", "refused", "maybe", "gift"]
"""What must become of an acknowledged request: its fact in the topic of its type; a
`comment.held`; exactly one `request.refused`; its fact at most once (a leave whose lease may have
run out); or, of a gift, either its fact or a refusal."""

POISON_MARK = "poison-"
TAKEN = ("accepted", "duplicate", "paid", "refused")
"""Statuses that say that a request is in: decided, or about to be. A `duplicate` of a gift may say
what became of it (`duplicate:paid`), a `refused` why (`refused:insufficient_funds`)."""
UNKNOWN = "unknown"
"""A call without an answer, or one that says nothing about the fate of the request."""

FACT_OF_REQUEST = {
    "comment.post": "comment.posted",
    "like.tap": "like.tapped",
    "room.join": "viewer.joined",
    "room.leave": "viewer.left",
    "comment.remove": "comment.removed",
    "viewer.mute": "viewer.muted",
    "viewer.ban": "viewer.banned",
    "gift.send": "gift.sent",
}
TIMELINE_REQUESTS = ("comment.post", "comment.remove", "viewer.mute", "viewer.ban")
"""Requests whose fact belongs in the timeline; the others' single facts are activity."""


class Ask(Struct):
    """One request, and all that happened to it between client and gateway."""

    id: str
    room: str
    actor: str
    type: str
    data: dict[str, Any]
    expect: Expectation = "fact"
    batch: int = -1
    first_sent: int = 0
    first_ack: int = 0
    """0 while no answer said `accepted` or `duplicate`."""
    rejected: str = ""
    """Code of a synchronous refusal, if there was one."""
    tries: int = 0
    unknown: int = 0
    calls: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Of a gift: every `paid` or `refused` that its sender was told."""

    @property
    def acknowledged(self) -> bool:
        """The client was told that it is in."""
        return self.first_ack > 0


class Fact(Struct):
    """The parts of a CloudEvent that the checks look at."""

    id: str
    type: str
    roomid: str = ""
    actorid: str = ""
    accountid: str = ""
    time: str = ""
    mediaepoch: int = 0
    mediapts: int = 0
    causationid: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Record(Struct):
    """One record of a topic; `fact` is None when it is not a CloudEvent."""

    partition: int
    offset: int
    key: str
    fact: Fact | None
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class ViewerLine(Struct):
    """One thing a viewer's socket was told: hello, events, skipped or closed."""

    v: int
    room: str
    k: Literal["hello", "events", "skipped", "closed"]
    at: int = 0
    gw: int = 0
    resumed: bool = False
    """hello: the viewer had presented a cursor."""
    recovered: bool = False
    newest: list[str] = field(default_factory=list)
    """hello without recovery: ids of the snapshot's comments."""
    ids: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    code: int = 0


class Evidence(Struct):
    """All files of a run, decoded."""

    run: dict[str, Any]
    rooms: dict[str, dict[str, Any]]
    asks: dict[str, Ask]
    altered: dict[str, list[dict[str, Any]]]
    altered_told: dict[str, list[str]]
    """Request → answers to the same id with another body."""
    altered_calls: dict[int, str]
    """Such calls → the request."""
    calls: dict[int, list[str]]
    faults: list[dict[str, Any]]
    poison: list[dict[str, Any]]
    sentinels: dict[str, str]
    """Room → id of the last comment that was sent to it, after all faults."""
    room_log: list[Record]
    activity: list[Record]
    dead: list[Record]
    timeline: dict[str, list[Record]]
    comments: dict[str, list[Record]]
    room_views: dict[str, dict[str, Any]]
    rows: list[tuple[int, int, str]]
    counts: dict[str, dict[str, Any]]
    viewers: dict[int, list[ViewerLine]]


class _LogLine(Struct):
    p: int
    o: int
    k: str = ""
    v: Raw = Raw(b"")
    x: str = ""
    h: dict[str, str] = field(default_factory=dict)


class _Page(Struct):
    room: str
    items: list[Raw]


class _Row(Struct):
    p: int
    o: int
    id: str


_FACT = msgspec.json.Decoder(Fact)


def fact_of(body: bytes) -> Fact | None:
    """The fact in these bytes; None when there is none."""
    try:
        return _FACT.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def load(directory: Path) -> Evidence:
    """Read a run directory. FileNotFoundError when a file is missing."""
    evidence = _load_history(directory / "history.jsonl")
    evidence.room_log = records(directory / "room.jsonl")
    evidence.activity = records(directory / "activity.jsonl")
    evidence.dead = records(directory / "dead.jsonl")
    evidence.timeline = _pages(directory / "timeline.jsonl")
    evidence.comments = _pages(directory / "comments.jsonl")
    for line in _lines(directory / "rooms.jsonl", dict):
        evidence.room_views[line["room"]] = line
    evidence.rows = [(row.p, row.o, row.id) for row in _lines(directory / "rows.jsonl", _Row)]
    for line in _lines(directory / "counts.jsonl", dict):
        evidence.counts[line["room"]] = line
    for told in _lines(directory / "viewers.jsonl", ViewerLine):
        evidence.viewers.setdefault(told.v, []).append(told)
    return evidence


def _lines(path: Path, kind: Any) -> Iterator[Any]:
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)


def records(path: Path) -> list[Record]:
    """All records of a dumped topic, each partition's in order."""
    made = []
    for line in _lines(path, _LogLine):
        body = bytes(line.v) or base64.b64decode(line.x)
        made.append(Record(line.p, line.o, line.k, fact_of(body), body, line.h))
    return made


def _pages(path: Path) -> dict[str, list[Record]]:
    pages: dict[str, list[Record]] = {}
    for page in _lines(path, _Page):
        items = pages.setdefault(page.room, [])
        for item in page.items:
            body = bytes(item)
            items.append(Record(-1, -1, page.room, fact_of(body), body))
    return pages


def _load_history(path: Path) -> Evidence:
    evidence = Evidence(
        run={}, rooms={}, asks={}, altered={}, altered_told={}, altered_calls={}, calls={},
        faults=[], poison=[], sentinels={}, room_log=[], activity=[], dead=[], timeline={},
        comments={}, room_views={}, rows=[], counts={}, viewers={},
    )  # fmt: skip
    for line in _lines(path, dict):
        _take(evidence, line)
    for ids in evidence.calls.values():
        for request_id in ids:
            evidence.asks[request_id].unknown += 1
    evidence.calls = _calls_of(evidence)
    return evidence


def _calls_of(evidence: Evidence) -> dict[int, list[str]]:
    """Call → its ids, rebuilt: while reading, `calls` held only those without an answer."""
    calls: dict[int, list[str]] = {}
    for ask in evidence.asks.values():
        for call in ask.calls:
            calls.setdefault(call, []).append(ask.id)
    return calls


def _take(evidence: Evidence, line: dict[str, Any]) -> None:
    kind = line["k"]
    if kind == "ask":
        ask = msgspec.convert(line, Ask)
        evidence.asks[ask.id] = ask
    elif kind == "try":
        _take_try(evidence, line)
    elif kind == "ans":
        _take_answers(evidence, line)
    elif kind == "told":
        _hear(evidence.asks[line["id"]], line["st"])
    elif kind == "altered":
        evidence.altered.setdefault(line["id"], []).append(line["data"])
    elif kind == "fault":
        evidence.faults.append(line)
    elif kind == "poison":
        evidence.poison.append(line)
    elif kind == "room":
        evidence.rooms[line["room"]] = line
    elif kind == "sentinel":
        evidence.sentinels[line["room"]] = line["id"]
    elif kind == "run":
        evidence.run = line


def _take_try(evidence: Evidence, line: dict[str, Any]) -> None:
    if line.get("altered"):
        # An altered repeat says nothing about the request it pretends to be.
        evidence.altered_calls[line["c"]] = line["ids"][0]
        return
    evidence.calls[line["c"]] = line["ids"]
    for request_id in line["ids"]:
        ask = evidence.asks[request_id]
        ask.tries += 1
        ask.calls.append(line["c"])
        if not ask.first_sent:
            ask.first_sent = line["at"]


def _take_answers(evidence: Evidence, line: dict[str, Any]) -> None:
    altered = evidence.altered_calls.get(line["c"])
    if altered is not None:
        evidence.altered_told.setdefault(altered, []).extend(line["st"])
    ids = evidence.calls.pop(line["c"], None)
    if ids is None:
        return
    for request_id, status in zip(ids, line["st"], strict=True):
        ask = evidence.asks[request_id]
        if status.partition(":")[0] in TAKEN:
            ask.first_ack = ask.first_ack or line["at"]
            _hear(ask, status)
        elif status.startswith(UNKNOWN):
            ask.unknown += 1
        else:
            ask.rejected = status


def _hear(ask: Ask, status: str) -> None:
    kind, _, detail = status.partition(":")
    outcome = detail if kind == "duplicate" else kind
    if outcome in ("paid", "refused"):
        ask.told.append(outcome)
