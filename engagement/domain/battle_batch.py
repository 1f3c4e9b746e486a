"""The battles that some requests are about: decided record by record, scores told once for each.

Rooms that a battle of the batch takes are taken for the others in it.
"""

from collections.abc import Iterable, Mapping, Sequence

from engagement.domain import battle_requests as asks
from engagement.domain.battle_decisions import BattleDecision, handle, score
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.battles import BattleState, SupporterKey, takes_rooms

PointsKey = tuple[str, str, str]
"""Battle, room and actor."""
Told = tuple[BattleState, BattleDecision]


class BattleBatch:
    """As much of the battles as the requests in hand need."""

    def __init__(
        self,
        battles: dict[str, BattleState],
        taken: dict[str, str],
        points: dict[PointsKey, int],
    ) -> None:
        self.battles = battles
        self.taken = taken
        """Which battle has taken each of the rooms that are asked about."""
        self.points = points
        """What each of the supporters in hand has given in a battle."""
        self._given: dict[str, dict[SupporterKey, int]] = {}
        self._newest: dict[str, BattleAsked] = {}

    def take(self, requests: Sequence[BattleAsked], now_us: int) -> list[Told]:
        """Decide about the requests of one record, in order."""
        told: list[Told] = []
        for asked in requests:
            state = self.battles[asked.battle]
            if isinstance(asked.request, asks.BattleContribute):
                told.append((state, self._contribute(state, asked, now_us)))
                continue
            # Whatever else changes a battle comes after the score of what was given before it.
            self._score(state, told)
            told.append((state, handle(state, asked, self._busy(asked), now_us)))
            self._note(state)
        for battle in list(self._newest):
            self._score(self.battles[battle], told)
        return told

    def _contribute(self, state: BattleState, asked: BattleAsked, now_us: int) -> BattleDecision:
        decision = handle(state, asked, frozenset(), now_us)
        for fact in decision.facts:
            if fact.kind != "battle.contributed":
                continue
            room, actor = fact.data.room, asked.actor
            key = (state.battle, room, actor)
            self.points[key] = self.points.get(key, 0) + fact.data.points
            self._given.setdefault(state.battle, {})[room, actor] = self.points[key]
            newest = self._newest.setdefault(state.battle, asked)
            self._newest[state.battle] = max(newest, asked, key=lambda each: each.at_us)
        return decision

    def _score(self, state: BattleState, told: list[Told]) -> None:
        newest = self._newest.pop(state.battle, None)
        if newest is not None:
            told.append((state, score(state, newest, self._given.pop(state.battle))))

    def _busy(self, asked: BattleAsked) -> frozenset[str]:
        return frozenset(room for room, battle in self.taken.items() if battle != asked.battle)

    def _note(self, state: BattleState) -> None:
        """Take or free the rooms of a battle that may have changed."""
        for side in state.sides:
            if takes_rooms(state):
                self.taken[side.room] = state.battle
            elif self.taken.get(side.room) == state.battle:
                del self.taken[side.room]


def rooms_asked_about(
    requests: Iterable[BattleAsked], battles: Mapping[str, BattleState]
) -> set[str]:
    """Rooms that must be free for what is asked."""
    rooms: set[str] = set()
    for asked in requests:
        if isinstance(asked.request, asks.BattleInvite):
            rooms |= {side.room for side in asked.request.data.sides}
        elif isinstance(asked.request, asks.BattleAccept):
            rooms |= {side.room for side in battles[asked.battle].sides}
    return rooms


def points_asked_about(requests: Iterable[BattleAsked]) -> set[PointsKey]:
    """Whose points may grow by what is asked."""
    return {
        (asked.battle, asked.request.data.room, asked.actor)
        for asked in requests
        if isinstance(asked.request, asks.BattleContribute)
    }
