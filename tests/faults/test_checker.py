"""The checker finds nothing in a clean run, and every bug that is planted into one.

These plant bugs into the files of a run; test_mutants.py plants them into the product's code.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .a_clean_run import CleanRun
from .checker import anomalies, judge
from .evidence import load

Plant = Callable[[CleanRun], Any]


def lost_fact(run: CleanRun) -> None:
    run.forget("oak-c7")


def lost_like(run: CleanRun) -> None:
    run.forget("oak-l1")


def doubled_with_another_id(run: CleanRun) -> None:
    fact = run.record("oak-c7")["v"] | {"id": "oak-c7-again"}
    run.append(run.room, 1, fact)


def doubled_in_the_other_topic(run: CleanRun) -> None:
    fact = run.record("oak-c7")["v"] | {"id": "oak-c7-held", "type": "comment.held"}
    run.append(run.activity, 1, fact)


def written_again_with_another_time(run: CleanRun) -> None:
    fact = run.record("oak-c7")["v"] | {"time": "2026-01-01T00:00:09.000000Z"}
    run.append(run.room, 1, fact)


def refused_one_is_in(run: CleanRun) -> None:
    fact = run.fact("oak-bad", "oak", "comment.posted", {"text": "no"})
    run.append(run.room, 1, fact)


def refused_at_the_door_is_in(run: CleanRun) -> None:
    run.ask("oak-door", "oak", "comment.post", {"text": "x"}, "rejected:room_closed")
    run.append(run.room, 1, run.fact("oak-door", "oak", "comment.posted", {"text": "x"}))


def refusal_untold(run: CleanRun) -> None:
    run.forget("oak-bad-refused")


def refused_without_reason(run: CleanRun) -> None:
    run.forget("oak-c7")
    told = {"request": "oak-c7", "code": "room_not_found"}
    run.append(run.activity, 1, run.fact("oak-c7-refused", "oak", "request.refused", told))


def wrong_text(run: CleanRun) -> None:
    run.record("oak-c7")["v"]["data"]["text"] = "words put into a mouth"


def wrong_actor(run: CleanRun) -> None:
    run.record("oak-c7")["v"]["actorid"] = "somebody else"


def wrong_count(run: CleanRun) -> None:
    run.record("oak-l0")["v"]["data"]["count"] = 4


def phantom(run: CleanRun) -> None:
    run.append(run.room, 1, run.fact("ghost", "oak", "comment.posted", {"text": "boo"}))


def phantom_in_the_timeline(run: CleanRun) -> None:
    fact = run.fact("ghost", "oak", "comment.posted", {"text": "boo"})
    run.timeline[-1]["items"].append(fact)


def reordered_on_the_log(run: CleanRun) -> None:
    earlier, later = run.record("oak-c4"), run.record("oak-c6")
    earlier["v"], later["v"] = later["v"], earlier["v"]


def array_reordered(run: CleanRun) -> None:
    asks = [line for line in run.history if line.get("id") in ("oak-c4", "oak-c6")]
    calls = [n for n, line in enumerate(run.history) if line in asks]
    for number in sorted(calls, reverse=True):
        del run.history[number + 1 : number + 3]
    for ask in asks:
        ask["batch"] = 1
    ids = ["oak-c6", "oak-c4"]
    run.history += [
        {"k": "try", "c": 900, "at": 1, "ids": ids},
        {"k": "ans", "c": 900, "at": run.tick(), "st": ["accepted", "accepted"]},
    ]
    first = next(line for line in run.history if line.get("id") == "oak-c6")
    run.history.remove(first)
    run.history.insert(1, first)


def wrong_key(run: CleanRun) -> None:
    run.record("oak-c7")["k"] = "ash"


def room_in_two_partitions(run: CleanRun) -> None:
    line = run.record("oak-c7")
    line |= {"p": 0, "o": 99}


def wrong_like_total(run: CleanRun) -> None:
    run.record("oak-w1")["v"]["data"]["room_total"] = 6


def last_window_dropped(run: CleanRun) -> None:
    run.forget("oak-w1")


def window_version_again(run: CleanRun) -> None:
    run.record("oak-w1")["v"]["data"]["window"] = 0


def total_fell(run: CleanRun) -> None:
    run.record("oak-w0")["v"]["data"]["room_total"] = 9


def wrong_room_view(run: CleanRun) -> None:
    run.rooms[1]["likes"] = 4


def wrong_likes_projection(run: CleanRun) -> None:
    run.counts[1]["likes"] = 7


def join_counted_twice(run: CleanRun) -> None:
    run.record("oak-v")["v"]["data"]["joined"] = 2


def ghost_in_the_room(run: CleanRun) -> None:
    run.forget("oak-q")
    run.forget("oak-v2")


def lease_opened_twice(run: CleanRun) -> None:
    run.forget("oak-q")
    fact = run.record("oak-j")["v"] | {"id": "oak-j2", "causationid": "other"}
    run.append(run.activity, 1, fact)


def lost_in_the_timeline(run: CleanRun) -> None:
    del run.timeline[-1]["items"][1]


def timeline_page_repeats(run: CleanRun) -> None:
    run.timeline[-1]["items"].insert(0, run.timeline[-2]["items"][-1])


def timeline_out_of_order(run: CleanRun) -> None:
    run.timeline[-1]["items"][0:2] = reversed(run.timeline[-1]["items"][0:2])


def timeline_says_other_bytes(run: CleanRun) -> None:
    items = run.timeline[-1]["items"]
    items[0] = items[0] | {"mediapts": 5}


def row_doubled(run: CleanRun) -> None:
    run.rows.append(run.rows[3] | {"o": 99})


def row_missing(run: CleanRun) -> None:
    del run.rows[3]


def row_at_the_wrong_offset(run: CleanRun) -> None:
    run.rows[3] = run.rows[3] | {"o": 99}


def removed_comment_is_listed(run: CleanRun) -> None:
    run.comments[1]["items"].append(run.record("oak-c3")["v"])


def removed_comment_in_the_timeline(run: CleanRun) -> None:
    run.timeline[-1]["items"].append(run.record("oak-c3")["v"])


def comment_not_listed(run: CleanRun) -> None:
    del run.comments[1]["items"][0]


def viewer_misses_an_event(run: CleanRun) -> None:
    _of_oak(run)[1]["ids"].pop(1)


def viewer_misses_one_over_a_resume(run: CleanRun) -> None:
    _of_oak(run)[4]["ids"].pop(0)


def viewer_misses_one_after_the_snapshot(run: CleanRun) -> None:
    _of_oak(run)[1]["ids"].pop(0)


def viewer_gets_one_twice(run: CleanRun) -> None:
    _of_oak(run)[4]["ids"].insert(0, _of_oak(run)[1]["ids"][-1])


def viewer_gets_them_out_of_order(run: CleanRun) -> None:
    _of_oak(run)[4]["ids"].reverse()


def viewer_is_told_too_few_skipped(run: CleanRun) -> None:
    _of_oak(run)[5]["counts"] = {"comment.posted": 1}


def viewer_never_hears_the_end(run: CleanRun) -> None:
    _of_oak(run)[6]["ids"].pop()


def viewer_hears_a_ghost(run: CleanRun) -> None:
    _of_oak(run)[6]["ids"].append("ghost")


def poison_without_dead_letter(run: CleanRun) -> None:
    run.dead.clear()


def good_record_as_dead_letter(run: CleanRun) -> None:
    run.dead.append(run.dead[0] | {"v": {"gateway": "g"}})


def _of_oak(run: CleanRun) -> list[dict[str, Any]]:
    return [line for line in run.viewers if line["room"] == "oak"]


PLANTS: list[tuple[Plant, str]] = [
    (lost_fact, "lost"),
    (lost_like, "lost"),
    (doubled_with_another_id, "twice"),
    (doubled_in_the_other_topic, "twice"),
    (written_again_with_another_time, "unequal_repeat"),
    (refused_one_is_in, "refused_is_in"),
    (refused_at_the_door_is_in, "refused_is_in"),
    (refusal_untold, "refusal_told_once"),
    (refused_without_reason, "refused_wrongly"),
    (wrong_text, "wrong_body"),
    (wrong_actor, "wrong_body"),
    (wrong_count, "wrong_body"),
    (phantom, "phantom"),
    (phantom_in_the_timeline, "phantom"),
    (reordered_on_the_log, "order_inverted"),
    (array_reordered, "batch_reordered"),
    (wrong_key, "wrong_key"),
    (room_in_two_partitions, "wrong_partition"),
    (wrong_like_total, "wrong_total"),
    (last_window_dropped, "wrong_total"),
    (window_version_again, "window_again"),
    (total_fell, "total_fell"),
    (wrong_room_view, "wrong_total"),
    (wrong_likes_projection, "wrong_total"),
    (join_counted_twice, "wrong_total"),
    (ghost_in_the_room, "wrong_total"),
    (lease_opened_twice, "joined_twice"),
    (lost_in_the_timeline, "lost_in_timeline"),
    (timeline_page_repeats, "twice_in_timeline"),
    (timeline_out_of_order, "timeline_order"),
    (timeline_says_other_bytes, "body_differs"),
    (row_doubled, "row_twice"),
    (row_missing, "row_missing"),
    (row_at_the_wrong_offset, "row_extra"),
    (removed_comment_is_listed, "comment_extra"),
    (removed_comment_in_the_timeline, "removed_in_timeline"),
    (comment_not_listed, "comment_missing"),
    (viewer_misses_an_event, "viewer_gap"),
    (viewer_misses_one_over_a_resume, "viewer_gap"),
    (viewer_misses_one_after_the_snapshot, "viewer_gap"),
    (viewer_gets_one_twice, "viewer_repeat"),
    (viewer_gets_them_out_of_order, "viewer_repeat"),
    (viewer_is_told_too_few_skipped, "viewer_gap"),
    (viewer_never_hears_the_end, "viewer_cut_short"),
    (viewer_hears_a_ghost, "viewer_phantom"),
    (poison_without_dead_letter, "poison_lost"),
    (good_record_as_dead_letter, "dead_letter_unasked"),
]


def test_a_clean_run_has_no_anomaly(tmp_path: Path) -> None:
    verdict = judge(load(CleanRun().write(tmp_path)))

    assert verdict["anomalies"] == {}, verdict["examples"]
    assert verdict["ok"]
    assert verdict["looked_at"]["acknowledged"] > 30


def test_a_repeat_with_equal_bytes_is_what_at_least_once_means(tmp_path: Path) -> None:
    run = CleanRun()
    run.append(run.room, 1, run.record("oak-c7")["v"])

    verdict = judge(load(run.write(tmp_path)))

    assert verdict["ok"]
    assert verdict["looked_at"]["records_dropped_as_repeats"] == 1


def test_a_run_without_requests_proves_nothing(tmp_path: Path) -> None:
    run = CleanRun()
    for name in ("history", "room", "activity", "dead", "timeline", "comments", "rows", "viewers"):
        getattr(run, name).clear()

    assert not judge(load(run.write(tmp_path)))["ok"]


def test_a_request_without_an_answer_may_be_in_or_out(tmp_path: Path) -> None:
    run = CleanRun()
    fact = run.fact("oak-lost", "oak", "comment.posted", {"text": "?"})
    last = run.record("oak-last")
    run.append(run.room, 1, fact)
    run.rows.append({"p": 1, "o": run.room[-1]["o"], "id": "oak-lost"})
    run.timeline[-1]["items"].append(fact)
    run.comments[-1]["items"].insert(0, fact)
    _of_oak(run)[-1]["ids"].append("oak-lost")

    verdict = judge(load(run.write(tmp_path)))

    assert last["v"]["id"] == "oak-last"
    assert verdict["ok"], verdict["examples"]
    assert verdict["looked_at"]["unknown_in"] == 1
    assert verdict["looked_at"]["unknown_out"] == 1


@pytest.mark.parametrize(("plant", "check"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_a_planted_bug_is_found(plant: Plant, check: str, tmp_path: Path) -> None:
    run = CleanRun()
    plant(run)

    found = anomalies(load(run.write(tmp_path)))

    assert check in {anomaly.check for anomaly in found}, found
