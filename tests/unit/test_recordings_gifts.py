"""Gifts and battles of recordings: true totals, whatever was doubled, lost or out of order."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain.events import ROOM_BATTLE_TYPES, RawFact
from engagement.domain.gift_events import GiftSent
from engagement.domain.requests import RECORDED, BattleTold, GiftPaid
from engagement.domain.rooms import transfer_name
from engagement.recordings.formats import FORMATS
from engagement.recordings.gifts import RecordedGift, slug
from engagement.recordings.past import RoomPast
from engagement.recordings.plan import ImportPlan, plan_import
from engagement.recordings.reading import Recording, read_recording
from engagement.recordings.rows import Row
from engagement.recordings.streaks import STREAK_SILENCE_US, merge_streaks

START_MS = 1_700_000_000_000
START_US = START_MS * 1000


def frame(
    at_ms: int, total: int, *, closes: bool = False, streak: str = "s", user: str = "ana"
) -> Row:
    gift = RecordedGift("tiktok-1", "Rose", 5, total, True, streak, closes)
    return Row(line=at_ms, kind="gift", user=user, sent_us=START_US + at_ms * 1000, gift=gift)


def added(rows: list[Row]) -> list[int]:
    return [row.gift.added for row in rows if row.gift is not None]


def test_a_streak_is_as_many_gifts_as_its_total_grew_by() -> None:
    rows, account = merge_streaks([frame(1, 1), frame(2, 2), frame(3, 5), frame(4, 5, closes=True)])
    assert added(rows) == [1, 1, 3]
    assert (account.pieces, account.coins, account.merged, account.gaps) == (5, 25, 1, 1)
    assert (account.streaks, account.without_beginning, account.without_end) == (1, 0, 0)


def test_a_single_gift_that_is_closed_by_another_frame_is_one() -> None:
    """The double-count trap: both frames say 1."""
    rows, account = merge_streaks([frame(1, 1), frame(3000, 1, closes=True)])
    assert added(rows) == [1]
    assert account.merged == 1


def test_a_streak_of_which_only_the_end_is_left_has_its_total() -> None:
    rows, account = merge_streaks([frame(9, 37, closes=True)])
    assert added(rows) == [37]
    assert (account.without_beginning, account.without_end) == (1, 0)


def test_streaks_of_two_people_or_two_names_do_not_mix() -> None:
    frames = [frame(1, 1), frame(2, 1, user="ben"), frame(3, 1, streak="t"), frame(4, 2)]
    rows, account = merge_streaks(frames)
    assert added(rows) == [1, 1, 1, 1]
    assert account.streaks == 3


def test_streaks_without_a_name_are_told_apart_by_their_end_and_by_silence() -> None:
    frames = [
        *(frame(0, 1, streak=""), frame(1000, 2, streak="")),
        *(frame(4000, 2, streak="", closes=True), frame(4100, 2, streak="", closes=True)),
        *(frame(5000, 1, streak=""), frame(6000, 2, streak="")),
        frame(6001 + STREAK_SILENCE_US // 1000, 2, streak=""),
    ]
    rows, account = merge_streaks(frames)
    assert added(rows) == [1, 1, 1, 1, 2]
    assert account.streaks == 3
    assert len({row.gift.streak for row in rows if row.gift}) == 3


STREAKS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=12), min_size=1, max_size=4)
"""Pieces of each tap, streak by streak."""


@given(STREAKS, st.data())
def test_the_totals_are_true_whatever_was_lost_doubled_or_reordered(
    streaks: list[list[int]], data: st.DataObject
) -> None:
    frames: list[Row] = []
    for number, taps in enumerate(streaks):
        totals = [sum(taps[: n + 1]) for n in range(len(taps))]
        told = [
            frame(data.draw(st.integers(0, 5000)), total, streak=str(number)) for total in totals
        ]
        closing = frame(
            data.draw(st.integers(0, 9000)), totals[-1], streak=str(number), closes=True
        )
        kept = data.draw(st.lists(st.sampled_from(told)))
        ends = data.draw(st.sampled_from([[closing], [told[-1]], [closing, told[-1], closing]]))
        frames += kept + ends
    frames.sort(key=lambda row: row.sent_us)
    rows, account = merge_streaks(frames)
    given_by: Counter[str] = Counter()
    for row in rows:
        assert row.gift is not None
        assert row.gift.added > 0
        given_by[row.gift.streak] += row.gift.added
    assert given_by == {str(number): sum(taps) for number, taps in enumerate(streaks)}
    assert account.pieces == sum(given_by.values())


def gift_frame(at_ms: int, total: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "WebcastGiftMessage",
        "msg_id": f"{at_ms}-{total}",
        "create_time_ms": START_MS + at_ms,
        "user": "ana",
        "gift_id": 5655,
        "repeat_count": total,
        "repeat_end": 0,
        "group_id": "1696447175732",
        "gift": {"id": 5655, "type": 1, "diamonds": 1, "combo": 1, "name": "Rose"},
        **more,
    }


def read(tmp_path: Path, format_name: str, rows: list[Any]) -> Recording:
    file = tmp_path / "recording.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return read_recording(file, FORMATS[format_name])


def plan(recording: Recording, past: RoomPast | None = None) -> ImportPlan:
    return plan_import(recording, room="r", host="h", title="t", past=past)


def paid(planned: ImportPlan) -> list[GiftPaid]:
    return [asked.request for asked in planned.requests if isinstance(asked.request, GiftPaid)]


def test_tiktok_gifts_are_paid_by_no_ledger_and_numbered_in_order(tmp_path: Path) -> None:
    rows = [
        gift_frame(300, 4),
        gift_frame(100, 1),
        gift_frame(3900, 4, repeat_end=1),
        gift_frame(400, 1, group_id="0", gift={"id": 9333, "type": 2, "diamonds": 100,
                                               "name": "LIVE Fest Clappers"}, gift_id=9333),
        gift_frame(400, 1, group_id="0", gift={"id": 9333, "type": 2, "diamonds": 100,
                                               "name": "LIVE Fest Clappers"}, gift_id=9333),
    ]  # fmt: skip
    recording = read(tmp_path, "tiktok", rows)
    gifts = [one.data for one in paid(plan(recording))]
    assert recording.merged == 1, "the doubled frame"
    assert [(one.gift, one.count, one.coins) for one in gifts] == [
        ("tiktok-5655", 1, 1),
        ("tiktok-5655", 3, 3),
        ("tiktok-9333", 1, 100),
    ]
    assert [one.entry for one in gifts] == [1, 2, 3]
    assert {(one.ledger, one.earned, one.to) for one in gifts} == {(RECORDED, 0, "h")}
    assert [one.combos for one in gifts] == [True, True, False]
    assert gifts[0].combo == "1696447175732"
    assert (gifts[2].name, gifts[2].animation) == ("LIVE Fest Clappers", "live-fest-clappers")
    assert [one.tier for one in gifts] == [1, 1, 2]


@pytest.mark.parametrize("closing", [0, 1])
def test_a_gift_whose_exporter_leaves_out_what_is_not_set_counts_one(
    tmp_path: Path, closing: int
) -> None:
    row = gift_frame(1, 0, repeat_end=closing)
    del row["repeat_count"]
    [one] = paid(plan(read(tmp_path, "tiktok", [row])))
    assert one.data.count == 1


def learned(planned: ImportPlan, past: RoomPast) -> RoomPast:
    """The past after the room has taken the plan in."""
    for asked in planned.requests:
        request = asked.request
        fact = RawFact(id=request.id, type="", time="", actorid=asked.actor, causationid=request.id)
        if isinstance(request, GiftPaid):
            gift = request.data
            data: Any = GiftSent(
                *(gift.gift, gift.name, gift.tier, gift.animation, gift.count, gift.unit_price),
                *(gift.coins, gift.earned, gift.to, transfer_name(RECORDED, gift.entry), "s"),
                combo_name=gift.combo,
            )
        elif isinstance(request, BattleTold):
            fact = msgspec.structs.replace(fact, type=request.data.kind)
            data = msgspec.json.decode(request.data.data, type=ROOM_BATTLE_TYPES[request.data.kind])
        else:
            data = None
        past.learn(fact, data)
    return past


def test_another_capture_of_the_same_room_adds_only_what_the_first_one_missed(
    tmp_path: Path,
) -> None:
    first = read(tmp_path, "tiktok", [gift_frame(10, 1), gift_frame(50, 5)])
    past = learned(plan(first), RoomPast())
    assert past.newest_gift == 2
    again = plan(first, past)
    assert (again.requests, again.already_there) == ([], 2)
    frames = [gift_frame(10, 1), gift_frame(30, 3), gift_frame(50, 5), gift_frame(70, 7)]
    second = plan(read(tmp_path, "tiktok", frames), past)
    assert [(one.data.count, one.data.entry) for one in paid(second)] == [(2, 3)]
    assert second.already_there == 3


def test_an_import_that_was_broken_off_numbers_on_where_it_ended(tmp_path: Path) -> None:
    """Requests that are still under way get the same numbers again: their room drops repeats."""
    frames = [gift_frame(n, 1, group_id=str(n), user=f"u{n}") for n in range(1, 7)]
    recording = read(tmp_path, "tiktok", frames)
    whole = plan(recording)
    halfway = learned(msgspec.structs.replace(whole, requests=whole.requests[:2]), RoomPast())
    rest = plan(recording, halfway)
    numbers = {one.id: one.data.entry for one in paid(whole)}
    assert {one.id: one.data.entry for one in paid(rest)} == dict(list(numbers.items())[2:])
    assert rest.closing.request.id == whole.closing.request.id


def test_a_super_chat_is_a_gift_with_its_amount_in_its_name_and_a_comment(tmp_path: Path) -> None:
    row = {"sent_us": START_US, "user": "u", "type": "super_chat", "amount": "CA$10.00"}
    recording = read(tmp_path, "youtube", [{**row, "text": "hi"}, {**row, "text": "hi"}, row])
    assert recording.counts() == {"gift": 1, "comment": 1}
    assert recording.merged == 2
    [gift] = paid(plan(recording))
    assert (gift.data.gift, gift.data.name) == ("super-chat", "Super Chat CA$10.00")
    assert (gift.data.coins, gift.data.tier, gift.data.combos) == (0, 2, False)
    assert recording.gifts.unpriced == 1


def test_generic_gifts_are_counted_priced_and_named_as_their_rows_say(tmp_path: Path) -> None:
    row = {"type": "gift", "user": "u", "sent_ms": START_MS}
    rows = [row, {**row, "gift": "Red Rose", "count": 3, "coins": 1500}]
    gifts = [one.data for one in paid(plan(read(tmp_path, "generic", rows)))]
    assert [(one.gift, one.count, one.unit_price, one.coins, one.tier) for one in gifts] == [
        ("gift", 1, 0, 0, 2),
        ("red-rose", 3, 1500, 4500, 3),
    ]


@pytest.mark.parametrize(
    ("name", "ours"), [("It's corn!", "it-s-corn"), ("❤", "gift"), ("", "gift")]
)
def test_names_of_gifts_become_names_in_our_manner(name: str, ours: str) -> None:
    assert slug(name) == ours


def armies(at_ms: int, ours: int, theirs: int, battle: str = "77") -> dict[str, Any]:
    sides = [{"anchor": "a_us", "host_score": ours}, {"anchor": "a_them", "host_score": theirs}]
    return {
        "type": "WebcastLinkMicArmies",
        "msg_id": f"{battle}-{at_ms}",
        "create_time_ms": START_MS + at_ms,
        "battle_id": battle,
        "host": "a_us",
        "armies": sides,
    }


def setting(at_ms: int, action: int, battle: str = "77") -> dict[str, Any]:
    return {
        "type": "WebcastLinkMicBattle",
        "msg_id": f"{battle}-{action}",
        "create_time_ms": START_MS + at_ms,
        "battle_id": battle,
        "action": action,
        "setting": {"2": START_MS - 500, "3": 60},
        "host": "a_us",
    }


def told(planned: ImportPlan) -> list[tuple[int, str, Any]]:
    return [
        (
            asked.at_us // 1000 - START_MS,
            asked.request.data.kind,
            msgspec.json.decode(
                asked.request.data.data, type=ROOM_BATTLE_TYPES[asked.request.data.kind]
            ),
        )
        for asked in planned.requests
        if isinstance(asked.request, BattleTold)
    ]


def test_a_battle_is_told_with_scores_that_only_grow_and_one_end(tmp_path: Path) -> None:
    rows = [
        setting(0, 4),
        armies(100, 5, 0),
        armies(300, 5, 9),
        armies(200, 5, 2),
        armies(400, 4, 9),
        setting(60_000, 5),
        armies(60_100, 50, 9),
    ]
    news = told(plan(read(tmp_path, "tiktok", rows)))
    assert [(at_ms, kind) for at_ms, kind, _ in news] == [
        (0, "battle.started"),
        (100, "battle.scored"),
        (200, "battle.scored"),
        (300, "battle.scored"),
        (60_000, "battle.ended"),
    ]
    started, *scores, ended = [data for _, _, data in news]
    assert [(side.room, side.host) for side in started.sides] == [("r", "h"), ("a_them", "a_them")]
    assert started.duration_s == 60
    assert [each.totals for each in scores] == [
        {"r": 5, "a_them": 0},
        {"r": 5, "a_them": 2},
        {"r": 5, "a_them": 9},
    ]
    assert [each.revision for each in (started, *scores)] == [1, 2, 3, 4]
    assert (ended.final_revision, ended.result, ended.winner) == (5, "win", "a_them")
    assert ended.totals == {"r": 5, "a_them": 9}


def test_a_battle_without_an_end_ends_at_its_deadline_or_with_the_recording(tmp_path: Path) -> None:
    late = {**gift_frame(400_000, 1)}
    [*_, (at_ms, _, ended)] = told(plan(read(tmp_path, "tiktok", [armies(0, 1, 1), late])))
    assert (at_ms, ended.result, ended.reason) == (300_000, "draw", "deadline")
    soon = {**gift_frame(5000, 1)}
    [*_, (at_ms, _, ended)] = told(plan(read(tmp_path, "tiktok", [armies(0, 1, 1), soon])))
    assert (at_ms, ended.result, ended.reason) == (5000, "aborted", "room_closed")


def test_a_battle_of_which_nobody_told_a_score_is_skipped_by_its_lines(tmp_path: Path) -> None:
    recording = read(tmp_path, "tiktok", [setting(0, 4), gift_frame(1, 1), setting(9, 5)])
    assert recording.skipped == {"battle_without_scores": [1, 3]}
    assert told(plan(recording)) == []


def test_a_battle_that_has_ended_in_the_room_is_not_ended_again(tmp_path: Path) -> None:
    short = [armies(0, 1, 0), gift_frame(500, 1)]
    past = learned(plan(read(tmp_path, "tiktok", short)), RoomPast())
    longer = plan(read(tmp_path, "tiktok", [*short, armies(700, 9, 0)]), past)
    assert told(longer) == []
    assert longer.already_there == len(longer.requests) + 3 + 2
