"""The folds themselves: pure, and indifferent to repeats."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain import events
from engagement.domain.events import RawFact
from projections.comments import CommentsProjection
from projections.likes import LikesProjection
from projections.presence import PresenceProjection
from projections.projection import Placed
from projections.registry import PROJECTIONS, named
from projections.rooms import RoomsProjection
from projections.tables import LIKES, PRESENCE, ROOMS, SESSIONS, TOMBSTONES
from projections.timeline import TimelineProjection, row_of

AT = datetime(2026, 1, 1, tzinfo=UTC)


def fact(offset: int, kind: str, data: Any, *, room: str = "r", epoch: int = 1) -> Placed:
    raw = RawFact(
        id=f"id-{offset}",
        type=kind,
        time="",
        roomid=room,
        actorid="ana",
        mediaepoch=epoch,
        mediapts=offset * 10,
    )
    return Placed(0, offset, raw, data, AT, "{}")


def viewers(offset: int, window: int, online: int) -> Placed:
    return fact(offset, "viewers.counted", events.ViewersCounted(window, 250, online, 0, 0, [], []))


def likes(offset: int, window: int, total: int) -> Placed:
    return fact(offset, "likes.counted", events.LikesCounted(window, 250, 1, total, []))


def folded(projection: Any, *facts: Placed) -> dict[Any, list[Any]]:
    for each in facts:
        projection.take(each)
    return {table: sorted(rows) for table, rows in projection.rows().items()}


def test_presence_is_the_newest_window_whatever_comes_late_or_twice() -> None:
    rows = folded(PresenceProjection(), viewers(1, 5, 10), viewers(2, 6, 11), viewers(3, 5, 10))
    assert rows[PRESENCE] == [("r", 6, 11, 0, 2, AT)]


def test_likes_are_the_newest_total() -> None:
    rows = folded(LikesProjection(), likes(1, 5, 10), likes(2, 7, 30), likes(3, 7, 30))
    assert rows[LIKES] == [("r", 7, 30, 0, 2, AT)]


def test_the_first_removal_of_a_comment_stands() -> None:
    def removed(offset: int, by: str) -> Placed:
        return fact(offset, "comment.removed", events.CommentRemoved("c", by))

    rows = folded(CommentsProjection(), removed(1, "ana"), removed(2, "bo"))
    assert rows[TOMBSTONES] == [("r", "c", "ana", 0, 1, AT)]


def opened(offset: int, session: str, title: str = "T") -> Placed:
    return fact(offset, "room.opened", events.RoomOpened(title, "ana", session))


def closed(offset: int, session: str) -> Placed:
    return fact(offset, "room.closed", events.RoomClosed(session, "bye"))


def test_an_opening_repeated_after_the_end_opens_nothing() -> None:
    rows = folded(RoomsProjection(), opened(1, "s1"), closed(2, "s1"), opened(3, "s1", "other"))
    assert rows[SESSIONS] == [("r", "s1", 0, "T", "ana", False, 1, AT, "bye", 2, AT)]
    assert rows[ROOMS] == [("r", 1, 30, 0, 3, AT)]


def test_a_room_keeps_all_its_sessions() -> None:
    rows = folded(RoomsProjection(), opened(1, "s1"), closed(2, "s1"), opened(3, "s2"))
    ends = [(row[1], row[6], row[9]) for row in rows[SESSIONS]]
    assert ends == [("s1", 1, 2), ("s2", 3, None)]


def test_a_session_whose_opening_is_not_on_the_log_has_an_end_only() -> None:
    rows = folded(RoomsProjection(), closed(2, "s0"))
    assert rows[SESSIONS] == [("r", "s0", 0, None, None, None, None, None, "bye", 2, AT)]


def test_a_title_loses_its_nul() -> None:
    rows = folded(RoomsProjection(), opened(1, "s", "a\0b"))
    assert rows[SESSIONS][0][3] == "a\ufffdb"


def test_the_current_epoch_is_that_of_the_newest_fact() -> None:
    newest = fact(2, "comment.posted", events.CommentPosted("x"), epoch=0)
    rows = folded(RoomsProjection(), fact(1, "comment.posted", None, epoch=3), newest)
    assert rows[ROOMS] == [("r", 0, 20, 0, 2, AT)]


def test_a_timeline_row_is_the_fact() -> None:
    placed = fact(4, "comment.posted", events.CommentPosted("x"))
    row = row_of(placed)
    assert row == (0, 4, "r", 1, 40, "comment.posted", "id-4", "ana", AT, "{}")
    timeline = TimelineProjection()
    timeline.take(placed)
    assert timeline._rows == [row]


@st.composite
def histories(draw: st.DrawFn) -> list[Placed]:
    made: list[Placed] = []
    for offset in range(draw(st.integers(1, 12))):
        window, session = draw(st.integers(0, 4)), draw(st.sampled_from("ab"))
        kinds = [
            viewers(offset, window, window * 3),
            likes(offset, window, window * 5),
            opened(offset, session),
            closed(offset, session),
            fact(offset, "comment.removed", events.CommentRemoved(session, "ana")),
        ]
        made.append(draw(st.sampled_from(kinds)))
    return made


@given(histories(), st.data())
def test_facts_that_come_again_change_nothing_but_the_newest_place(
    history: list[Placed], data: st.DataObject
) -> None:
    """A crash replays a tail of the log; every fold but `rooms` ends where it was."""
    again = history[data.draw(st.integers(0, len(history))) :]
    for projection in (PresenceProjection, LikesProjection, CommentsProjection):
        wanted = [each for each in history if each.raw.type in projection.types]
        repeated = [*wanted, *(each for each in again if each.raw.type in projection.types)]
        assert folded(projection(), *repeated) == folded(projection(), *wanted)
    sessions = folded(RoomsProjection(), *history, *again)[SESSIONS]
    assert sessions == folded(RoomsProjection(), *history)[SESSIONS]


def test_projections_are_found_by_name() -> None:
    assert [each.name for each in PROJECTIONS] == [
        "timeline",
        "comments",
        "presence",
        "likes",
        "gifts",
        "battles",
        "rooms",
    ]
    assert named(None) is PROJECTIONS
    assert named("likes") == [LikesProjection]
    with pytest.raises(KeyError):
        named("leaderbord")
