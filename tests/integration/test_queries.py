"""Reads on top of the projections."""

import json

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import events, limits
from engagement.errors import BadRequestError
from engagement.settings import Settings
from projections.queries import Page, RoomQueries
from projections.runner import Projector
from tests.facts import FactLog, folded_up_to, ids


@pytest.fixture
async def fold(
    engines: Settings, database: AsyncEngine, facts: FactLog, projector: Projector, room: str
) -> object:
    async def up_to_now() -> None:
        await folded_up_to(engines, database, room, await facts.written(room))

    return up_to_now


def viewers(window: int, online: int) -> events.ViewersCounted:
    return events.ViewersCounted(window, 250, online, 0, 0, [], [])


def likes(window: int, total: int) -> events.LikesCounted:
    return events.LikesCounted(window, 250, 1, total, [])


async def all_pages(first: Page, following: object) -> list[str]:
    """The ids of a list, page by page."""
    found = ids(first.items)
    cursor = first.next
    while cursor is not None:
        page = await following(cursor)  # type: ignore[operator]
        assert page.items, "a cursor leads to something"
        found += ids(page.items)
        cursor = page.next
    return found


async def test_a_timeline_is_ordered_by_epoch_media_time_and_position(
    facts: FactLog, queries: RoomQueries, room: str, fold: object
) -> None:
    opened = facts.open(room, pts_ms=0, epoch=0)
    late = facts.comment(room, "late", pts_ms=900)
    window = facts.put(room, "viewers.counted", viewers(1, 2), pts_ms=500)
    early = facts.comment(room, "early", pts_ms=-100)
    same_a = facts.comment(room, "a", pts_ms=500)
    same_b = facts.put(room, "likes.counted", likes(1, 2), pts_ms=500)
    second = facts.comment(room, "again", pts_ms=50, epoch=2)
    await fold()  # type: ignore[operator]

    order = [opened, early, window, same_a, same_b, late, second]
    assert ids((await queries.timeline(room)).items) == order
    assert [json.loads(item.event)["id"] async for item in queries.replay(room)] == order

    assert ids((await queries.timeline(room, epoch=1)).items) == order[1:-1]
    part = await queries.timeline(room, epoch=1, from_ms=500, to_ms=900)
    assert ids(part.items) == [window, same_a, same_b]
    assert ids((await queries.timeline(room, from_ms=0)).items) == [second], "the current epoch"
    assert ids((await queries.timeline(room, to_ms=50)).items) == []


async def test_types_are_filtered_and_keep_their_order(
    facts: FactLog, queries: RoomQueries, room: str, fold: object
) -> None:
    facts.open(room, pts_ms=0)
    sent = []
    for number in range(12):
        sent.append(facts.comment(room, "x", pts_ms=number))
        sent.append(facts.put(room, "likes.counted", likes(number, 1), pts_ms=number))
        facts.put(room, "viewers.counted", viewers(number, 1), pts_ms=number)
    await fold()  # type: ignore[operator]

    both = ["likes.counted", "comment.posted", "likes.counted"]
    first = await queries.timeline(room, types=both, limit=5)
    following = lambda cursor: queries.timeline(room, types=both, limit=5, after=cursor)  # noqa: E731
    assert await all_pages(first, following) == sent
    assert ids((await queries.timeline(room, types=["likes.counted"])).items) == sent[1::2]
    assert (await queries.timeline(room, types=["gift.sent"])).items == []
    assert (await queries.timeline(room, types=["' OR 1=1 --"])).items == []


