"""A small fault run without a fault in it, as files: what planted bugs are planted into."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOMS = ("ash", "oak")
COMMENTS_PER_ROOM = 12


class CleanRun:
    """Lines of every file of a run directory; a test spoils some and writes them all."""

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = [{"k": "run", "seed": 1}]
        self.room: list[dict[str, Any]] = []
        self.activity: list[dict[str, Any]] = []
        self.dead: list[dict[str, Any]] = []
        self.timeline: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.rooms: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.counts: list[dict[str, Any]] = []
        self.viewers: list[dict[str, Any]] = []
        self._now = 0
        self._call = 0
        for partition, room in enumerate(ROOMS):
            self._play(room, partition)
        self.history.append(
            {"k": "poison", "topic": "live.requests.v1", "partition": 1, "offset": 7}
        )
        self.dead.append(
            {"p": 0, "o": 0, "k": "", "v": "poison-0"}
            | {"h": {"topic": "live.requests.v1", "partition": "1", "offset": "7", "reason": "x"}}
        )

    def write(self, directory: Path) -> Path:
        """Write all files; returns the directory."""
        for name in (
            "history", "room", "activity", "dead", "timeline", "comments", "rooms", "rows",
            "counts", "viewers",
        ):  # fmt: skip
            lines = "".join(json.dumps(line) + "\n" for line in getattr(self, name))
            (directory / f"{name}.jsonl").write_text(lines)
        return directory

    def record(self, request_id: str) -> dict[str, Any]:
        """The record of a request's fact, in either topic."""
        return next(line for line in (*self.room, *self.activity) if line["v"]["id"] == request_id)

    def forget(self, request_id: str) -> None:
        """Take a fact out of everything that tells of it, as if it had never been recorded."""
        for lines in (self.room, self.activity):
            lines[:] = [line for line in lines if line["v"]["id"] != request_id]
        self.rows[:] = [row for row in self.rows if row["id"] != request_id]
        for page in (*self.timeline, *self.comments):
            page["items"] = [item for item in page["items"] if item["id"] != request_id]
        for told in self.viewers:
            for name in ("ids", "newest"):
                told[name] = [event for event in told.get(name, []) if event != request_id]

    def append(self, lines: list[dict[str, Any]], partition: int, fact: dict[str, Any]) -> None:
        """One more record at the end of a partition."""
        offset = sum(line["p"] == partition for line in lines)
        lines.append({"p": partition, "o": offset, "k": fact["roomid"], "v": fact})

    def ask(
        self, name: str, room: str, kind: str, data: dict[str, Any], status: str, **more: Any
    ) -> None:
        """One request, sent once and answered."""
        self._call += 1
        ask = {"k": "ask", "id": name, "room": room, "actor": f"u-{name}", "type": kind}
        self.history += [
            ask | {"data": data, "expect": "fact"} | more,
            {"k": "try", "c": self._call, "at": self.tick(), "ids": [name]},
            {"k": "ans", "c": self._call, "at": self.tick(), "st": [status]},
        ]

    def tick(self) -> int:
        """The next instant, ns."""
        self._now += 1_000_000
        return self._now

    def _play(self, room: str, partition: int) -> None:
        self.history.append({"k": "room", "room": room, "status": "open", "host": "host"})
        for fact in self._facts(room):
            topic = self.activity if fact.pop("single", False) else self.room
            self.append(topic, partition, fact)
        told = [line for line in self.room if line["p"] == partition]
        facts = [line["v"] for line in told]
        ids = [fact["id"] for fact in facts]
        self.history.append({"k": "sentinel", "room": room, "id": f"{room}-last"})
        self.rows += [{"p": line["p"], "o": line["o"], "id": line["v"]["id"]} for line in told]
        removed = {
            fact["data"].get("target") for fact in facts if fact["type"] == "comment.removed"
        }
        shown = [fact for fact in facts if fact["id"] not in removed]
        self.timeline += [
            {"room": room, "items": shown[:6]},
            {"room": room, "items": shown[6:]},
        ]
        posted = [fact for fact in facts if fact["type"] == "comment.posted"]
        listed = [fact for fact in reversed(posted) if fact["id"] not in removed]
        self.comments.append({"room": room, "items": listed})
        self.rooms.append({"room": room, "likes": 5, "online": 0})
        self.counts.append({"room": room, "likes": 5, "online": 0})
        self.viewers += self._watch(partition, room, ids)

    def _facts(self, room: str) -> Iterator[dict[str, Any]]:
        for number in range(COMMENTS_PER_ROOM):
            name, text = f"{room}-c{number}", f"{room} says {number}"
            self.ask(name, room, "comment.post", {"text": text}, "accepted", batch=-1)
            yield self.fact(name, room, "comment.posted", {"text": text})
        for number, count in enumerate((2, 3)):
            name = f"{room}-l{number}"
            self.ask(name, room, "like.tap", {"count": count}, "accepted")
            yield self.fact(name, room, "like.tapped", {"count": count}) | {"single": True}
            total = 2 if number == 0 else 5
            window = {"window": number, "count": count, "room_total": total}
            yield self.fact(f"{room}-w{number}", room, "likes.counted", window, actor="")
        name = f"{room}-j"
        self.ask(name, room, "room.join", {}, "accepted")
        session = {"session": f"http/u-{name}"}
        yield self.fact(name, room, "viewer.joined", session) | {"single": True}
        counted = {"window": 9, "online": 1, "joined": 1, "left": 0}
        yield self.fact(f"{room}-v", room, "viewers.counted", counted, actor="")
        leave = f"{room}-q"
        self.ask(leave, room, "room.leave", {}, "accepted", actor=f"u-{name}", expect="maybe")
        left = self.fact(leave, room, "viewer.left", session, actor=f"u-{name}")
        yield left | {"single": True}
        counted = {"window": 10, "online": 0, "joined": 0, "left": 1}
        yield self.fact(f"{room}-v2", room, "viewers.counted", counted, actor="")
        self.ask(f"{room}-bad", room, "comment.post", {"text": "no"}, "accepted", expect="refused")
        told = {"request": f"{room}-bad", "code": "moderated"}
        yield self.fact(f"{room}-bad-refused", room, "request.refused", told) | {"single": True}
        name = f"{room}-rm"
        self.ask(name, room, "comment.remove", {"target": f"{room}-c3"}, "accepted")
        yield self.fact(name, room, "comment.removed", {"target": f"{room}-c3"})
        self.ask(f"{room}-lost", room, "comment.post", {"text": "?"}, "unknown")
        name = f"{room}-last"
        self.ask(name, room, "comment.post", {"text": "the end"}, "duplicate")
        yield self.fact(name, room, "comment.posted", {"text": "the end"})

    def fact(
        self, name: str, room: str, kind: str, data: dict[str, Any], actor: str | None = None
    ) -> dict[str, Any]:
        """A CloudEvent as the topic has it."""
        made = {"id": name, "type": kind, "roomid": room, "mediapts": self._now // 1_000_000}
        if actor != "":
            made |= {"actorid": actor or f"u-{name}", "causationid": name}
        return made | {"time": f"2026-01-01T00:00:00.{self._now // 1000:06d}Z", "data": data}

    def _watch(self, number: int, room: str, ids: list[str]) -> list[dict[str, Any]]:
        """A viewer who comes late, loses the socket once, resumes, and stays to the end."""
        told: list[dict[str, Any]] = [
            {"k": "hello", "recovered": False, "newest": [f"{room}-c1", f"{room}-c0"]},
            {"k": "events", "ids": ids[2:5]},
            {"k": "closed", "code": 1006},
            {"k": "hello", "resumed": True, "recovered": True},
            {"k": "events", "ids": ids[5:8]},
            {"k": "skipped", "counts": {"comment.posted": 2}},
            {"k": "events", "ids": ids[10:]},
        ]
        return [{"v": number, "room": room} | line for line in told]
