"""What a room knows of battles: the newest revision of each of the last ones."""

import msgspec

from engagement.domain import battle_events as battles
from engagement.domain import limits, requests
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.moderation import WordList
from engagement.domain.room_partition import RoomPartition

SIDES = [battles.Side("kitchen", "ana"), battles.Side("garden", "bob")]


def told(kind: str, battle: str, revision: int) -> Accepted:
    data = {
        "battle.started": battles.BattleStarted(battle, revision, SIDES, "t0", "t1", 60, "coins"),
        "battle.scored": battles.BattleScored(battle, revision, {"kitchen": revision}, []),
        "battle.ended": battles.BattleEnded(battle, revision, {"kitchen": 9}, "draw", "deadline"),
    }[kind]
    news = requests.BattleNews(kind, battle, revision, msgspec.Raw(msgspec.json.encode(data)))
    request = requests.BattleTold(id="7f1f5c9e-6f0e-4d0a-9a3e-2f4d7b6a1c11", data=news)
    return Accepted("kitchen", f"battle:{battle}", "service", 1_000_000, request)


def kinds(rooms: RoomPartition, *asks: Accepted) -> list[str]:
    return [fact.kind for fact in rooms.take(Envelope("battles/0", list(asks)))]


def test_an_older_revision_changes_nothing() -> None:
    rooms = RoomPartition(WordList())
    assert kinds(rooms, told("battle.started", "b", 3), told("battle.scored", "b", 5)) == [
        "battle.started",
        "battle.scored",
    ]
    assert kinds(rooms, told("battle.scored", "b", 4), told("battle.scored", "b", 5)) == []
    battle = rooms.rooms["kitchen"].battle
    assert battle is not None
    assert battle.totals == {"kitchen": 5}


def test_news_of_a_battle_before_the_present_one_does_not_bring_it_back() -> None:
    rooms = RoomPartition(WordList())
    kinds(rooms, told("battle.started", "old", 3), told("battle.ended", "old", 6))
    kinds(rooms, told("battle.started", "new", 3))
    assert kinds(rooms, told("battle.started", "old", 3)) == []
    battle = rooms.rooms["kitchen"].battle
    assert battle is not None
    assert (battle.battle, battle.status) == ("new", "running")


def test_a_room_remembers_the_last_battles_only() -> None:
    rooms = RoomPartition(WordList())
    for number in range(limits.BATTLES_KNOWN_PER_ROOM + 5):
        kinds(rooms, told("battle.started", f"b{number}", 3))
    known = rooms.rooms["kitchen"].revisions
    assert len(known) == limits.BATTLES_KNOWN_PER_ROOM
    assert list(known)[-1] == f"b{limits.BATTLES_KNOWN_PER_ROOM + 4}"
