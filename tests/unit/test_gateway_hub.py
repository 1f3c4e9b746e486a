"""Fan-out: coalescing, one encode, resume, and viewers who cannot keep up."""

import asyncio
from collections.abc import Callable

import pytest

from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC, TOPIC_OF_TYPE
from engagement.gateway.hub import URGENT_TYPES, Channel, Hub
from tests.unit.gateway_parts import FakeViewer, event


class Timer:
    """Stands in for asyncio's handle."""

    def __init__(self, when_s: float, call: Callable[..., None], args: tuple[object, ...]) -> None:
        self.when_s = when_s
        self.call = call
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Stands in for the loop: time and timers by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, when_s: float, call: Callable[..., None], *args: object) -> Timer:
        self.timers.append(Timer(when_s, call, args))
        return self.timers[-1]

    def advance(self, by_s: float) -> None:
        self.now_s += by_s
        due = [timer for timer in self.timers if timer.when_s <= self.now_s]
        self.timers = [timer for timer in self.timers if timer.when_s > self.now_s]
        for timer in due:
            if not timer.cancelled:
                timer.call(*timer.args)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hub(clock: Clock) -> Hub:
    hub = Hub(0.025, clock)  # type: ignore[arg-type]
    hub.begin(0, 0)
    return hub


@pytest.fixture
def channel(hub: Hub) -> Channel:
    return hub.channel("kitchen", 0)


def publish(hub: Hub, channel: Channel, *offsets: int, kind: str = "comment.posted") -> None:
    """One fetch of the tail."""
    for offset in offsets:
        hub.publish(channel, event(offset, kind))
    hub.read_up_to(0, offsets[-1] + 1)


def watching(hub: Hub, channel: Channel, *, slow: bool = False) -> FakeViewer:
    viewer = FakeViewer()
    viewer.slow = slow
    hub.attach(channel, viewer)
    return viewer


def test_an_idle_room_is_sent_at_once(hub: Hub, channel: Channel) -> None:
    viewer = watching(hub, channel)
    publish(hub, channel, 0, 1)
    assert [frame["cursor"] for frame in viewer.frames] == ["00000000-0-2"]
    assert viewer.event_ids == ["fact-0", "fact-1"]


def test_a_busy_room_is_sent_once_per_tick(hub: Hub, channel: Channel, clock: Clock) -> None:
    viewer = watching(hub, channel)
    publish(hub, channel, 0)
    for offset in range(1, 6):
        publish(hub, channel, offset)
    assert len(viewer.frames) == 1
    clock.advance(0.025)
    assert len(viewer.frames) == 2
    assert viewer.event_ids == [f"fact-{offset}" for offset in range(6)]


@pytest.mark.parametrize(("viewers", "tick_ms"), [(10, 25), (1_000, 50), (20_000, 250)])
def test_a_room_with_many_viewers_ticks_more_slowly(
    hub: Hub, channel: Channel, clock: Clock, viewers: int, tick_ms: int
) -> None:
    some = [watching(hub, channel) for _ in range(viewers)]
    publish(hub, channel, 0)
    publish(hub, channel, 1)
    clock.advance((tick_ms - 1) / 1000)
    assert len(some[0].frames) == 1
    clock.advance(0.001)
    assert len(some[0].frames) == 2


def test_every_viewer_gets_the_very_same_bytes(hub: Hub, channel: Channel) -> None:
    viewers = [watching(hub, channel) for _ in range(3)]
    publish(hub, channel, 0)
    assert len({id(viewer.raw[0]) for viewer in viewers}) == 1


def test_a_viewer_that_left_gets_nothing_more(hub: Hub, channel: Channel, clock: Clock) -> None:
    stays, leaves = watching(hub, channel), watching(hub, channel)
    publish(hub, channel, 0)
    publish(hub, channel, 1)
    hub.detach(channel, leaves)
    clock.advance(0.025)
    assert leaves.event_ids == ["fact-0"]
    assert stays.event_ids == ["fact-0", "fact-1"]


def test_who_joins_between_two_ticks_misses_nothing_and_gets_nothing_twice(
    hub: Hub, channel: Channel, clock: Clock
) -> None:
    watching(hub, channel)
    publish(hub, channel, 0)
    publish(hub, channel, 1, 2)
    horizon = hub.horizon(channel)
    snapshot = hub.snapshot_comments(channel)
    joiner = watching(hub, channel)
    clock.advance(0.025)
    assert horizon == 1
    assert [b"fact-0" in raw for raw in snapshot] == [True]
    assert joiner.event_ids == ["fact-1", "fact-2"]


def test_missed_events_are_kept_in_order(hub: Hub, channel: Channel) -> None:
    publish(hub, channel, 3, 5, 8, 13)
    assert [each.offset for each in channel.missed(5, 13)] == [5, 8]


def test_a_rooms_ring_is_bounded_and_knows_where_it_begins(hub: Hub, channel: Channel) -> None:
    publish(hub, channel, *range(limits.ROOM_RING_EVENTS + 3))
    assert len(channel.ring) == limits.ROOM_RING_EVENTS
    assert channel.from_offset == 3


