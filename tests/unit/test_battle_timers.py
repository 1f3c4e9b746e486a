"""What happens to battles by itself: which requests their owner writes, and when."""

from collections.abc import Iterable, Mapping

import pytest

from engagement.domain import limits
from engagement.domain.battle_requests import BattleAsked, BattleSideLost, BattleTimePassed
from engagement.domain.battles import BattleState
from engagement.domain.media_time import Anchor, RoomClock
from engagement.log.battle_codec import decode_battle_envelope
from engagement.log.topics import BATTLE_REQUESTS_TOPIC
from engagement.processors.battle_timers import BattleTimers
from tests.unit.battle_parts import (
    BATTLE,
    STARTED_US,
    Arena,
    accept,
    invitation,
    lost,
    passed,
    settling,
    started,
    window,
)
from tests.unit.domain_parts import MS, T0_US, S

SETTLE_US = limits.BATTLE_SETTLE_MS * MS
GONE_US = int(limits.HOST_GONE_S * S)


class Owner:
    """The timers of one partition, and what they look at."""

    def __init__(self) -> None:
        self.clocks: dict[str, RoomClock] = {}
        self.closed: dict[str, int] = {}
        self.looks: list[list[str]] = []
        self.timers = BattleTimers(self.clocks.get, self._closed)

    async def _closed(self, rooms: Iterable[str]) -> Mapping[str, int]:
        wanted = sorted(rooms)
        self.looks.append(wanted)
        return {room: self.closed[room] for room in wanted if room in self.closed}

    async def due(self, now_us: int, partition: int = 3) -> list[BattleAsked]:
        """What is written now."""
        asked: list[BattleAsked] = []
        for record in await self.timers.due(partition, now_us):
            assert (record.topic, record.partition) == (BATTLE_REQUESTS_TOPIC, partition)
            envelope, poison = decode_battle_envelope(record.value)
            assert not poison
            asked += envelope.asks
        return asked

    async def moment(self, now_us: int) -> tuple[int, int] | None:
        """The time and barrier of the one timer that is written; None when none is."""
        asked = await self.due(now_us)
        if not asked:
            return None
        [only] = asked
        assert isinstance(only.request, BattleTimePassed)
        assert (only.battle, only.at_us) == (BATTLE, now_us)
        return only.request.data.at_us, only.request.data.barrier

    def end_stream(self, room: str, at_us: int, *, ended: bool = True) -> None:
        """The newest the clock topic tells of a room."""
        clock = self.clocks.setdefault(room, RoomClock())
        anchor = Anchor(f"{room}-{at_us}", 1, 90_000, 0, 0.0, 0.0, 0.0, 1.0, at_us, ended)
        assert clock.observe(anchor, at_us)


@pytest.fixture
def owner() -> Owner:
    return Owner()


def watch(owner: Owner, state: BattleState) -> None:
    owner.timers.watch(3, [state])


async def test_an_invitations_end_is_told_when_it_comes_and_again_until_it_is_decided(
    owner: Owner,
) -> None:
    arena = Arena()
    arena.ask(invitation(), "ann")
    watch(owner, arena.state)
    end_us = arena.state.expires_us
    assert await owner.moment(end_us - 1) is None
    assert await owner.moment(end_us) == (end_us, 0)
    assert await owner.moment(end_us + 1_999 * MS) is None
    assert await owner.moment(end_us + 2_000 * MS) == (end_us + 2_000 * MS, 0)
    arena.ask(passed(end_us))
    watch(owner, arena.state)
    assert await owner.due(end_us + 60 * S) == []


async def test_windows_and_the_deadline_are_told_in_turn(owner: Owner) -> None:
    arena = started(windows=[window(5, 10, 2)])
    told = []
    for since_s in (5, 15, 60):
        watch(owner, arena.state)
        now_us = STARTED_US + since_s * S
        assert await owner.moment(now_us - 1) is None
        told.append(await owner.moment(now_us))
        arena.ask(passed(now_us), at_us=now_us)
    assert told == [(STARTED_US + since_s * S, 0) for since_s in (5, 15, 60)]
    assert arena.state.status == "settling"


async def test_the_barrier_waits_until_gateways_have_had_their_time(owner: Owner) -> None:
    arena = settling()
    watch(owner, arena.state)
    seen_us = arena.state.deadline_us + 7 * S
    assert await owner.moment(seen_us) is None
    assert await owner.moment(seen_us + SETTLE_US - 1) is None
    assert await owner.moment(seen_us + SETTLE_US) == (seen_us + SETTLE_US, 1)


async def test_after_a_timer_that_was_slow_the_barrier_waits_anew(owner: Owner) -> None:
    arena = settling()
    watch(owner, arena.state)
    seen_us = arena.state.deadline_us
    await owner.due(seen_us)
    assert await owner.moment(seen_us + SETTLE_US) is not None
    arena.ask(passed(seen_us + SETTLE_US, 1), now_us=seen_us + 9 * S)
    watch(owner, arena.state)
    assert await owner.moment(seen_us + 9 * S) is None
    assert await owner.moment(seen_us + 9 * S + SETTLE_US) == (seen_us + 9 * S + SETTLE_US, 1)


