"""Whatever is asked, however it is split, repeated and interrupted: the same facts, the same rooms.

The requests are few and collide on purpose: two rooms, four people, sessions that reopen.
"""

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement.domain.envelope import Accepted
from engagement.domain.events import ACTIVITY_TOPIC, ROOM_TOPIC, Decided
from engagement.domain.requests import Request
from tests.property.room_log_world import World
from tests.unit import domain_parts as parts
from tests.unit.domain_parts import MS, T0_US, S

# How long a case takes says more about who else uses the machine.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ROOMS = ("red", "blue")
PEOPLE = ("host", "ann", "bob", "cid")
WINDOWS = ("viewers.counted", "likes.counted")


def _request(kind: str, number: int, who: str) -> Request:
    target = parts.request_id(max(0, number - 3))
    made: dict[str, Any] = {
        "open": lambda: parts.opening("host", number=number),
        "close": lambda: parts.closing(number),
        "post": lambda: parts.comment("hello", number=number),
        "held": lambda: parts.comment("held", number=number),
        "denied": lambda: parts.comment("denied", number=number),
        "tap": lambda: parts.taps(number % 3 + 1, number=number),
        "join": lambda: parts.join(number),
        "leave": lambda: parts.leave(number),
        "remove": lambda: parts.removal(target, number),
        "release": lambda: parts.release(target, number),
        "mute": lambda: parts.mute(who, 2, number),
        "ban": lambda: parts.ban(who, number),
        "unban": lambda: parts.unban(who, number),
    }
    return made[kind]()  # type: ignore[no-any-return]


KINDS = st.sampled_from(
    (
        *("open", "close", "post", "post", "held", "denied", "tap", "tap", "tap", "join", "join"),
        *("leave", "leave", "remove", "release", "mute", "ban", "unban"),
    )
)


@st.composite
def asked_things(draw: st.DrawFn, most: int = 40) -> list[Accepted]:
    """Requests of both rooms, the first of which open them, with clocks that go back and forth."""
    things = [
        parts.asked(_request("open", n, "host"), "host", room=room) for n, room in enumerate(ROOMS)
    ]
    at_us = T0_US
    for number in range(len(ROOMS), draw(st.integers(len(ROOMS), most))):
        at_us += draw(st.sampled_from([0, 1 * MS, 60 * MS, 300 * MS, -90 * MS, 3 * S]))
        who = draw(st.sampled_from(PEOPLE))
        request = _request(draw(KINDS), number, draw(st.sampled_from(PEOPLE)))
        session = draw(st.sampled_from([None, f"gw/{who}"]))
        how: dict[str, Any] = {} if session is None else {"session": session}
        room = draw(st.sampled_from(ROOMS))
        things.append(parts.asked(request, who, at_us=at_us, room=room, **how))
    return things


def _without_interruption(things: list[Accepted]) -> World:
    world = World()
    for each in things:
        world.take([each])
    return world


def _split(things: list[Accepted], cuts: list[int]) -> list[list[Accepted]]:
    edges = [0, *sorted({cut % (len(things) + 1) for cut in cuts}), len(things)]
    return [things[a:b] for a, b in pairwise(edges) if a < b]


CUTS = st.lists(st.integers(0, 1000), max_size=6)


@CALM
@given(asked_things(), CUTS)
def test_how_requests_are_split_into_envelopes_does_not_matter(
    things: list[Accepted], cuts: list[int]
) -> None:
    world = World()
    for envelope in _split(things, cuts):
        world.take(envelope)
    whole = _without_interruption(things)
    assert world.facts() == whole.facts()
    assert world.rooms.rooms == whole.rooms.rooms


@CALM
@given(asked_things(), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=10))
def test_repeats_anywhere_change_nothing(
    things: list[Accepted], repeats: list[tuple[int, int]]
) -> None:
    world = World()
    again: dict[int, list[int]] = {}
    for first, later in repeats:
        again.setdefault(later % len(things), []).append(first % len(things))
    for number, each in enumerate(things):
        world.take([each, *(things[n] for n in again.get(number, []) if n <= number)])
    whole = _without_interruption(things)
    assert world.facts() == whole.facts()
    assert world.rooms.rooms == whole.rooms.rooms


@CALM
@given(asked_things(), st.data())
def test_a_crash_between_any_two_facts_gives_the_same_facts_and_rooms(
    things: list[Accepted], data: st.DataObject
) -> None:
    """A checkpoint at any earlier point, facts lost from any later one, requests again from any
    point before the first lost one."""
    world = World()
    checkpoint_after = data.draw(st.integers(0, len(things)), label="checkpoint after")
    crash_after = data.draw(st.integers(checkpoint_after, len(things)), label="crash after")
    orders = [1]
    for number, each in enumerate(things[:crash_after], 1):
        world.take([each])
        orders.append(world.order)
        if number == checkpoint_after:
            world.write_checkpoint()
    kept = data.draw(st.integers(orders[checkpoint_after], orders[crash_after]), label="kept")
    # The first request of which a fact was lost; Kafka's commit is at most there.
    lost = next((n for n, order in enumerate(orders[1:]) if order > kept), crash_after)
    committed = data.draw(st.integers(0, lost), label="committed")
    world.crash_at_order(kept)
    for each in things[committed:]:
        world.take([each])
    whole = _without_interruption(things)
    assert world.facts() == whole.facts()
    assert world.rooms.rooms == whole.rooms.rooms
    assert world.rooms.rooms == world.fold_of_everything()


