"""Crowds: when they send what, and what the demo's people do."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec

from engagement.crowd.demo import STEP_S, WAVE_S, DemoCrowd
from engagement.crowd.demo_shows import ADVERTISEMENT, DEMO, PEOPLE, RIVAL
from engagement.crowd.schedule import AGAIN_S_MAX, How, Sending, coins_needed, schedule
from engagement.crowd.shop import Shop
from engagement.domain.names import is_actor_id
from engagement.domain.requests import ClientRequest
from engagement.recordings.gifts import RecordedGift
from engagement.recordings.rows import Row
from engagement.settings import Settings

RUN = UUID(int=7)
START_US = 1_700_000_000_000_000
ROWS = [
    Row(line=1, kind="join", user="ana", sent_us=START_US),
    Row(line=2, kind="comment", user="ana", sent_us=START_US + 2_000_000, text="hi"),
    Row(line=3, kind="like", user="ben", sent_us=START_US + 6_000_000, count=2500),
]

SHOP = Shop([{"gift": "rose", "coins": 1}, {"gift": "car", "coins": 500}])


def sendings(
    rows: Sequence[Row] = ROWS,
    *,
    speed: float = 1,
    duplicates: float = 0,
    reorder_ms: int = 0,
    run: UUID = RUN,
) -> list[Sending]:
    how = How(speed=speed, duplicates=duplicates, reorder_ms=reorder_ms, seed=3)
    return schedule(rows, how, run=run, shop=SHOP)


def test_everybody_speaks_when_the_recording_says_faster_by_the_speed() -> None:
    assert [one.at_s for one in sendings(speed=2)] == [0, 1, 3, 3, 3]
    assert [one.user for one in sendings()] == ["ana", "ana", "ben", "ben", "ben"]


def test_every_request_is_of_good_form_and_no_like_is_lost() -> None:
    decode = msgspec.json.Decoder(ClientRequest).decode
    asked = [decode(msgspec.json.encode(one.request)) for one in sendings()]
    assert len({request.id for request in asked}) == len(asked)
    assert [one.request["data"].get("count") for one in sendings()[2:]] == [1000, 1000, 500]


def test_a_duplicate_is_the_same_request_a_little_later() -> None:
    first_at: dict[str, Sending] = {}
    for one in sendings(duplicates=1):
        first = first_at.setdefault(one.request["id"], one)
        assert one.request == first.request
        assert one.user == first.user
        assert one.at_s - first.at_s <= AGAIN_S_MAX
    assert len(sendings(duplicates=1)) == 2 * len(first_at) == 10


def test_reordering_delays_each_by_at_most_so_much() -> None:
    rows = [
        Row(line=n, kind="comment", user="a", sent_us=START_US + n * 1000, text=str(n))
        for n in range(200)
    ]
    shuffled = sendings(rows, reorder_ms=100)
    texts = [int(one.request["data"]["text"]) for one in shuffled]
    assert texts != sorted(texts)
    for one, number in zip(shuffled, texts, strict=True):
        assert 0 <= one.at_s - number / 1000 <= 0.1


def test_a_second_run_asks_with_other_ids() -> None:
    first = {one.request["id"] for one in sendings()}
    assert first == {one.request["id"] for one in sendings()}
    assert not first & {one.request["id"] for one in sendings(run=UUID(int=8))}


def gift(name: str, price: int | None, count: int, *, streak: str = "", before: int = 0) -> Row:
    given = RecordedGift("tiktok-1", name, price, count, bool(streak), streak, before=before)
    return Row(line=count, kind="gift", user="ana", sent_us=START_US + count, gift=given)


def test_a_recorded_gift_is_sent_as_the_one_that_is_most_like_it() -> None:
    rows = [gift("Rose", 7, 1), gift("Boat", 300, 2), gift("Leaf", None, 3)]
    orders = [one.request["data"] for one in sendings(rows)]
    assert [(order["gift"], order["count"]) for order in orders] == [
        ("rose", 1),
        ("car", 2),
        ("rose", 3),
    ]
    nothing = schedule(rows, How(), run=RUN, shop=Shop())
    assert nothing == []


def test_a_streak_is_sent_by_what_each_gift_adds_and_a_large_gift_in_parts() -> None:
    rows = [gift("Rose", 1, 4, streak="s", before=1), gift("Rose", 1, 25_000)]
    orders = [one.request["data"] for one in sendings(rows)]
    assert [order["count"] for order in orders] == [3, 10_000, 10_000, 5_000]
    assert [order.get("combo") for order in orders] == ["s", None, None, None]
    decode = msgspec.json.Decoder(ClientRequest).decode
    asked = [decode(msgspec.json.encode(one.request)) for one in sendings(rows)]
    assert len({request.id for request in asked}) == 4


def test_everybody_needs_the_coins_of_what_they_send_once() -> None:
    rows = [gift("Rose", 1, 3), gift("Car", 1, 2)]
    assert coins_needed(sendings(rows, duplicates=1), SHOP) == {"ana": 3 * 1 + 2 * 500}
    assert coins_needed(sendings(), SHOP) == {}


def steps(crowd: DemoCrowd, seconds: float) -> list[list[dict[str, object]]]:
    return [crowd.step() for _ in range(round(seconds / STEP_S))]


def without_ids(batches: list[list[dict[str, object]]]) -> list[list[dict[str, object]]]:
    return [[{**one, "id": ""} for one in batch] for batch in batches]


def test_the_demo_crowd_is_the_same_for_the_same_seed() -> None:
    crowds = [DemoCrowd(Settings(auth="dev"), seed) for seed in (1, 1, 2)]
    first, second, other = (without_ids(steps(crowd, 30)) for crowd in crowds)
    assert first == second != other


def test_the_demo_crowd_talks_in_waves_and_never_too_much() -> None:
    batches = steps(DemoCrowd(Settings(auth="dev")), 20 * WAVE_S)
    per_wave = round(WAVE_S / STEP_S)
    calm, wave = 0, 0
    for number, whole in enumerate(batches):
        batch = [one for one in whole if one["type"] != "gift.send"]
        in_wave = 0.56 < number % per_wave / per_wave < 0.74
        wave += len(batch) if in_wave else 0
        calm += 0 if in_wave else len(batch)
    wave_per_s, calm_per_s = wave / (20 * WAVE_S * 0.18), calm / (20 * WAVE_S * 0.82)
    assert 5 <= calm_per_s <= 12
    assert 15 <= wave_per_s <= 35


def test_the_demo_crowd_asks_in_good_form_for_people_who_are_there() -> None:
    decode = msgspec.json.Decoder(ClientRequest).decode
    present: set[object] = set()
    kinds: Counter[str] = Counter()
    for batch in steps(DemoCrowd(Settings(auth="dev")), 600):
        for one in batch:
            request = decode(msgspec.json.encode(one))
            assert is_actor_id(str(request.actor))
            kinds[str(one["type"])] += 1
            if one["type"] == "room.join":
                assert one["actor"] not in present
                present.add(one["actor"])
            elif one["type"] == "room.leave":
                present.remove(one["actor"])
            elif one["type"] == "gift.send":
                assert one["actor"] in present
    assert set(kinds) == {"comment.post", "like.tap", "room.join", "room.leave", "gift.send"}
    assert 8 <= len(present) <= len(PEOPLE)


def test_the_two_rooms_of_the_demo_share_nobody() -> None:
    assert not set(DEMO.people) & set(RIVAL.people)
    assert DEMO.room != RIVAL.room
    assert DEMO.host != RIVAL.host


def test_an_advertisement_is_taken_down_and_what_others_say_is_answered() -> None:
    crowd = DemoCrowd(Settings(auth="dev"))
    removed, answers, advertisements, said = [], [], [], set()
    for batch in (crowd.step() for _ in range(20_000)):
        for one in batch:
            if one["type"] == "comment.remove":
                removed.append(one["data"]["target"])
            elif one["type"] == "comment.post" and one["data"]["text"] == ADVERTISEMENT:
                advertisements.append(one["id"])
            elif one["type"] == "comment.post":
                said.add(one["id"])
                answers += [one["data"]["reply_to"]] if "reply_to" in one["data"] else []
        crowd.note(batch, [{"id": one["id"], "status": "accepted"} for one in batch])
    assert len(advertisements) > 10
    assert removed == advertisements[: len(removed)]
    assert len(advertisements) - len(removed) <= 2
    assert len(answers) > 100
    assert set(answers) <= said