async def test_a_barrier_that_does_not_come_back_is_sent_again(owner: Owner) -> None:
    arena = settling()
    now_us = arena.state.deadline_us + SETTLE_US
    arena.ask(passed(now_us, 1), at_us=now_us)
    watch(owner, arena.state)
    assert await owner.moment(now_us) is None
    assert await owner.moment(now_us + 5 * S - 1) is None
    assert await owner.moment(now_us + 5 * S) == (now_us + 5 * S, 2)


async def test_a_clock_that_goes_back_does_not_hold_a_battle_up(owner: Owner) -> None:
    arena = settling()
    watch(owner, arena.state)
    await owner.due(arena.state.deadline_us + 3_600 * S)
    back_us = arena.state.deadline_us
    assert await owner.moment(back_us) is None
    assert await owner.moment(back_us + SETTLE_US) == (back_us + SETTLE_US, 1)


async def test_the_end_of_the_punishment_is_told(owner: Owner) -> None:
    arena = started(punish_s=30)
    arena.give("red", 5, entry=1)
    arena.ask(passed(arena.state.deadline_us), at_us=arena.state.deadline_us)
    arena.close_books(arena.state.deadline_us + S)
    watch(owner, arena.state)
    end_us = arena.state.ended_us + 30 * S
    assert await owner.moment(end_us - 1) is None
    assert await owner.moment(end_us) == (end_us, 0)


async def test_a_partition_that_is_somebody_elses_is_left_alone(owner: Owner) -> None:
    watch(owner, settling().state)
    owner.timers.forget(3)
    assert await owner.due(T0_US + 3_600 * S) == []


async def losses(owner: Owner, now_us: int) -> list[tuple[str, str]]:
    requests = [asked.request for asked in await owner.due(now_us)]
    return [(r.data.room, r.data.reason) for r in requests if isinstance(r, BattleSideLost)]


async def test_a_room_that_closes_is_lost(owner: Owner) -> None:
    arena = started()
    watch(owner, arena.state)
    now_us = STARTED_US + S
    assert await losses(owner, now_us) == []
    owner.closed["blue"] = now_us
    assert await losses(owner, now_us + 999 * MS) == [], "looked at once a second"
    assert await losses(owner, now_us + 1_000 * MS) == [("blue", "room_closed")]
    arena.ask(lost("blue"))
    watch(owner, arena.state)
    assert await losses(owner, now_us + 10 * S) == []


async def test_a_room_that_had_closed_before_the_invitation_has_opened_since(owner: Owner) -> None:
    arena = Arena()
    arena.ask(invitation(), "ann", at_us=T0_US)
    watch(owner, arena.state)
    owner.closed.update(red=T0_US - 1, blue=T0_US)
    assert await losses(owner, T0_US + S) == []
    owner.closed["red"] = T0_US + 1
    assert await losses(owner, T0_US + 3 * S) == [("red", "room_closed")]


async def test_a_host_whose_stream_ends_has_left_after_a_while(owner: Owner) -> None:
    arena = started()
    watch(owner, arena.state)
    gone_us = STARTED_US + 5 * S
    owner.end_stream("red", gone_us)
    assert await losses(owner, gone_us + GONE_US) == []
    assert await losses(owner, gone_us + GONE_US + 1) == [("red", "host_disconnected")]


async def test_a_host_who_comes_back_in_time_has_not_left(owner: Owner) -> None:
    arena = started()
    watch(owner, arena.state)
    owner.end_stream("red", STARTED_US + 5 * S)
    owner.end_stream("red", STARTED_US + 14 * S, ended=False)
    assert await losses(owner, STARTED_US + 30 * S) == []


async def test_a_host_whose_stream_had_long_ended_fights_without_one(owner: Owner) -> None:
    arena = started()
    watch(owner, arena.state)
    owner.end_stream("red", STARTED_US - GONE_US)
    owner.end_stream("blue", STARTED_US - GONE_US + 1)
    assert await losses(owner, STARTED_US + 30 * S) == [("blue", "host_disconnected")]


async def test_an_invitation_does_not_ask_for_streams(owner: Owner) -> None:
    arena = Arena()
    arena.ask(invitation(), "ann")
    watch(owner, arena.state)
    owner.end_stream("red", T0_US + S)
    assert await losses(owner, T0_US + 30 * S) == []


async def test_only_rooms_whose_loss_matters_are_looked_at(owner: Owner) -> None:
    arena = Arena("one", "two")
    arena.ask(invitation(), "ann", battle="one")
    arena.ask(accept(), "bob", battle="one")
    owner.timers.watch(3, [arena.battles["one"]])
    owner.timers.watch(4, [settling().state])
    await owner.due(T0_US + S, partition=3)
    await owner.due(T0_US + S, partition=4)
    assert owner.looks == [["blue", "red"]]
