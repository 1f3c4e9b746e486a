"""What a room knows of battles: the newest revision of each of the last ones."""

from typing import Literal

import msgspec
import pytest

from engagement.domain import battle_events as battles
from engagement.domain import limits, requests
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.moderation import WordList
from engagement.domain.room_partition import RoomPartition
from engagement.domain.rooms import RoomBattle

SIDES = [battles.Side("kitchen", "ana"), battles.Side("garden", "bob")]


def told(kind: str, battle: str, revision: int) -> Accepted:
    data = {
        "battle.invited": battles.BattleInvited(
            battle, revision, SIDES, 60, "coins", [], 0, "ana", "t0"
        ),
        "battle.declined": battles.BattleDeclined(battle, revision, "garden", "bob"),
        "battle.accepted": battles.BattleAccepted(battle, revision, "garden", "bob"),
        "battle.started": battles.BattleStarted(battle, revision, SIDES, "t0", "t1", 60, "coins"),
        "battle.scored": battles.BattleScored(battle, revision, {"kitchen": revision}, []),
        "battle.ended": battles.BattleEnded(battle, revision, {"kitchen": 9}, "draw", "deadline"),
    }[kind]
    return news_of(kind, battle, revision, data)


def window(kind: str, battle: str, revision: int, of: Literal["multiplier", "punish"]) -> Accepted:
    opened = battles.BattleWindowOpened(battle, revision, of, 3, "t9")
    closed = battles.BattleWindowClosed(battle, revision, of)
    data = opened if kind == "battle.window.opened" else closed
    return news_of(kind, battle, revision, data)


def news_of(kind: str, battle: str, revision: int, data: object) -> Accepted:
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


def known(rooms: RoomPartition) -> RoomBattle:
    battle = rooms.rooms["kitchen"].battle
    assert battle is not None
    return battle


def test_an_invitation_is_shown_until_it_is_declined() -> None:
    rooms = RoomPartition(WordList())
    kinds(rooms, told("battle.invited", "b", 1), told("battle.accepted", "b", 2))
    assert (known(rooms).status, known(rooms).totals) == ("invited", {"kitchen": 0, "garden": 0})
    kinds(rooms, told("battle.declined", "b", 3))
    assert rooms.rooms["kitchen"].battle is None


def test_an_invitation_does_not_hide_the_battle_that_goes_on() -> None:
    rooms = RoomPartition(WordList())
    kinds(rooms, told("battle.started", "one", 3), told("battle.invited", "two", 1))
    assert known(rooms).battle == "one"
    kinds(rooms, told("battle.declined", "two", 2))
    assert known(rooms).battle == "one"


@pytest.mark.parametrize("of", ["multiplier", "punish"])
def test_a_window_opens_and_closes(of: Literal["multiplier", "punish"]) -> None:
    rooms = RoomPartition(WordList())
    kinds(rooms, told("battle.started", "b", 3), window("battle.window.opened", "b", 4, of))
    shown = (known(rooms).multiplier, known(rooms).punish_until)
    assert shown == ((3, "") if of == "multiplier" else (1, "t9"))
    kinds(rooms, window("battle.window.closed", "b", 5, of))
    assert (known(rooms).multiplier, known(rooms).punish_until) == (1, "")


def test_an_old_fact_of_a_battle_folds_to_nothing() -> None:
    rooms = RoomPartition(WordList())
    facts = rooms.take(Envelope("battles/0", [told("battle.started", "b", 3)]))
    kinds(rooms, told("battle.scored", "b", 5))
    rooms.recall(facts[0])
    assert known(rooms).revision == 5
