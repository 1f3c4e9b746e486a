"""Reading recordings: every row becomes an event, or is accounted for."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from engagement.domain import limits, requests
from engagement.domain.clock_events import anchor_of
from engagement.domain.media_time import RoomClock, stamp
from engagement.domain.names import is_actor_id
from engagement.recordings.formats import FORMATS
from engagement.recordings.past import RoomPast
from engagement.recordings.plan import anchor_facts, plan_import
from engagement.recordings.reading import LINE_BYTES_MAX, Recording, read_recording

START_MS = 1_700_000_000_000


def recording(tmp_path: Path, format_name: str, rows: list[Any]) -> Recording:
    file = tmp_path / "recording.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    file.write_bytes(b"\n".join(lines))
    return read_recording(file, FORMATS[format_name])


def comment(at_ms: int, text: str = "hi", user: str = "ana", **more: Any) -> dict[str, Any]:
    return {"type": "comment", "user": user, "text": text, "sent_ms": START_MS + at_ms, **more}


def test_rows_are_read_in_the_order_of_their_time(tmp_path: Path) -> None:
    read = recording(tmp_path, "generic", [comment(20, "b"), comment(10, "a"), comment(30, "c")])
    assert [row.text for row in read.rows] == ["a", "b", "c"]
    assert read.out_of_order == 1


def test_a_doubled_row_is_one_event_even_if_it_is_skipped(tmp_path: Path) -> None:
    counted = {"type": "WebcastRoomUserSeqMessage", "create_time_ms": START_MS}
    said = {"type": "WebcastChatMessage", "create_time_ms": START_MS, "user": "ana", "text": "hi"}
    read = recording(tmp_path, "tiktok", [said, said, {**said, "text": "ho"}, counted, counted])
    assert (len(read.rows), read.merged) == (2, 2)
    assert read.skipped == {"viewer_count_is_derived": [4]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"{not json", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 5000, "not_json"),
        ([1], "not_an_object"),
        ({"type": "dance"}, "unknown_type"),
        (comment(0, text=""), "no_text"),
        (comment(0, text=7), "no_text"),
        (comment(0, user=""), "no_user"),
        ({"type": "comment", "user": "a", "text": "x"}, "no_sent_ms"),
        ({"type": "comment", "user": "a", "text": "x", "sent_ms": True}, "no_sent_ms"),
        ({"type": "comment", "user": "a", "text": "x", "sent_ms": -5}, "absurd_time"),
        ({"type": "comment", "user": "a", "text": "x", "sent_ms": 10**17}, "absurd_time"),
        ({"type": "comment", "user": "a", "text": "x", "sent_ms": "0"}, "no_sent_ms"),
        (comment(0, text="a\x00b"), "nul_in_text"),
        (b'{"type":"comment","user":"a","text":"\\ud800","sent_ms":1}', "not_json"),
        (b'"' + b"x" * LINE_BYTES_MAX + b'"', "line_too_long"),
        (comment(0, media_offset_ms="soon"), "bad_media_offset_ms"),
        ({"type": "like", "user": "a", "count": 1.5, "sent_ms": START_MS}, "bad_count"),
        ({"type": "gift", "user": "a", "count": 0, "sent_ms": START_MS}, "bad_count"),
        ({"type": "gift", "user": "a", "coins": -1, "sent_ms": START_MS}, "bad_price"),
        ({"type": "gift", "user": "a", "coins": 0.5, "sent_ms": START_MS}, "bad_price"),
        ({"type": "gift", "user": "a", "gift": "x\0", "sent_ms": START_MS}, "nul_in_text"),
        ({"type": "like", "user": "a", "count": 0, "sent_ms": START_MS}, "bad_count"),
        ({"type": "like", "user": "a", "count": "9", "sent_ms": START_MS}, "no_count"),
    ],
)
def test_a_bad_row_costs_itself_and_is_named_by_its_line(
    tmp_path: Path, row: Any, reason: str
) -> None:
    read = recording(tmp_path, "generic", [comment(1), row, comment(2)])
    assert len(read.rows) == 2
    assert read.skipped == {reason: [2]}


def test_every_bad_row_is_named_even_if_two_are_alike(tmp_path: Path) -> None:
    read = recording(tmp_path, "generic", [b"{", b"{", b"", comment(0, text=""), b"{"])
    assert read.skipped == {"not_json": [1, 2, 5], "no_text": [4]}
    assert (read.merged, read.lines_read) == (0, 4)


def test_what_exporters_do_to_files_is_read(tmp_path: Path) -> None:
    first = codecs.BOM_UTF8 + json.dumps(comment(1)).encode() + b"\r"
    second = {**comment(2), "sent_ms": START_MS + 2.0, "media_offset_ms": 7.4}
    read = recording(tmp_path, "generic", [first, second])
    assert read.skipped == {}
    assert [row.sent_us for row in read.rows] == [(START_MS + n) * 1000 for n in (1, 2)]
    assert read.rows[1].media_offset_ms == 7


def test_a_text_that_is_too_long_is_cut_and_counted(tmp_path: Path) -> None:
    read = recording(tmp_path, "generic", [comment(1, "x" * 900)])
    assert len(read.rows[0].text) == limits.COMMENT_CHARS_MAX
    assert read.truncated == 1


def test_odd_user_names_become_distinct_ids_of_ours(tmp_path: Path) -> None:
    users = ["Ana María ❤", "Ana Marïa ❤", "", "ana"]
    rows = [comment(n, user=user) for n, user in enumerate(users) if user]
    ids = [row.user for row in recording(tmp_path, "generic", rows).rows]
    assert all(is_actor_id(one) for one in ids)
    assert len(set(ids)) == 3
    assert ids[-1] == "ana"


def test_tiktok_frames_become_comments_likes_and_joins(tmp_path: Path) -> None:
    common = {"user": "u1", "create_time_ms": START_MS}
    rows = [
        {"type": "WebcastLikeMessage", "msg_id": "1", "count": 15, "total": 900, **common},
        {"type": "WebcastLikeMessage", "msg_id": "2", "count": 15, "total": 915, **common},
        {"type": "WebcastLikeMessage", "msg_id": "2", "count": 15, "total": 915, **common},
        {"type": "WebcastMemberMessage", "msg_id": "3", "action": 1, **common},
        {"type": "WebcastMemberMessage", "msg_id": "4", "action": 3, **common},
        {"type": "WebcastChatMessage", "msg_id": "5", "text": "hello", **common},
        {"type": "WebcastChatMessage", "msg_id": "6", "len": 4, **common},
        {"type": "WebcastGiftMessage", "msg_id": "7", **common},
        {"type": "WebcastLinkMicArmies", "msg_id": "8", "battle_id": "1", **common},
    ]
    read = recording(tmp_path, "tiktok", rows)
    assert read.counts() == {"like": 2, "join": 1, "comment": 1}
    assert [row.count for row in read.rows if row.kind == "like"] == [15, 15]
    assert read.merged == 1
    assert sorted(read.skipped) == [
        "bad_armies",
        "member_action_is_no_join",
        "no_gift_id",
        "no_text",
    ]


def test_a_youtube_super_chat_gives_its_words_but_not_the_clock(tmp_path: Path) -> None:
    def row(kind: str, at_ms: int, offset_ms: int, **more: Any) -> dict[str, Any]:
        sent_us = (START_MS + at_ms) * 1000
        return {"type": kind, "sent_us": sent_us, "user": "u", "media_offset_ms": offset_ms, **more}

    rows = [row("comment", n * 100, n * 100, text=f"c{n}") for n in range(20)]
    rows.append(row("super_chat", 1050, 90_000, text="thanks!", amount="$5.00"))
    rows.append(row("super_chat", 1060, 90_000, text=None, amount="$5.00"))
    rows += [row("super_chat", 3000 + n, 90_000 + n, text=f"late {n}") for n in range(10)]
    read = recording(tmp_path, "youtube", rows)
    plan = plan_import(read, room="r", host="h", title="t")
    assert plan.fit is not None
    assert len(plan.fit.segments) == 1
    assert read.skipped == {}
    assert read.counts() == {"comment": 31, "gift": 12}
    assert sum(abs(residual) > 1 for residual in plan.residuals_ms) == 12
    assert [off.line for off in plan.off_clock] == list(range(21, 33))
    assert read.paid_messages == 11


def test_every_comment_is_stamped_with_its_own_media_offset(tmp_path: Path) -> None:
    rows = []
    for n in range(600):
        step_ms = 1300 if n >= 300 else 0
        offset_ms = round(n * 100 * (1 - 19e-6)) + step_ms
        rows.append(comment(n * 100, f"c{n}", media_offset_ms=offset_ms))
    read = recording(tmp_path, "generic", rows)
    plan = plan_import(read, room="r", host="h", title="t")
    assert plan.fit is not None
    assert len(plan.fit.steps_ms) == 1
    assert abs(plan.fit.steps_ms[0] + 1300) <= 2
    for row, asked in zip(read.rows, plan.requests, strict=True):
        assert isinstance(asked.anchor, int)
        mark = stamp(plan.anchors[asked.anchor], 0.0, asked.at_us)
        assert row.media_offset_ms is not None
        assert mark.err_ms is not None
        assert abs(mark.pts_ms - row.media_offset_ms) <= 2 <= mark.err_ms
    kinds = [fact.kind for fact in anchor_facts(plan, "r")]
    assert (kinds[0], kinds[-1]) == ("clock.epoch.opened", "clock.epoch.closed")
    assert kinds.count("clock.stepped") == 1


def test_the_epoch_ends_with_the_recording_and_stamps_only_its_closing(tmp_path: Path) -> None:
    rows = [comment(n * 1000, f"c{n}", media_offset_ms=n * 1000) for n in range(13)]
    plan = plan_import(recording(tmp_path, "generic", rows), room="r", host="h", title="t")
    assert [anchor.ended for anchor in plan.anchors] == [False, False, False, True]
    assert [asked.anchor for asked in plan.requests] == [0] * 5 + [1] * 5 + [2] * 3
    assert (plan.opening.anchor, plan.closing.anchor) == (0, 3)
    told = RoomClock()
    for fact in anchor_facts(plan, "r"):
        assert told.observe(anchor_of(fact.id, fact.kind, fact.data), fact.at_us)
    assert told.anchors == plan.anchors
    assert plan.anchors[-1].pts_ms == 12_000


def test_a_recording_of_one_row_has_a_clock_that_ends(tmp_path: Path) -> None:
    rows = [comment(0, media_offset_ms=5000)]
    plan = plan_import(recording(tmp_path, "generic", rows), room="r", host="h", title="t")
    kinds = [fact.kind for fact in anchor_facts(plan, "r")]
    assert kinds == ["clock.epoch.opened", "clock.epoch.closed"]
    assert plan.anchors[1].at_us > plan.anchors[0].at_us


def test_another_recording_gets_the_next_epoch_and_a_longer_one_keeps_its_own(
    tmp_path: Path,
) -> None:
    rows = [comment(n * 1000, f"c{n}", media_offset_ms=n * 1000) for n in range(5)]
    read = recording(tmp_path, "generic", rows)
    first = plan_import(read, room="r", host="h", title="t")
    assert {anchor.epoch for anchor in first.anchors} == {1}
    there = RoomPast(
        openings=1,
        newest_epoch=4,
        epoch_of_request={asked.request.id: 3 for asked in first.requests},
    )
    longer = recording(tmp_path, "generic", [*rows, comment(9000, "c9", media_offset_ms=9000)])
    again = plan_import(longer, room="r", host="h", title="t", past=there)
    assert {anchor.epoch for anchor in again.anchors} == {3}
    assert not {anchor.id for anchor in again.anchors} & {anchor.id for anchor in first.anchors}
    assert again.opening.request.id != first.opening.request.id
    assert again.closing.request.id != first.closing.request.id
    closed_meanwhile = plan_import(read, room="r", host="h", title="t", past=there)
    assert closed_meanwhile.opening.request.id != first.opening.request.id
    assert closed_meanwhile.closing.request.id == first.closing.request.id
    other = recording(tmp_path, "generic", [comment(1, "else", media_offset_ms=1)])
    plan = plan_import(other, room="r", host="h", title="t", past=there)
    assert {anchor.epoch for anchor in plan.anchors} == {5}


def test_the_same_recording_asks_with_the_same_ids(tmp_path: Path) -> None:
    like = {"type": "like", "user": "b", "count": 2500, "sent_ms": START_MS}
    read = recording(tmp_path, "generic", [comment(1), comment(2), like])
    first = plan_import(read, room="r", host="h", title="t")
    second = plan_import(read, room="r", host="h", title="t")
    other = plan_import(read, room="other", host="h", title="t")
    ids = [asked.request.id for asked in first.requests]
    assert ids == [asked.request.id for asked in second.requests]
    assert not set(ids) & {asked.request.id for asked in other.requests}
    taps = [a.request.data.count for a in first.requests if isinstance(a.request, requests.LikeTap)]
    assert taps == [1000, 1000, 500]
    assert len(set(ids)) == len(ids) == 5