@CALM
@given(asked_things(60), st.data())
def test_crashes_that_cost_each_topic_its_own_facts_leave_sums_and_people_right(
    things: list[Accepted], data: st.DataObject
) -> None:
    """The two topics are acknowledged apart, so a crash may keep a window and lose what it told.
    Every request then still has one outcome, and every total is the sum of what is on the log."""
    world, now_us = World(), T0_US
    done = committed = 0
    safe = world.lengths()
    while done < len(things):
        step = data.draw(st.sampled_from(["take", "take", "take", "tick", "ack", "crash"]))
        if step == "take":
            world.take(things[done : done + 3])
            done = min(len(things), done + 3)
        elif step == "tick":
            now_us += data.draw(st.sampled_from([50 * MS, 300 * MS, 30 * S]))
            world.tick(now_us)
        elif step == "ack":
            safe, committed = world.lengths(), done
            if data.draw(st.booleans(), label="checkpoint"):
                # A torn one: some rooms, no marker.
                world.write_checkpoint(data.draw(st.sampled_from([None, {"red"}, {"blue"}])))
        else:
            ends = world.lengths()
            keep = [data.draw(st.integers(low, high)) for low, high in zip(safe, ends, strict=True)]
            world.crash(keep_room=keep[0], keep_activity=keep[1])
            done = committed
            safe = world.lengths()
    _check_outcomes(world, things)
    _check_totals(world)
    assert world.rooms.rooms == world.fold_of_everything()


def _check_outcomes(world: World, things: list[Accepted]) -> None:
    """One outcome per request: its own fact or its refusal, never both."""
    facts = world.facts()
    own = Counter(fact.id for fact in facts if fact.kind not in WINDOWS)
    refused = Counter(
        fact.data.request
        for fact in facts
        if fact.kind == "request.refused" and fact.data.code != "id_reused"
    )
    for each in things:
        request = each.request.id
        # A held comment that was released is its author's outcome in both topics.
        in_each = Counter(fact.kind for fact in facts if fact.id == request)
        assert (
            in_each.total()
            - (in_each["comment.held"] and in_each["comment.posted"])
            + refused[request]
            == 1
        ), (request, in_each, refused[request], own[request])


def _check_totals(world: World) -> None:
    for name, state in world.rooms.rooms.items():
        facts = [fact for fact in world.facts() if fact.room == name]
        assert state.likes_total == sum(f.data.count for f in facts if f.kind == "like.tapped")
        told = [f for f in facts if f.kind == "likes.counted"]
        totals = [f.data.room_total for f in told]
        assert totals == sorted(set(totals)), "the total that viewers see only grows"
        for kind in WINDOWS:
            windows = [f.data.window for f in facts if f.kind == kind]
            assert windows == sorted(set(windows)), "windows never come again"
        assert state.leases == _people(facts)


def _people(facts: list[Decided]) -> dict[str, str]:
    """Who is there, by the words of the log alone."""
    there: dict[str, str] = {}
    for fact in facts:
        if fact.kind == "viewer.joined":
            there[fact.data.session] = str(fact.actor)
        elif fact.kind == "viewer.left":
            there.pop(fact.data.session, None)
        elif fact.kind == "room.closed":
            there.clear()
    return there


@CALM
@given(asked_things(60))
def test_windows_tell_everything_once_when_nothing_is_left_open(things: list[Accepted]) -> None:
    world = _without_interruption(things)
    world.tick(T0_US + 3600 * S)
    for name, state in world.rooms.rooms.items():
        facts = [fact for fact in world.facts() if fact.room == name]
        joined = sum(fact.kind == "viewer.joined" for fact in facts)
        left = sum(fact.kind == "viewer.left" for fact in facts)
        viewers = [fact.data for fact in facts if fact.kind == "viewers.counted"]
        likes = [fact.data for fact in facts if fact.kind == "likes.counted"]
        assert sum(data.joined for data in viewers) == joined
        assert sum(data.left for data in viewers) == left
        assert sum(data.count for data in likes) == state.likes_total
        assert state.online == len(state.leases)
        assert not (viewers and state.status == "open") or viewers[-1].online == len(state.leases)


@CALM
@given(asked_things())
def test_a_closed_room_takes_nothing(things: list[Accepted]) -> None:
    world = _without_interruption(things)
    is_open: dict[str, bool] = {}
    for fact in world.facts(ROOM_TOPIC):
        if fact.kind == "room.opened":
            is_open[fact.room] = True
        assert is_open.get(fact.room), f"{fact.kind} in a closed room"
        if fact.kind == "room.closed":
            is_open[fact.room] = False
    assert {fact.kind for fact in world.facts(ACTIVITY_TOPIC)} <= {
        *("viewer.joined", "viewer.left", "like.tapped", "comment.held"),
        *("request.refused", "request.unchanged"),
    }
