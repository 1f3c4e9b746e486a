"""PK battles of a recording, from the scores that the platform told its viewers."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Struct

from engagement.domain import battle_events as events
from engagement.domain.battle_events import EndReason, Side
from engagement.domain.events import rfc3339
from engagement.domain.requests import BattleNews
from engagement.recordings.names import actor_name, room_name

DURATION_S: Final = 300
"""Of a battle whose length the recording does not tell: what platforms offer first."""
RULE: Final = "recorded"
"""The platform's own, whatever it was."""


class BattleFrame(Struct, frozen=True):
    """A frame about a battle."""

    battle: str
    scores: dict[str, int] = {}
    """By side; only ever growing."""
    own: str = ""
    """Which side the recorded room is, if it is one of them."""
    started_us: int = 0
    duration_s: int = 0
    """0: this frame does not tell."""
    ended: bool = False


class Told(Struct, frozen=True):
    """News of a battle at a time."""

    at_us: int
    news: BattleNews


class PlacedFrame(Struct, frozen=True):
    """A frame, and when it came."""

    at_us: int
    frame: BattleFrame


class _Battle:
    """One battle, told from its frames in the order of their time."""

    def __init__(self, frames: Sequence[PlacedFrame], side_of: Callable[[str, str], Side]) -> None:
        self._frames = frames
        names = list(dict.fromkeys(name for one in frames for name in one.frame.scores))
        own = next((one.frame.own for one in frames if one.frame.own), "")
        self._sides = {name: side_of(name, own) for name in names}
        self._totals = {side.room: 0 for side in self._sides.values()}
        self._revision = 0
        self.name = frames[0].frame.battle
        first_us = frames[0].at_us
        self._started_us = next(
            (o.frame.started_us for o in frames if o.frame.started_us), first_us
        )
        self._duration_s = next(
            (one.frame.duration_s for one in frames if one.frame.duration_s), DURATION_S
        )

    def told(self, last_us: int) -> Iterator[Told]:
        """What the room was told; the end as well, if it is within the recording."""
        yield self._begun()
        ended_us = 0
        for one in self._frames:
            if self._raise(one.frame) or (one.frame.scores and self._revision == 1):
                scored = events.BattleScored(self.name, self._next(), dict(self._totals), [])
                yield _told(one.at_us, "battle.scored", scored, self._revision)
            if one.frame.ended:
                ended_us = one.at_us
                break
        newest_us = self._frames[-1].at_us
        deadline_us = self._started_us + self._duration_s * 1_000_000
        if ended_us:
            yield self._ended(ended_us, "deadline")
        elif deadline_us <= last_us:
            yield self._ended(max(deadline_us, newest_us), "deadline")
        else:
            yield self._ended(last_us, "room_closed")

    def _begun(self) -> Told:
        deadline_us = self._started_us + self._duration_s * 1_000_000
        started = events.BattleStarted(
            self.name, self._next(), list(self._sides.values()), rfc3339(self._started_us),
            rfc3339(deadline_us), self._duration_s, RULE,
        )  # fmt: skip
        return _told(self._frames[0].at_us, "battle.started", started, self._revision)

    def _raise(self, frame: BattleFrame) -> bool:
        """Scores only grow, whatever came late; whether one has."""
        grown = False
        for name, score in frame.scores.items():
            room = self._sides[name].room
            grown = grown or score > self._totals[room]
            self._totals[room] = max(score, self._totals[room])
        return grown

    def _ended(self, at_us: int, reason: EndReason) -> Told:
        best = max(self._totals.values())
        leading = [room for room, score in self._totals.items() if score == best]
        data = events.BattleEnded(
            self.name,
            self._next(),
            dict(self._totals),
            "aborted" if reason != "deadline" else "win" if len(leading) == 1 else "draw",
            reason,
            winner=leading[0] if reason == "deadline" and len(leading) == 1 else UNSET,
        )
        return _told(at_us, "battle.ended", data, self._revision)

    def _next(self) -> int:
        self._revision += 1
        return self._revision


def told_battles(
    frames: Sequence[PlacedFrame], *, room: str, host: str, last_us: int
) -> list[Told]:
    """All that a room was told of battles, in the order of its time.

    The frames are in order; those of a battle without any scores tell nothing.
    """

    def side_of(name: str, own: str) -> Side:
        return Side(room, host) if name == own else _elsewhere(name)

    by_battle: dict[str, list[PlacedFrame]] = defaultdict(list)
    for one in frames:
        by_battle[one.frame.battle].append(one)
    told = [
        news
        for placed in by_battle.values()
        if any(one.frame.scores for one in placed)
        for news in _Battle(placed, side_of).told(last_us)
    ]
    return sorted(told, key=lambda news: news.at_us)


def _told(at_us: int, kind: str, data: Struct, revision: int) -> Told:
    encoded = msgspec.Raw(msgspec.json.encode(data))
    return Told(at_us, BattleNews(kind, data.battle, revision, encoded))  # type: ignore[attr-defined]


def _elsewhere(name: str) -> Side:
    """A side that is another room of the platform, which calls it by its host."""
    return Side(room_name(name), actor_name(name))