@pytest.mark.parametrize("limit", [1, 7, 49, 50, 51])
async def test_paging_yields_each_item_once(
    facts: FactLog, queries: RoomQueries, room: str, fold: object, limit: int
) -> None:
    sent = [facts.comment(room, str(n), pts_ms=n // 3, epoch=n // 20) for n in range(50)]
    await fold()  # type: ignore[operator]

    forward = await all_pages(
        await queries.timeline(room, limit=limit),
        lambda cursor: queries.timeline(room, limit=limit, after=cursor),
    )
    assert forward == sent
    backward = await all_pages(
        await queries.comments(room, None, limit),
        lambda cursor: queries.comments(room, cursor, limit),
    )
    assert backward == sent[::-1]


async def test_a_replay_goes_on_after_any_of_its_items(
    facts: FactLog, queries: RoomQueries, room: str, fold: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLAY_PAGE_EVENTS", 4)
    sent = [facts.comment(room, str(n), pts_ms=10 * n, epoch=1 + n // 8) for n in range(13)]
    await fold()  # type: ignore[operator]

    items = [item async for item in queries.replay(room)]
    assert ids([item.event for item in items]) == sent
    assert [(item.epoch, item.pts_ms) for item in items[7:9]] == [(1, 70), (2, 80)]
    for number, item in enumerate(items):
        rest = [each.event async for each in queries.replay(room, after=item.cursor)]
        assert ids(rest) == sent[number + 1 :]
    from_epoch = [each.event async for each in queries.replay(room, epoch=1, from_ms=65)]
    assert ids(from_epoch) == sent[7:], "it goes on through later epochs"
    current = [each.event async for each in queries.replay(room, from_ms=100)]
    assert ids(current) == sent[10:]


async def test_a_removed_comment_is_left_out_wherever_its_tombstone_stands(
    facts: FactLog, queries: RoomQueries, room: str, fold: object
) -> None:
    facts.open(room, pts_ms=0)
    kept = facts.comment(room, "kept", pts_ms=1)
    gone = facts.comment(room, "gone", pts_ms=2)
    removal = facts.put(room, "comment.removed", events.CommentRemoved(gone, "ana"), pts_ms=300)
    unborn = "0192f0c1-7a5b-7cc3-8f0e-0123456789ab"
    early = facts.put(room, "comment.removed", events.CommentRemoved(unborn, "ana"), pts_ms=301)
    await fold()  # type: ignore[operator]
    facts.comment(room, "came after its removal", pts_ms=5, fact_id=unborn)
    await fold()  # type: ignore[operator]

    assert ids((await queries.comments(room, None, 10)).items) == [kept]
    assert ids((await queries.timeline(room)).items)[1:] == [kept, removal, early]
    replayed = [item.event async for item in queries.replay(room)]
    assert ids(replayed)[1:] == [kept, removal, early]
    then = await queries.state(room, at_ms=100)
    assert then is not None
    assert [comment["id"] for comment in then["comments"]] == [kept], "not in its past either"


async def test_a_tombstone_hides_nothing_in_another_room(
    engines: Settings,
    database: AsyncEngine,
    facts: FactLog,
    queries: RoomQueries,
    room: str,
    fold: object,
) -> None:
    other = room + "-other"
    comment = facts.comment(other, "mine", pts_ms=1)
    facts.put(room, "comment.removed", events.CommentRemoved(comment, "eve"), pts_ms=1)
    await fold()  # type: ignore[operator]
    await folded_up_to(engines, database, other, await facts.written(other))
    assert ids((await queries.comments(other, None, 10)).items) == [comment]


async def test_the_state_of_a_room_is_what_it_was_at_that_media_time(
    facts: FactLog, queries: RoomQueries, room: str, fold: object
) -> None:
    facts.open(room, title="Soup", pts_ms=0)
    facts.put(room, "viewers.counted", viewers(1, 2), pts_ms=10)
    facts.put(room, "likes.counted", likes(1, 5), pts_ms=20)
    first = facts.comment(room, "first", pts_ms=30)
    facts.put(room, "viewers.counted", viewers(2, 7), pts_ms=40)
    second = facts.comment(room, "second", pts_ms=50)
    facts.put(room, "likes.counted", likes(9, 6), pts_ms=5, epoch=2)
    session = f"session-of-{room}"
    facts.put(room, "room.closed", events.RoomClosed(session, "closed"), pts_ms=60, epoch=2)
    await fold()  # type: ignore[operator]

    then = await queries.state(room, at_ms=35, epoch=1)
    assert then is not None
    assert then["comments"][0]["id"] == first
    assert {**then, "comments": []} == {
        "room": room,
        "title": "Soup",
        "host": "ana",
        "status": "open",
        "online": 2,
        "likes": 5,
        "comments": [],
        "top_senders": [],
        "combos": [],
        "battle": None,
        "epoch": 1,
        "at_ms": 35,
    }
    end_of_first = await queries.state(room, at_ms=10**9, epoch=1)
    assert end_of_first is not None
    assert (end_of_first["status"], end_of_first["online"]) == ("open", 7)
    between = await queries.state(room, at_ms=5)
    assert between is not None, "the current epoch is the second, the first is its past"
    assert (between["epoch"], between["likes"], between["online"]) == (2, 6, 7)
    end = await queries.state(room, at_ms=60)
    assert end is not None
    assert (end["status"], end["online"], end["likes"]) == ("closed", 0, 6)
    assert [comment["id"] for comment in end["comments"]] == [first, second], "oldest first"


async def test_a_room_has_no_state_before_it_began_and_none_if_it_never_did(
    facts: FactLog, queries: RoomQueries, room: str, fold: object
) -> None:
    facts.open(room, title="Soup", pts_ms=0)
    early = facts.comment(room, "is this on?", pts_ms=-50)
    await fold()  # type: ignore[operator]
    assert await queries.state(room, at_ms=-51) is None
    before = await queries.state(room, at_ms=-50)
    assert before is not None, "chat may come before the first frame"
    assert (before["title"], before["host"], before["status"]) == ("Soup", "ana", "open")
    assert [comment["id"] for comment in before["comments"]] == [early]
    assert await queries.state(room + "-never", at_ms=0) is None


async def test_a_room_that_opened_again_is_open_and_starts_with_nobody(
    facts: FactLog, queries: RoomQueries, room: str, fold: object
) -> None:
    facts.open(room, title="One", pts_ms=0)
    facts.put(room, "viewers.counted", viewers(1, 2), pts_ms=10)
    session = f"session-of-{room}"
    facts.put(room, "room.closed", events.RoomClosed(session, "closed"), pts_ms=20)
    facts.open(room, title="Two", pts_ms=30)
    await fold()  # type: ignore[operator]
    state = await queries.state(room, at_ms=40)
    assert state is not None
    assert (state["status"], state["title"], state["online"]) == ("open", "Two", 0)


async def test_the_state_holds_the_last_comments_only(
    facts: FactLog, queries: RoomQueries, room: str, fold: object
) -> None:
    sent = [facts.comment(room, str(n), pts_ms=n) for n in range(limits.SNAPSHOT_COMMENTS + 5)]
    await fold()  # type: ignore[operator]
    state = await queries.state(room, at_ms=10_000)
    assert state is not None
    assert [comment["id"] for comment in state["comments"]] == sent[5:]


async def test_a_room_that_nobody_knows_has_empty_lists(queries: RoomQueries, room: str) -> None:
    assert await queries.timeline(room) == Page([], None)
    assert await queries.timeline(room, from_ms=0) == Page([], None)
    assert await queries.comments(room, None, 10) == Page([], None)
    assert [item async for item in queries.replay(room)] == []
    assert await queries.leaderboard(room, 10) == Page([], None)


@pytest.mark.parametrize("limit", [0, -1, limits.PAGE_ITEMS_MAX + 1])
async def test_a_limit_out_of_bounds_is_refused(queries: RoomQueries, limit: int) -> None:
    for read in (
        queries.timeline("r", limit=limit),
        queries.comments("r", None, limit),
        queries.leaderboard("r", limit),
    ):
        with pytest.raises(BadRequestError) as refused:
            await read
        assert refused.value.field == "limit"


async def test_a_bad_cursor_is_refused_with_the_name_of_its_parameter(queries: RoomQueries) -> None:
    with pytest.raises(BadRequestError) as refused:
        await queries.timeline("r", after="nonsense")
    assert refused.value.field == "after"
    with pytest.raises(BadRequestError) as refused:
        await queries.comments("r", "nonsense", 10)
    assert refused.value.field == "before"
    with pytest.raises(BadRequestError):
        await anext(queries.replay("r", after="nonsense"))
