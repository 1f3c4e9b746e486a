"""A room as it is told: with its battle and its supporters."""

from typing import Any

import msgspec

from engagement.domain.battle_events import (
    BattleEnded,
    BattleScored,
    BattleStarted,
    BattleWindowOpened,
    Side,
    Supporter,
)
from engagement.domain.events import Decided
from engagement.domain.rooms import NO_STAMP, RoomState, evolve
from engagement.gateway.room_directory import Sender
from engagement.gateway.room_view import hello_frame, room_view
from engagement.specs import frames
from tests.unit.gateway_parts import message_of, open_room

START, END = "2026-01-01T00:00:00.000000Z", "2026-01-01T00:05:00.000000Z"
SIDES = [Side("kitchen", "ana"), Side("garden", "bob")]


def told(state: RoomState) -> Any:
    return msgspec.json.decode(msgspec.json.encode(room_view(state, None, "c")))["battle"]


def fold(state: RoomState, kind: str, data: Any) -> None:
    evolve(state, Decided(kind, kind, state.room, 1, NO_STAMP, data))


def test_a_room_without_a_battle_says_so() -> None:
    assert told(open_room()) is None


def test_a_battle_is_told_as_its_facts_told_it() -> None:
    state = open_room()
    fold(state, "battle.started", BattleStarted("b", 3, SIDES, START, END, 300, "coins"))
    top = [Supporter("ben", "kitchen", 9)]
    fold(state, "battle.scored", BattleScored("b", 4, {"kitchen": 9, "garden": 0}, top))
    fold(state, "battle.window.opened", BattleWindowOpened("b", 5, "multiplier", 2, END))
    assert told(state) == {
        "battle": "b",
        "status": "running",
        "sides": [
            {"room": "kitchen", "host": "ana", "score": 9},
            {"room": "garden", "host": "bob", "score": 0},
        ],
        "revision": 5,
        "started": START,
        "deadline": END,
        "multiplier": 2,
        "result": "",
        "winner": "",
        "top": [{"actor": "ben", "room": "kitchen", "points": 9}],
        "punish_until": "",
    }
    totals = {"kitchen": 9, "garden": 0}
    fold(state, "battle.ended", BattleEnded("b", 6, totals, "win", "deadline", "kitchen", top))
    after = told(state)
    assert (after["status"], after["result"], after["winner"]) == ("ended", "win", "kitchen")


def test_a_hello_has_the_battle_and_the_top_senders_of_the_session() -> None:
    state = open_room()
    fold(state, "battle.started", BattleStarted("b", 3, SIDES, START, END, 300, "coins"))
    frame = hello_frame(
        room_view(state, None, "c"),
        session="g/1",
        recovered=False,
        cursor="c",
        comments=[],
        top_senders=[Sender("ben", 9)],
        clock=None,
    )
    hello = msgspec.convert(message_of(frame), frames.Hello)
    assert isinstance(hello.snapshot, frames.Snapshot)
    assert hello.snapshot.top_senders == [Sender("ben", 9)]
    assert hello.snapshot.battle is not None
    assert hello.snapshot.battle.deadline == END
