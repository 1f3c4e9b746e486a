"""What battles tell, as records: to their topic, to each of their rooms, to the ledger."""

import msgspec

from engagement.domain.battle_batch import BattleBatch
from engagement.domain.battle_requests import BattleAsked
from engagement.domain.envelope import Accepted
from engagement.domain.events import BATTLE_TOPIC, ROOM_BATTLE_TYPES
from engagement.domain.ledger_requests import BattleMark
from engagement.domain.limits import RECORD_BYTES_MAX
from engagement.domain.media_time import Anchor, RoomClock
from engagement.domain.requests import BattleNews, BattleTold
from engagement.log.codec import decode_envelope, decode_raw
from engagement.log.money_codec import decode_money_envelope
from engagement.log.topics import GIFT_REQUESTS_TOPIC, REQUESTS_TOPIC, partition_of
from engagement.processors.battle_telling import BattleTelling
from engagement.processors.outbox import OutRecord
from tests.unit.battle_parts import (
    BATTLE,
    STARTED_US,
    Arena,
    accept,
    contribution,
    invitation,
    passed,
    settling,
    started,
)
from tests.unit.domain_parts import T0_US, S

PARTITIONS = 8
CLOCKS = {"red": RoomClock()}
for at_us in (T0_US - S, T0_US + 30 * S):
    CLOCKS["red"].observe(Anchor(f"anchor-{at_us}", 1, 90_000, 0, 0.0, 0.0, 0.0, 1.0, at_us), at_us)


def told(arena: Arena, *asked: BattleAsked, now_us: int = T0_US) -> list[OutRecord]:
    """The records that one transaction makes of these requests."""
    telling = BattleTelling(5, PARTITIONS, CLOCKS.get)
    batch = BattleBatch(arena.battles, arena.taken, arena.points)
    for state, decision in batch.take(asked, now_us):
        telling.take(state, decision)
    return telling.records()


def for_rooms(records: list[OutRecord]) -> dict[str, list[tuple[Accepted, str]]]:
    """What each room is told, and the anchor that it is stamped by."""
    found: dict[str, list[tuple[Accepted, str]]] = {}
    for record in records:
        if record.topic != REQUESTS_TOPIC:
            continue
        envelope, poison = decode_envelope(record.value)
        assert not poison
        assert envelope.gateway == "battles/5"
        for asked in envelope.requests:
            assert partition_of(asked.room, PARTITIONS) == record.partition
            index = asked.anchor
            anchor = envelope.clock[index].anchor.id if isinstance(index, int) else ""
            found.setdefault(asked.room, []).append((asked, anchor))
    return found


def news_of(asked: Accepted) -> BattleNews:
    request = asked.request
    assert isinstance(request, BattleTold)
    return request.data


def test_every_room_is_told_the_same_each_by_its_own_clock() -> None:
    arena = Arena()
    records = told(
        arena,
        BattleAsked(BATTLE, "ann", "viewer", T0_US, invitation()),
        BattleAsked(BATTLE, "bob", "viewer", T0_US + 31 * S, accept()),
    )
    rooms = for_rooms(records)
    assert rooms.keys() == {"red", "blue"}
    news = {
        room: [(news_of(each), each.at_us) for each, _ in told_here]
        for room, told_here in rooms.items()
    }
    assert news["red"] == news["blue"]
    assert [data.kind for data, _ in news["red"]] == [
        "battle.invited",
        "battle.accepted",
        "battle.accepted",
        "battle.started",
    ]
    first, last = f"anchor-{T0_US - S}", f"anchor-{T0_US + 30 * S}"
    assert [anchor for _, anchor in rooms["red"]] == [first, first, last, last]
    assert {anchor for _, anchor in rooms["blue"]} == {""}
    ids = [asked.request.id for of_room in rooms.values() for asked, _ in of_room]
    assert len(set(ids)) == len(ids)


def test_a_battles_topic_has_all_and_rooms_what_concerns_them() -> None:
    arena = started()
    asked = BattleAsked(BATTLE, "viv", "viewer", STARTED_US, contribution(entry=1))
    records = told(arena, asked)
    facts = [decode_raw(each.value) for each in records if each.topic == BATTLE_TOPIC]
    assert [fact.type for fact in facts] == ["battle.contributed", "battle.scored"]
    assert {fact.battleid for fact in facts} == {BATTLE}
    for of_room in for_rooms(records).values():
        [(accepted, _)] = of_room
        news = news_of(accepted)
        assert news.kind == "battle.scored"
        data = msgspec.json.decode(news.data, type=ROOM_BATTLE_TYPES["battle.scored"])
        assert data == facts[1].decode()


def test_a_barrier_goes_through_every_partition_of_the_ledger() -> None:
    arena = settling()
    at_us = arena.state.deadline_us + S
    asked = BattleAsked(BATTLE, "battles", "service", at_us, passed(at_us, 1))
    records = told(arena, asked, now_us=at_us)
    assert [(each.topic, each.partition) for each in records] == [
        (GIFT_REQUESTS_TOPIC, number) for number in range(PARTITIONS)
    ]
    ids = set()
    for record in records:
        envelope, poison = decode_money_envelope(record.value)
        assert not poison
        [mark] = envelope.asks
        assert isinstance(mark.request, BattleMark)
        assert (mark.account, mark.at_us) == ("", at_us)
        target = mark.request.data
        assert (target.battle, target.barrier, target.partitions) == (BATTLE, 1, PARTITIONS)
        ids.add(mark.request.id)
    assert len(ids) == PARTITIONS


def test_a_record_holds_what_the_log_takes() -> None:
    arena = started()
    telling = BattleTelling(5, PARTITIONS, CLOCKS.get)
    for entry in range(1, 1_001):
        batch = BattleBatch(arena.battles, arena.taken, arena.points)
        asked = BattleAsked(BATTLE, "viv", "viewer", STARTED_US, contribution(entry=entry))
        for state, decision in batch.take([asked], T0_US):
            telling.take(state, decision)
    records = telling.records()
    assert max(len(record.value) for record in records) < RECORD_BYTES_MAX
    for of_room in for_rooms(records).values():
        revisions = [news_of(asked).revision for asked, _ in of_room]
        assert len(revisions) == 1_000
        assert revisions == sorted(revisions)
