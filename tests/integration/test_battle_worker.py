"""Battles on real Kafka and real PostgreSQL, decided by a worker process as it is run."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.domain import battle_requests as asks
from engagement.domain import limits
from engagement.domain.events import rfc3339
from engagement.domain.names import derived_id
from engagement.log.topics import DEAD_LETTER_TOPIC
from engagement.settings import Settings
from tests.integration.battle_stage import BattleStage, Fight, assert_rooms_agree, folded
from tests.integration.log_reader import LogReader
from tests.integration.room_workers import Workers
from tests.money import new_id
from tests.waiting import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def workers(engines: Settings) -> Iterator[Workers]:
    running = Workers(engines)
    running.start(0)
    yield running
    running.stop_all()


@pytest.fixture
async def stage(
    engines: Settings, database: AsyncEngine, workers: Workers
) -> AsyncIterator[BattleStage]:
    async with BattleStage(engines, database) as running:
        yield running


async def test_gifts_decide_a_battle_and_both_rooms_tell_it_alike(stage: BattleStage) -> None:
    fight = Fight()
    for room, host in zip(fight.rooms, fight.hosts, strict=True):
        await stage.open_room(room, host)
    ana = new_id()
    await stage.money.deposit(ana, 1_000)
    state = await stage.start(fight, 3, windows=[(0, 1, 3)], punish_s=1)
    in_window = time.time_ns() // 1000 < state.started_us + 900_000
    await stage.money.gift(ana, fight.rooms[0], count=2, host=fight.hosts[0])
    await stage.money.gift(ana, fight.rooms[1], count=9, host=fight.hosts[1])
    assert in_window, "the machine was too busy for this test to mean anything"
    await stage.until_ended([fight])
    late = await stage.money.gift(ana, fight.rooms[0], host=fight.hosts[0])
    closed = await stage.until_state(
        fight, lambda state: not state.punishing and state.ended_us > 0
    )
    await stage.until(
        lambda: all(
            stage.battle_facts(room)[-1].type == "battle.window.closed" for room in fight.rooms
        )
    )
    assert_rooms_agree(stage, fight)
    ended = (await stage.until_told(fight.name, "battle.ended")).decode()
    assert ended.totals == {fight.rooms[0]: 60, fight.rooms[1]: 270}
    assert (ended.result, ended.winner, ended.reason) == ("win", fight.rooms[1], "deadline")
    assert [(each.actor, each.points) for each in ended.top] == [(ana, 270), (ana, 60)]
    assert closed.winner == fight.rooms[1]
    kinds = [fact.type for fact in stage.battle_facts(fight.rooms[0])]
    assert kinds[:2] == ["battle.invited", "battle.accepted"]
    assert kinds[-3:] == ["battle.ended", "battle.window.opened", "battle.window.closed"]
    await stage.until(lambda: any(fact.id == late for fact in stage.facts(fight.rooms[0])))
    assert folded(stage.facts(fight.name)) == ended.totals


async def test_the_score_follows_a_gift_at_once(stage: BattleStage) -> None:
    fight = Fight()
    ana = new_id()
    await stage.money.deposit(ana, 100)
    await stage.start(fight, 60)
    sent_s = time.monotonic()
    await stage.money.gift(ana, fight.rooms[0], host=fight.hosts[0])
    scored = await stage.until_told(fight.rooms[1], "battle.scored")
    assert time.monotonic() - sent_s < 5
    assert scored.decode().totals == {fight.rooms[0]: 10, fight.rooms[1]: 0}
    assert scored.actorid == ""


async def test_a_gift_of_the_last_moment_counts_although_it_is_written_later(
    stage: BattleStage,
) -> None:
    fight = Fight()
    ana = new_id()
    await stage.money.deposit(ana, 100)
    state = await stage.start(fight, 1)
    await asyncio.sleep(state.deadline_us / 1e6 + 0.6 - time.time())
    for room, at_us in ((0, state.deadline_us), (1, state.deadline_us + 1)):
        target, host = fight.rooms[room], fight.hosts[room]
        await stage.money.gift(ana, target, host=host, at_us=at_us)
    await stage.until_ended([fight])
    assert_rooms_agree(stage, fight)
    ended = (await stage.until_told(fight.name, "battle.ended")).decode()
    assert ended.totals == {fight.rooms[0]: 10, fight.rooms[1]: 0}
    late = await stage.until_told(fight.name, "battle.contribution.late")
    assert late.decode().room == fight.rooms[1]


async def test_a_room_has_one_battle_at_a_time(stage: BattleStage) -> None:
    first, second = Fight(), Fight()
    second.rooms[0], second.hosts[0] = first.rooms[0], first.hosts[0]
    await stage.start(first, 1)
    assert await stage.outcome(second, await stage.invite(second, 5)) == "room_in_battle"
    await stage.until_ended([first])
    third = Fight()
    third.rooms[0], third.hosts[0] = first.rooms[0], first.hosts[0]
    state = await stage.start(third, 1)
    assert state.status == "running"


async def test_of_battles_in_different_partitions_one_gets_the_room(stage: BattleStage) -> None:
    fights = [Fight() for _ in range(8)]
    for fight in fights[1:]:
        fight.rooms[0], fight.hosts[0] = fights[0].rooms[0], fights[0].hosts[0]
    await asyncio.gather(*(stage.invite(fight, 60) for fight in fights))
    for fight in fights:
        await stage.until_state(fight, lambda state: state.status == "invited")
    await asyncio.gather(*(stage.accept(fight, fight.hosts[1]) for fight in fights))
    states = [
        await stage.until_state(fight, lambda state: state.status != "invited") for fight in fights
    ]
    assert sorted(state.status for state in states) == ["expired"] * 7 + ["running"]


async def test_a_host_breaks_a_battle_off(stage: BattleStage) -> None:
    fight = Fight()
    await stage.start(fight, 600)
    request = asks.BattleCancel(id=new_id(), data=asks.SideAnswer([]))
    await stage.ask(fight.name, request, fight.hosts[1])
    await stage.until_ended([fight])
    assert_rooms_agree(stage, fight)
    ended = (await stage.until_told(fight.name, "battle.ended")).decode()
    assert (ended.result, ended.reason) == ("aborted", "aborted")


async def test_poison_costs_only_itself(stage: BattleStage, engines: Settings) -> None:
    fight = Fight()
    await stage.put(fight.name, b"not an envelope " + fight.name.encode())
    elsewhere = next(
        name
        for name in (f"other-{n}" for n in range(100))
        if stage.partition(name) != stage.partition(fight.name)
    )
    await stage.put(fight.name, stage.invitation_bytes(elsewhere, fight))
    await stage.invite(fight, 5)
    await stage.until_state(fight, lambda state: state.status == "invited")

    async def letters() -> bool:
        async with LogReader(engines, [DEAD_LETTER_TOPIC], 1) as reader:
            records = await reader.to_the_end()
        mine = fight.name.removeprefix("battle-").encode()
        ours = [each for each in records if mine in (each.value or b"")]
        reasons = [dict(each.headers)["reason"] for each in ours]
        return len(ours) == 2 and b"a battle of another partition" in reasons

    await until(letters, "the dead letters")
    assert await stage.known(elsewhere) is None


async def test_what_a_battle_tells_is_the_same_again_under_the_same_ids(
    stage: BattleStage,
) -> None:
    fight = Fight()
    state = await stage.start(fight, 1)
    await stage.until_ended([fight])
    ended = await stage.until_told(fight.name, "battle.ended")
    assert ended.id == derived_id(fight.name, "battle.ended", ended.decode().final_revision)
    settled_us = state.deadline_us + limits.BATTLE_SETTLE_MS * 1000
    assert ended.time >= rfc3339(settled_us)
