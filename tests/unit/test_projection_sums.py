"""Sums and boards of gifts and battles: the same in any batches, whatever is on the log twice."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engagement.domain import battle_events as battles
from engagement.domain.events import RawFact
from engagement.domain.gift_events import GiftReversed, GiftSent
from projections.battles import BattlesProjection, _folded
from projections.gifts import GiftsProjection, _added_up
from projections.projection import Placed
from projections.tables import BATTLE_BOARDS, EARNINGS, GIFT_ENTRIES, LEADERBOARD

AT = datetime(2026, 1, 1, tzinfo=UTC)
SIDES = [battles.Side("r", "ana"), battles.Side("s", "bob")]
WHEN = "2026-01-01T00:00:00Z"


def fact(offset: int, kind: str, data: Any, *, room: str = "r", actor: str = "cy") -> Placed:
    raw = RawFact(id=f"{kind}-{offset}", type=kind, time=WHEN, roomid=room, actorid=actor)
    return Placed(0, offset, raw, data, AT, "{}")


def sent(offset: int, entry: int, coins: int, **more: Any) -> Placed:
    about = ("rose", "Rose", 1, "rose", 2, coins // 2, coins, coins // 2, "ana", f"3-{entry}", "s1")
    return fact(offset, "gift.sent", GiftSent(*about), **more)


def reversed_(offset: int, entry: int, coins: int, sent_at: str, session: str = "s1") -> Placed:
    about = ("g", coins, coins // 2, "ana", f"3-{entry}", session, sent_at, "fraud", 2)
    return fact(offset, "gift.reversed", GiftReversed(*about))


def folded(projection: Any, facts: Sequence[Placed]) -> dict[Any, list[Any]]:
    for each in facts:
        projection.take(each)
    return {table: sorted(rows) for table, rows in projection.rows().items()}


def test_a_reversal_takes_off_coins_and_pieces_where_the_gift_was_counted() -> None:
    day_before = "2025-12-31T23:59:59.999999Z"
    rows = folded(
        GiftsProjection(), [sent(1, 1, 10), sent(2, 2, 6), reversed_(3, 3, 6, day_before)]
    )
    assert rows[LEADERBOARD] == [
        ("r", "all", "", "cy", 10, 2, 0, 3),
        ("r", "day", "2025-12-31", "cy", -6, -2, 0, 3),
        ("r", "day", "2026-01-01", "cy", 16, 4, 0, 2),
        ("r", "session", "s1", "cy", 10, 2, 0, 3),
    ]
    assert [row[:5] for row in rows[EARNINGS]] == [
        ("ana", "2025-12-31", "r", -3, -2),
        ("ana", "2026-01-01", "r", 8, 4),
    ]


def test_a_reversal_of_an_earlier_session_leaves_the_present_ones_board_alone() -> None:
    rows = folded(GiftsProjection(), [sent(1, 1, 10), reversed_(2, 2, 4, WHEN, session="")])
    sums = {(row[1], row[2]): row[4] for row in rows[LEADERBOARD]}
    assert sums == {("session", "s1"): 10, ("day", "2026-01-01"): 6, ("all", ""): 6}


def split(history: Sequence[Placed], cuts: Sequence[int]) -> Iterator[list[Placed]]:
    """The history in batches."""
    edges = [0, *sorted(cut % (len(history) + 1) for cut in cuts), len(history)]
    for begin, end in pairwise(edges):
        yield list(history[begin:end])


def with_repeats(history: list[Placed], tails: Sequence[int]) -> list[Placed]:
    """As writers leave it that died before they remembered: tails of it are there again."""
    log = list(history)
    for tail in tails:
        log += history[tail % len(history) :]
    return [
        Placed(0, offset, each.raw, each.data, each.at, each.event)
        for offset, each in enumerate(log)
    ]


NUMBERS = st.lists(st.integers(0, 60), max_size=5)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), NUMBERS, NUMBERS)
def test_sums_are_the_same_in_any_batches_and_a_repeat_adds_nothing(
    coins: list[int], tails: list[int], cuts: list[int]
) -> None:
    once = [sent(n, n + 1, 2 * each, actor=f"u{each % 3}") for n, each in enumerate(coins)]
    log = with_repeats(once, tails)
    expected = folded(GiftsProjection(), once)
    assert folded(GiftsProjection(), log) == expected
    known: dict[tuple[str, int], int] = {}
    sums: dict[Any, list[int]] = {}
    for batch in split(log, cuts):
        projection = GiftsProjection()
        for each in batch:
            projection.take(each)
        rows = _added_up(projection._counted, known)
        known.update({(row[0], row[1]): row[2] for row in rows[GIFT_ENTRIES]})
        for row in rows[LEADERBOARD]:
            total = sums.setdefault(row[:4], [0, 0, 0, 0])
            total[:] = [total[0] + row[4], total[1] + row[5], *row[6:]]
    assert sorted((*key, *total) for key, total in sums.items()) == expected[LEADERBOARD]


def battle(offset: int, kind: str, revision: int) -> Placed:
    data: Any = {
        "battle.invited": battles.BattleInvited(
            "b", revision, SIDES, 60, "coins", [], 0, "ana", WHEN
        ),
        "battle.accepted": battles.BattleAccepted("b", revision, "s", "bob"),
        "battle.started": battles.BattleStarted("b", revision, SIDES, WHEN, WHEN, 60, "coins"),
        "battle.scored": battles.BattleScored("b", revision, {"r": revision, "s": 1}, []),
        "battle.ended": battles.BattleEnded(
            "b", revision, {"r": 9, "s": 1}, "win", "deadline", winner="r"
        ),
    }[kind]
    return fact(offset, kind, data)


STORY = ["battle.invited", "battle.accepted", "battle.started", *["battle.scored"] * 3]


def test_a_board_keeps_what_the_newest_fact_does_not_say() -> None:
    story = [battle(n, kind, n + 1) for n, kind in enumerate([*STORY, "battle.ended"])]
    [row] = folded(BattlesProjection(), story)[BATTLE_BOARDS]
    board = dict(zip(BATTLE_BOARDS.columns.keys(), row, strict=True))
    assert (board["status"], board["revision"], board["winner"]) == ("ended", 7, "r")
    assert '"host":"bob"' in board["sides"]
    assert board["started"] == WHEN


def test_an_invitation_that_is_repeated_after_the_start_does_not_take_it_back() -> None:
    """The batch held the score and the repeat; the start was in the table already."""
    stored = _folded(
        list(_rows([battle(0, "battle.invited", 1), battle(1, "battle.started", 3)])), {}
    )
    batch = [battle(2, "battle.scored", 4), battle(3, "battle.invited", 1)]
    [row] = _folded(list(_rows(batch)), stored).values()
    assert row[3] == "running"


def _rows(facts: Sequence[Placed]) -> Iterator[Any]:
    for each in facts:
        projection = BattlesProjection()
        projection.take(each)
        yield from projection._told


@given(st.integers(1, 7), NUMBERS, NUMBERS)
def test_a_board_is_the_same_in_any_batches_and_a_repeat_changes_nothing(
    length: int, tails: list[int], cuts: list[int]
) -> None:
    kinds = [*STORY, "battle.ended"][:length]
    once = [battle(n, kind, n + 1) for n, kind in enumerate(kinds)]
    log = with_repeats(once, tails)
    [expected] = folded(BattlesProjection(), once)[BATTLE_BOARDS]
    assert folded(BattlesProjection(), log)[BATTLE_BOARDS] == [expected]
    known: dict[Any, Any] = {}
    for batch in split(log, cuts):
        known.update(_folded(list(_rows(batch)), known))
    assert list(known.values()) == [expected]