def test_all_rings_together_are_bounded_and_the_oldest_event_goes_first(
    hub: Hub, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RING_BYTES_MAX", 50_000)
    quiet = hub.channel("quiet", 0)
    hub.publish(quiet, event(0))
    for offset in range(1, 1_000):
        hub.publish(channel, event(offset))
    assert hub.kept_bytes <= 50_000
    assert (len(quiet.ring), quiet.from_offset) == (0, 1)
    assert channel.ring[-1].offset == 999
    assert channel.ring[0].offset == channel.from_offset


def test_a_hot_room_does_not_push_out_what_a_quiet_room_keeps(hub: Hub, channel: Channel) -> None:
    quiet = hub.channel("quiet", 0)
    hub.publish(quiet, event(0))
    for offset in range(1, 5 * limits.ROOM_RING_EVENTS):
        hub.publish(channel, event(offset))
    assert len(quiet.ring) == 1
    assert hub.kept_bytes == sum(len(each.raw) + 250 for each in (*quiet.ring, *channel.ring))


def test_after_a_gap_nothing_old_is_offered_for_resume(hub: Hub, channel: Channel) -> None:
    publish(hub, channel, 0, 1)
    hub.begin(0, 500)
    assert (len(channel.ring), channel.from_offset, hub.kept_bytes) == (0, 500, 0)


def test_a_slow_viewer_is_spared_comments_and_told_when_it_catches_up(
    hub: Hub, channel: Channel
) -> None:
    slow = watching(hub, channel, slow=True)
    publish(hub, channel, 0, 1)
    assert slow.frames == []
    slow.slow = False
    hub.reshape(channel)
    hub.tell_skipped(channel, slow)
    assert slow.frames == [
        {"t": "skipped", "counts": {"comment.posted": 2}, "cursor": "00000000-0-2"}
    ]
    assert slow.skipped == {}


def test_a_slow_viewer_gets_what_must_not_be_dropped(hub: Hub, channel: Channel) -> None:
    slow = watching(hub, channel, slow=True)
    hub.publish(channel, event(0))
    hub.publish(channel, event(1, "comment.removed"))
    hub.publish(channel, event(2))
    hub.read_up_to(0, 3)
    assert slow.event_ids == ["fact-1"]
    assert slow.skipped == {"comment.posted": 1}


def test_no_cursor_passes_an_event_that_a_slow_viewer_was_not_told_of(
    hub: Hub, channel: Channel
) -> None:
    slow = watching(hub, channel, slow=True)
    hub.publish(channel, event(0))
    hub.publish(channel, event(1, "room.closed"))
    hub.publish(channel, event(2, "likes.counted"))
    hub.read_up_to(0, 3)
    skipped, events = slow.frames
    assert skipped == {"t": "skipped", "counts": {"comment.posted": 1}, "cursor": "00000000-0-1"}
    assert events["cursor"] == "00000000-0-2"
    assert slow.skipped == {"likes.counted": 1}


def test_what_was_sent_is_not_counted_as_skipped(hub: Hub, channel: Channel) -> None:
    slow = watching(hub, channel, slow=True)
    for offset, kind in enumerate(["viewer.muted", "comment.posted", "viewer.banned"]):
        hub.publish(channel, event(offset, kind))
    hub.read_up_to(0, 3)
    assert slow.frames[0] == {
        "t": "skipped",
        "counts": {"comment.posted": 1},
        "cursor": "00000000-0-0",
    }
    assert slow.event_ids == ["fact-0", "fact-2"]
    assert slow.skipped == {}


def test_a_viewer_whose_buffer_is_full_is_closed(hub: Hub, channel: Channel) -> None:
    slow = watching(hub, channel, slow=True)
    slow.buffered = limits.SOCKET_BUFFER_BYTES_MAX + 1
    publish(hub, channel, 0)
    assert slow.closed


def test_a_slow_viewer_costs_the_others_nothing(hub: Hub, channel: Channel) -> None:
    watching(hub, channel, slow=True).buffered = limits.SOCKET_BUFFER_BYTES_MAX + 1
    healthy = watching(hub, channel)
    publish(hub, channel, 0)
    assert healthy.event_ids == ["fact-0"]


def test_snapshots_hold_the_last_comments_without_the_removed(hub: Hub, channel: Channel) -> None:
    publish(hub, channel, *range(limits.SNAPSHOT_COMMENTS + 10))
    hub.remove_comment(channel, "fact-59")
    hub.remove_comment(channel, "unknown")
    comments = hub.snapshot_comments(channel)
    assert len(comments) == limits.SNAPSHOT_COMMENTS - 1
    assert b"fact-58" in comments[-1]


def test_news_of_the_clock_do_not_wait_for_the_tick(hub: Hub, channel: Channel) -> None:
    viewer = watching(hub, channel)
    hub.broadcast("kitchen", b'\x81\x0b{"t":"clock"'[:2] + b'{"t":"cloc"}')
    hub.broadcast("nowhere", b"")
    assert viewer.raw != []


async def test_a_cursor_of_a_gateway_that_is_ahead_is_waited_for() -> None:
    hub = Hub(0.025, asyncio.get_running_loop())
    hub.begin(0, 5)
    assert await hub.reached(0, 5, 0)
    waiting = asyncio.create_task(hub.reached(0, 7, 5))
    await asyncio.sleep(0)
    hub.read_up_to(0, 6)
    hub.read_up_to(1, 9)
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.read_up_to(0, 7)
    assert await waiting


async def test_a_cursor_that_never_comes_is_given_up() -> None:
    hub = Hub(0.025, asyncio.get_running_loop())
    assert not await hub.reached(0, 7, 0.01)


# --- gifts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(URGENT_TYPES))
def test_a_gift_in_a_busy_room_does_not_wait_for_the_tick(
    hub: Hub, channel: Channel, clock: Clock, kind: str
) -> None:
    viewer = watching(hub, channel)
    publish(hub, channel, 0)
    publish(hub, channel, 1)
    publish(hub, channel, 2, kind=kind)
    assert viewer.event_ids == ["fact-0", "fact-1", "fact-2"]
    assert [frame["cursor"] for frame in viewer.frames] == ["00000000-0-1", "00000000-0-3"]
    clock.advance(1.0)
    assert len(viewer.frames) == 2


def test_the_tick_goes_on_after_a_gift(hub: Hub, channel: Channel, clock: Clock) -> None:
    viewer = watching(hub, channel)
    publish(hub, channel, 0)
    publish(hub, channel, 1, kind="gift.sent")
    publish(hub, channel, 2)
    assert len(viewer.frames) == 2
    clock.advance(0.025)
    assert viewer.event_ids == ["fact-0", "fact-1", "fact-2"]


def test_a_fetch_with_many_gifts_is_one_frame(hub: Hub, channel: Channel) -> None:
    viewer = watching(hub, channel)
    publish(hub, channel, 0)
    publish(hub, channel, *range(1, 50), kind="gift.sent")
    assert len(viewer.frames) == 2


def test_a_flood_of_gifts_in_a_large_room_shares_frames(
    hub: Hub, channel: Channel, clock: Clock
) -> None:
    """A frame to 1,000 sockets costs 10 ms: one for each of 100 gifts a second would be all of
    the gateway."""
    viewers = [watching(hub, channel) for _ in range(1_000)]
    viewer = viewers[0]
    for offset in range(100):
        publish(hub, channel, offset, kind="gift.sent")
        clock.advance(0.010)
    assert 15 <= len(viewer.frames) <= 25
    clock.advance(0.050)
    assert viewer.event_ids == [f"fact-{offset}" for offset in range(100)]


def test_a_gift_overtakes_no_comment(hub: Hub, channel: Channel, clock: Clock) -> None:
    viewers = [watching(hub, channel) for _ in range(1_000)]
    for offset, kind in enumerate(["comment.posted", "gift.sent"] * 20):
        publish(hub, channel, offset, kind=kind)
        clock.advance(0.003)
    clock.advance(0.250)
    assert viewers[0].event_ids == [f"fact-{offset}" for offset in range(40)]


def test_money_battles_and_moderation_are_never_left_out(
    hub: Hub, channel: Channel, clock: Clock
) -> None:
    kept = [
        kind
        for kind, topic in TOPIC_OF_TYPE.items()
        if topic == ROOM_TOPIC and kind.startswith(("gift.", "battle.", "room.", "viewer."))
    ]
    assert {"gift.sent", "battle.scored", "viewer.banned"} <= set(kept)
    slow = watching(hub, channel, slow=True)
    for offset, kind in enumerate([*kept, "comment.removed"]):
        publish(hub, channel, offset, kind=kind)
    clock.advance(1.0)
    assert slow.event_ids == [f"fact-{offset}" for offset in range(len(kept) + 1)]
    assert slow.skipped == {}


def test_what_is_for_one_viewer_alone_moves_its_cursor_past_nothing(
    hub: Hub, channel: Channel, clock: Clock
) -> None:
    viewer, slow = watching(hub, channel), watching(hub, channel, slow=True)
    publish(hub, channel, 0)
    publish(hub, channel, 1)
    for each in (viewer, slow):
        hub.send_apart(channel, each, event(-1, "comment.held"))
    assert viewer.frames[-1]["cursor"] == "00000000-0-1"
    assert viewer.event_ids == ["fact-0", "fact--1"]
    assert [frame["t"] for frame in slow.frames] == ["skipped", "events"]
    clock.advance(1.0)
    assert viewer.event_ids == ["fact-0", "fact--1", "fact-1"]


def test_a_viewer_that_takes_nothing_is_not_sent_more(hub: Hub, channel: Channel) -> None:
    stuck = watching(hub, channel, slow=True)
    stuck.buffered = limits.SOCKET_BUFFER_BYTES_MAX + 1
    hub.send_apart(channel, stuck, event(-1, "comment.held"))
    assert (stuck.frames, stuck.closed) == ([], True)
