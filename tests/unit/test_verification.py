"""What the proof of the ledger notices on the topics: forged, changed, doubled, missing, late."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.battle_events import (
    BattleContributed,
    BattleContributionLate,
    BattleEnded,
    BattleInvited,
    BattleStarted,
    ScoreWindow,
    Side,
)
from engagement.domain.catalogue import catalogued
from engagement.domain.events import (
    BATTLE_TOPIC,
    CATALOGUE_TOPIC,
    LEDGER_TOPIC,
    Decided,
    SubjectFact,
    rfc3339,
)
from engagement.domain.gift_events import GiftReversed, GiftSent
from engagement.domain.ledger_telling import tell
from engagement.domain.media_time import Stamp
from engagement.log.codec import encode_fact, encode_subject_fact
from engagement.verification.difference import Difference, first
from engagement.verification.gifts_in_battles import BattleSums, GiftsInBattles
from engagement.verification.gifts_in_rooms import GiftsInRooms
from engagement.verification.once import read_until_told
from engagement.verification.told_facts import CatalogueCheck, ToldCheck, TopicText
from tests.unit.domain_parts import T0_US, S, request_id
from tests.unit.ledger_parts import ANA, FOX, HOST, ROOM, ask, deposit, funded, gift, reversal, take

PARTITION = 3


class Written(Struct, frozen=True):
    """A record."""

    partition: int
    offset: int
    value: bytes


class Topic:
    """Stands in for a reader of a topic with one partition; may grow while it is looked at."""

    def __init__(self, values: Sequence[bytes], later: Sequence[bytes] = ()) -> None:
        self._values = list(values)
        self._later = list(later)
        self._at = 0

    async def assign(self, positions: Mapping[int, int]) -> None:
        self._at = positions[0]

    async def ends(self, count: int) -> dict[int, int]:
        self._values += self._later
        self._later = []
        return {0: len(self._values)}

    async def read_to(self, goal: Mapping[int, int], most: int) -> AsyncIterator[list[Written]]:
        found = [Written(0, at, self._values[at]) for at in range(self._at, goal[0])]
        self._at = len(self._values)  # As a consumer does: what lies beyond is thrown away.
        if found:
            yield found


def text_of(values: Sequence[bytes], known: int | None = None) -> TopicText:
    return TopicText(len(values) if known is None else known, len(values))


# --- live.ledger.v1 ------------------------------------------------------------------------------


def ledger_facts() -> list[SubjectFact]:
    """Of a deposit and a gift: three transfers."""
    books = funded(0 + 100)
    decisions = take(books, gift(number=1), ask(deposit(5, number=2)))
    return [fact for each in decisions for fact in tell(PARTITION, each).facts]


async def compare_told(
    told: Sequence[bytes],
    expected: Sequence[SubjectFact],
    *,
    known: int | None = None,
    outbox: Sequence[bytes] = (),
) -> Difference | None:
    reader: Any = Topic(told)
    check = ToldCheck(LEDGER_TOPIC, 0, reader, text_of(told, known), outbox)
    for offset, fact in enumerate(expected):
        found = await check.take(offset, fact)
        if found is not None:
            return found
    return await check.end()


def encoded(facts: Sequence[SubjectFact]) -> list[bytes]:
    return [encode_subject_fact(fact) for fact in facts]


async def test_what_was_told_is_what_follows_repeats_left_out() -> None:
    facts = ledger_facts()
    told = encoded(facts)
    assert len(told) == 3
    assert await compare_told(told, facts) is None
    assert await compare_told([*told[:2], *told[:2], told[2], told[0]], facts) is None


async def test_what_is_not_told_yet_must_be_in_the_outbox() -> None:
    facts = ledger_facts()
    told = encoded(facts)
    assert await compare_told(told[:1], facts, outbox=told) is None
    missing = await compare_told(told[:1], facts)
    assert missing is not None
    assert (missing.offset, "was not told" in missing.what) == (1, True)


async def test_a_changed_a_forged_and_a_misplaced_fact_are_found() -> None:
    facts = ledger_facts()
    told = encoded(facts)
    changed = await compare_told([told[0].replace(b'"coins":', b'"coins":1'), *told[1:]], facts)
    assert changed is not None and changed.offset == 0
    swapped = await compare_told([told[1], told[0], told[2]], facts)
    assert swapped is not None and swapped.offset == 0
    garbage = await compare_told([*told[:2], b"{", told[2]], facts)
    assert garbage is not None and "not a fact" in garbage.what
    forged = encode_subject_fact(msgspec.structs.replace(facts[0], id=request_id(9)))
    extra = await compare_told([*told, forged], facts)
    assert extra is not None and extra.offset == 3 and "follows from no request" in extra.what
    last = await compare_told([*told, b"{"], facts)
    assert last is not None and "not a fact" in last.what


async def test_what_was_told_after_the_snapshot_is_nobodys_fault() -> None:
    facts = ledger_facts()
    assert await compare_told(encoded(facts), facts[:2], known=2) is None


async def test_a_fact_that_the_requests_make_twice_is_told_once() -> None:
    """The same reuse of an id, asked twice: one fact, the first."""
    facts = ledger_facts()
    later = msgspec.structs.replace(facts[1], at_us=T0_US + S)
    assert await compare_told(encoded(facts), [*facts[:2], later, facts[2]]) is None


# --- live.catalogue.v1 ---------------------------------------------------------------------------


def offered(coins: int, version: int) -> SubjectFact:
    terms = msgspec.structs.replace(FOX.terms, coins=coins)
    priced = msgspec.structs.replace(FOX, version=version, terms=terms)
    return SubjectFact(
        "gift.catalogued", request_id(version), "gifts", "fox", T0_US, catalogued(priced, "admin")
    )


async def compare_offered(
    kept: Sequence[bytes], *, known: int | None = None, outbox: Sequence[bytes] = ()
) -> Difference | None:
    check = CatalogueCheck(CATALOGUE_TOPIC)
    for offset, fact in enumerate((offered(7, 1), offered(8, 2))):
        check.expect(PARTITION, offset, fact)
    reader: Any = Topic(kept)
    return await check.compare(reader, {0: text_of(kept, known)}, outbox)


async def test_of_the_catalogue_only_the_newest_must_be_there() -> None:
    old, new = (encode_subject_fact(each) for each in (offered(7, 1), offered(8, 2)))
    assert await compare_offered([old, new]) is None
    assert await compare_offered([new]) is None
    assert await compare_offered([], outbox=[new]) is None
    missing = await compare_offered([old])
    assert missing is not None and (missing.partition, missing.offset) == (PARTITION, 1)


async def test_a_price_that_nobody_asked_for_is_found() -> None:
    new = encode_subject_fact(offered(8, 2))
    forged = await compare_offered([new, encode_subject_fact(offered(1, 3))])
    assert forged is not None and "follows from no request" in forged.what
    changed = await compare_offered([encode_subject_fact(offered(9, 2))])
    assert changed is not None and changed.offset == 1
    later = [new, encode_subject_fact(offered(1, 3))]
    assert await compare_offered(later, known=1) is None


# --- rooms ---------------------------------------------------------------------------------------


def sent(number: int = 1, transfer: str = "3-2", **more: Any) -> bytes:
    """The `gift.sent` of a rose for ten coins."""
    data = GiftSent("rose", "Rose", 1, "rose", 1, 10, 10, 4, HOST, transfer, "s")
    event_id = more.pop("event_id", request_id(number))
    data = msgspec.structs.replace(data, **more)
    stamp = Stamp(1, 0, 1.0, "a")
    return encode_fact(
        Decided("gift.sent", event_id, ROOM, T0_US, stamp, data, ANA, request_id(number))
    )


def taken_back(transfer: str = "3-3") -> bytes:
    data = GiftReversed(request_id(1), 10, 4, HOST, transfer, "s", rfc3339(T0_US), "a mistake")
    stamp = Stamp(1, 0, 1.0, "a")
    return encode_fact(
        Decided("gift.reversed", request_id(8), ROOM, T0_US, stamp, data, ANA, request_id(2))
    )


def paid_gifts() -> GiftsInRooms:
    """One gift, which was taken back."""
    gifts = GiftsInRooms()
    decisions = take(funded(), gift(number=1), ask(reversal(request_id(1), number=2)))
    for offset, decision in enumerate(decisions):
        gifts.expect(PARTITION, offset, decision)
    return gifts


async def look_at_rooms(
    values: Sequence[bytes], gifts: GiftsInRooms | None = None, known: int | None = None
) -> Difference | None:
    topic: Any = Topic(values)
    texts = {0: text_of(values, known)}
    return await read_until_told(topic, texts, gifts or paid_gifts(), lambda records: None)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VERIFY_WAIT_S", 0.0)


async def test_every_paid_gift_and_every_reversal_is_in_its_room_once() -> None:
    gifts = paid_gifts()
    repeats = [sent(), sent(), taken_back(), taken_back(), sent()]
    assert await look_at_rooms(repeats, gifts) is None
    sums = gifts.sums
    assert (sums.gifts, sums.paid, sums.sent) == (1, 10, 10)
    assert (sums.reversed, sums.taken_back, sums.earned) == (10, 10, 0)


@pytest.mark.parametrize(
    ("facts", "offset", "what"),
    [
        ([sent()], 1, "3-3 was not told"),
        ([taken_back()], 0, "3-2 was not told"),
        ([sent(event_id=request_id(7)), sent(), taken_back()], 0, "is told by"),
        ([sent(count=2), taken_back()], 0, "says something else"),
        ([sent(coins=11), taken_back()], 0, "says something else"),
        ([sent(earned=5), taken_back()], 0, "says something else"),
        ([sent(to="eve"), taken_back()], 0, "says something else"),
        ([sent(number=4), taken_back()], 0, "says something else"),
        ([sent(), taken_back(), sent(5, "3-9")], 2, "follows from no request"),
    ],
)
async def test_a_gift_that_was_not_paid_so_is_found(
    facts: list[bytes], offset: int, what: str
) -> None:
    found = await look_at_rooms(facts)
    assert found is not None
    assert (found.offset, what in found.what) == (offset, True), found


async def test_gifts_of_recordings_other_facts_and_garbage_are_passed_over() -> None:
    other = sent(6, "recorded-1").replace(b"gift.sent", b"gift.seen")
    facts = [
        b"{",
        other,
        sent(6, "recorded-1"),
        sent().replace(b'"count":1', b'"count":"x"'),
        sent(),
    ]
    assert await look_at_rooms([*facts, taken_back()]) is None


async def test_a_gift_of_after_the_snapshot_is_passed_over() -> None:
    facts = [sent(), taken_back(), sent(5, "3-9")]
    assert await look_at_rooms(facts, known=2) is None


async def test_what_is_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VERIFY_WAIT_S", 10.0)
    topic: Any = Topic([sent()], later=[taken_back()])
    texts = {0: TopicText(1, 1)}
    assert await read_until_told(topic, texts, paid_gifts(), lambda records: None) is None


# --- battles -------------------------------------------------------------------------------------


def told_by_battle(kind: str, data: Any, *, number: int, after_us: int = 0) -> bytes:
    fact = SubjectFact(kind, request_id(number), "battles", "fight", T0_US + after_us, data)
    return encode_subject_fact(fact)


INVITED = told_by_battle(
    "battle.invited",
    BattleInvited(
        "fight", 1, [Side(ROOM, HOST), Side("r2", "eva")], 60, "coins", [ScoreWindow(0, 10, 3)], 0,
        HOST, rfc3339(T0_US),
    ),
    number=20,
)  # fmt: skip
STARTED = told_by_battle(
    "battle.started",
    BattleStarted("fight", 2, [], rfc3339(T0_US), rfc3339(T0_US + 60 * S), 60, "coins"),
    number=21,
)


def scored(points: int = 30, *, coins: int = 10, number: int = 22, transfer: str = "3-2") -> bytes:
    data = BattleContributed("fight", 3, request_id(1), ROOM, coins, points, transfer)
    return told_by_battle("battle.contributed", data, number=number, after_us=5 * S)


def late(number: int = 23) -> bytes:
    data = BattleContributionLate("fight", request_id(1), ROOM, 10, "3-2")
    return told_by_battle("battle.contribution.late", data, number=number)


def ended(points: int = 30, number: int = 24) -> bytes:
    data = BattleEnded("fight", 4, {ROOM: points, "r2": 0}, "win", "deadline", ROOM)
    return told_by_battle("battle.ended", data, number=number)


async def look_at_battles(
    facts: Sequence[bytes], sums: BattleSums | None = None, known: int | None = None
) -> Difference | None:
    gifts = paid_gifts()
    assert await look_at_rooms([sent(battle="fight"), taken_back()], gifts) is None
    topic: Any = Topic(facts)
    taker = GiftsInBattles(gifts.in_battles, sums or BattleSums())
    return await read_until_told(topic, {0: text_of(facts, known)}, taker, lambda records: None)


async def test_every_gift_to_a_battle_scores_by_the_rule_once() -> None:
    sums = BattleSums()
    repeats = [INVITED, STARTED, scored(), scored(), ended(), scored(), ended()]
    assert await look_at_battles(repeats, sums) is None
    assert (sums.scored, sums.points, sums.late, sums.ended) == (10, 30, 0, 1)


async def test_or_was_late_and_scored_nothing() -> None:
    sums = BattleSums()
    assert await look_at_battles([INVITED, STARTED, ended(0), late()], sums) is None
    assert (sums.scored, sums.points, sums.late) == (0, 0, 10)


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ([INVITED, STARTED, ended(0)], "3-2 was not told"),
        ([INVITED, STARTED, scored(), late()], "is told by"),
        ([INVITED, STARTED, scored(10)], "the rule says 30"),
        ([INVITED, STARTED, scored(33, coins=11)], "says something else"),
        ([scored()], "before it started"),
        ([INVITED, STARTED, scored(), ended(31)], "its contributions make"),
        ([INVITED, STARTED, scored(), ended(), ended(number=25)], "ended by"),
        (
            [INVITED, STARTED, scored(), scored(transfer="3-9", number=26)],
            "follows from no request",
        ),
    ],
)
async def test_a_battle_that_counted_otherwise_is_found(facts: list[bytes], what: str) -> None:
    found = await look_at_battles(facts)
    assert found is not None
    assert found.where == BATTLE_TOPIC
    assert what in found.what


async def test_totals_include_gifts_that_were_paid_after_the_snapshot() -> None:
    facts = [INVITED, STARTED, scored(), scored(transfer="3-9", number=26), ended(60)]
    assert await look_at_battles(facts, known=3) is None


# --- differences ---------------------------------------------------------------------------------


def test_the_first_difference_is_the_first_on_the_log() -> None:
    def at(offset: int) -> Difference:
        return Difference("ledger_accounts", 0, offset, "wrong")

    assert first([None, at(9), at(-1), at(4)]) == at(4)
    assert first([at(-1), None]) == at(-1)
    assert first([None]) is None
    assert str(at(4)) == "ledger_accounts, partition 0, offset 4: wrong"
