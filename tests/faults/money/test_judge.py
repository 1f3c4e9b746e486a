"""The judge finds nothing in a clean run, and every bug that is planted into one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import judge_run
from tests.faults.evidence import load as load_run

from .a_clean_run import BATTLE, CleanMoneyRun
from .evidence import load
from .judge import anomalies

Plant = Callable[[CleanMoneyRun], Any]


def gift_lost(run: CleanMoneyRun) -> None:
    run.forget("first")
    run.unpay("first")


def gift_paid_and_never_shown(run: CleanMoneyRun) -> None:
    run.forget("first")


def gift_shown_and_never_paid(run: CleanMoneyRun) -> None:
    run.unpay("first")


def gift_shown_twice(run: CleanMoneyRun) -> None:
    run.tell(run.record("first")["v"] | {"id": "first-again"})


def gift_shown_twice_as_two(run: CleanMoneyRun) -> None:
    fact = run.record("first")["v"]
    data = fact["data"] | {"transfer": "0-99"}
    run.tell(fact | {"id": "first-again", "data": data})


def gift_paid_twice(run: CleanMoneyRun) -> None:
    for data in run.transfers("first"):
        name = f"0-99.{data['transfer'][-1]}"
        run.ledger_fact(f"posted-{name}", "transfer.posted", "ana", data | {"transfer": name})


def refusal_untold(run: CleanMoneyRun) -> None:
    run.ledger[:] = [line for line in run.ledger if line["v"]["type"] != "gift.refused"]


def refused_and_then_paid(run: CleanMoneyRun) -> None:
    data = {"request": "first", "code": "insufficient_funds", "gift": "fault-rose", "count": 2}
    run.ledger_fact("first-refused", "gift.refused", "ana", data)


def refused_without_reason(run: CleanMoneyRun) -> None:
    _of_type(run.ledger, "gift.refused")["code"] = "unknown_gift"


def refused_though_rich(run: CleanMoneyRun) -> None:
    refused = next(line for line in run.ledger if line["v"]["type"] == "gift.refused")
    run.ledger.remove(refused)
    bought = next(n for n, line in enumerate(run.ledger) if "buy-again" in str(line))
    run.ledger[bought]["v"]["data"]["coins"] = 1000
    run.ledger.insert(bought + 1, refused)


def told_paid_and_refused(run: CleanMoneyRun) -> None:
    _answer_to(run, "poor")["st"] = ["paid"]


def told_refused_and_paid(run: CleanMoneyRun) -> None:
    _answer_to(run, "first")["st"] = ["refused:insufficient_funds"]


def told_rejected_and_paid(run: CleanMoneyRun) -> None:
    _answer_to(run, "first")["st"] = ["rejected:unknown_gift"]


def told_something_else_over_the_socket(run: CleanMoneyRun) -> None:
    run.history.append({"k": "told", "id": "first", "st": "refused:insufficient_funds"})


def other_body_accepted_as_a_repeat(run: CleanMoneyRun) -> None:
    run.history[_last(run, "ans")] |= {"st": ["duplicate:paid"]}


def other_price(run: CleanMoneyRun) -> None:
    run.record("first")["v"]["data"]["coins"] = 13


def other_sender(run: CleanMoneyRun) -> None:
    run.record("first")["v"]["actorid"] = "ben"


def other_count(run: CleanMoneyRun) -> None:
    run.record("first")["v"]["data"]["count"] = 3


def other_host(run: CleanMoneyRun) -> None:
    run.record("first")["v"]["data"]["to"] = "somebody"


def from_nowhere(run: CleanMoneyRun) -> None:
    run.tell(run.record("first")["v"] | {"id": "ghost", "causationid": "ghost"})


def accepted_before_it_was_sent(run: CleanMoneyRun) -> None:
    run.record("rich")["v"]["time"] = "2026-01-01T00:00:00.000100Z"


def accepted_after_it_was_answered(run: CleanMoneyRun) -> None:
    run.record("rich")["v"]["time"] = "2026-01-01T00:00:00.999000Z"


def wallet_out_of_order(run: CleanMoneyRun) -> None:
    moved = [line for line in run.ledger if line["v"]["data"]["request"] == "third"]
    run.ledger[:] = [line for line in run.ledger if line not in moved]
    place = next(n for n, line in enumerate(run.ledger) if "first" in str(line["v"]["data"]))
    run.ledger[place:place] = moved


def overdrawn(run: CleanMoneyRun) -> None:
    run.transfers("buy-ben")[0]["coins"] = 30


def house_share_missing(run: CleanMoneyRun) -> None:
    run.ledger[:] = [line for line in run.ledger if "0-4.2" not in str(line)]


def entry_missing(run: CleanMoneyRun) -> None:
    run.unpay("first")


def transfer_twice(run: CleanMoneyRun) -> None:
    run.ledger_fact("again", "transfer.posted", "ana", run.transfers("first")[0])


def written_again_otherwise(run: CleanMoneyRun) -> None:
    line = run.ledger[0]
    run.ledger.append(line | {"o": 99, "v": line["v"] | {"time": "2026-01-01T00:00:09Z"}})


def garbage_in_the_ledger(run: CleanMoneyRun) -> None:
    run.ledger.append({"p": 0, "o": 99, "k": "", "v": "?"})


def deposit_lost(run: CleanMoneyRun) -> None:
    run.unpay("buy-again")


def deposit_twice(run: CleanMoneyRun) -> None:
    data = run.transfers("buy-ana")[0] | {"transfer": "0-99.1"}
    run.ledger_fact("again", "transfer.posted", "ana", data)


def deposit_of_somebody_else(run: CleanMoneyRun) -> None:
    run.transfers("buy-ana")[0]["credit"] = "wallet:ben"


def deposit_from_nowhere(run: CleanMoneyRun) -> None:
    data = run.transfers("buy-ana")[0] | {"transfer": "0-99.1", "request": "gift-horse"}
    run.ledger_fact("horse", "transfer.posted", "ana", data)


def wrong_wallet(run: CleanMoneyRun) -> None:
    run.wallets[0]["coins"] += 1


def coins_still_held(run: CleanMoneyRun) -> None:
    run.wallets[0]["held"] = 1


def wrong_earnings(run: CleanMoneyRun) -> None:
    run.earnings[0]["coins"] += 1


def wrong_day(run: CleanMoneyRun) -> None:
    run.earnings[0]["days"][0]["coins"] -= 1


def wrong_leader(run: CleanMoneyRun) -> None:
    run.leaders[0]["items"][0]["coins"] += 1


def leaders_upside_down(run: CleanMoneyRun) -> None:
    run.leaders[1]["items"].sort(key=lambda each: each["coins"])


def two_ends(run: CleanMoneyRun) -> None:
    data = run.battle_fact("battle.ended") | {"final_revision": 99}
    fact = {"id": "another-end", "type": "battle.ended", "time": "", "data": data}
    run.battle.append({"p": 0, "o": 99, "k": BATTLE, "v": fact})


def no_end(run: CleanMoneyRun) -> None:
    run.battle[:] = [line for line in run.battle if line["v"]["type"] != "battle.ended"]


def battle_that_never_was(run: CleanMoneyRun) -> None:
    run.history.append({"k": "battle", "id": "another", "rooms": [], "duration_s": 1})


def room_is_told_another_end(run: CleanMoneyRun) -> None:
    run.in_room("battle.ended", "oak")["totals"] = {"ash": 1, "oak": 2}


def room_is_told_no_end(run: CleanMoneyRun) -> None:
    lines = [line["v"] for line in run.room if line["v"]["type"] == "battle.ended"]
    run.forget(next(fact["id"] for fact in lines if fact["roomid"] == "oak"))


def shown_otherwise(run: CleanMoneyRun) -> None:
    run.battles[0]["sides"][0]["score"] += 1


def never_shown_as_ended(run: CleanMoneyRun) -> None:
    run.battles[0]["status"] = "settling"


def loser_wins(run: CleanMoneyRun) -> None:
    for data in _ends(run):
        data["winner"] = "ash"


def score_after_the_end(run: CleanMoneyRun) -> None:
    run.battle_fact("battle.scored")["revision"] = 99


def gift_in_time_scores_nothing(run: CleanMoneyRun) -> None:
    for data in _ends(run):
        data["totals"] = data["totals"] | {"ash": 0}
    run.battles[0]["sides"][0]["score"] = 0


def gift_after_the_deadline_scores(run: CleanMoneyRun) -> None:
    for data in _ends(run):
        data["totals"] = data["totals"] | {"ash": data["totals"]["ash"] + 60}
    run.battles[0]["sides"][0]["score"] += 60


def window_forgotten(run: CleanMoneyRun) -> None:
    run.battle_fact("battle.contributed")["points"] //= 3


def gift_scores_twice(run: CleanMoneyRun) -> None:
    data = run.battle_fact("battle.contributed")
    fact = {"id": "again", "type": "battle.contributed", "time": "", "data": data}
    run.battle.append({"p": 0, "o": 99, "k": BATTLE, "v": fact})


def unpaid_gift_scores(run: CleanMoneyRun) -> None:
    run.battle_fact("battle.contributed")["transfer"] = "0-99"


def rooms_see_different_totals(run: CleanMoneyRun) -> None:
    run.in_room("battle.scored", "oak")["totals"] = {"ash": 0, "oak": 0}


def revision_again(run: CleanMoneyRun) -> None:
    fact = next(line["v"] for line in run.room if line["v"]["type"] == "battle.scored")
    run.tell(fact | {"id": "scored-again"})


def _of_type(lines: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    data: dict[str, Any] = next(line["v"]["data"] for line in lines if line["v"]["type"] == kind)
    return data


def _answer_to(run: CleanMoneyRun, name: str) -> dict[str, Any]:
    call = next(line["c"] for line in run.history if line.get("ids") == [name])
    return next(line for line in run.history if line["k"] == "ans" and line["c"] == call)


def _last(run: CleanMoneyRun, kind: str) -> int:
    places = [n for n, line in enumerate(run.history) if line.get("c") == 9_000]
    return next(n for n in places if run.history[n]["k"] == kind)


def _ends(run: CleanMoneyRun) -> list[dict[str, Any]]:
    lines = (*run.battle, *run.room)
    return [line["v"]["data"] for line in lines if line["v"]["type"] == "battle.ended"]


PLANTS: list[tuple[Plant, str]] = [
    (gift_lost, "gift_lost"),
    (gift_paid_and_never_shown, "paid_not_sent"),
    (gift_shown_and_never_paid, "unequal"),
    (gift_shown_twice, "gift_doubled"),
    (gift_shown_twice, "entry_sent_twice"),
    (gift_shown_twice_as_two, "gift_doubled"),
    (gift_paid_twice, "paid_not_sent"),
    (refusal_untold, "gift_lost"),
    (refused_and_then_paid, "gift_paid_and_refused"),
    (refused_without_reason, "gift_refused_wrongly"),
    (refused_though_rich, "refused_though_rich"),
    (told_paid_and_refused, "told_paid"),
    (told_refused_and_paid, "told_refused"),
    (told_rejected_and_paid, "told_rejected"),
    (told_something_else_over_the_socket, "told_refused"),
    (other_body_accepted_as_a_repeat, "altered_taken"),
    (other_price, "gift_changed"),
    (other_sender, "gift_changed"),
    (other_count, "gift_changed"),
    (other_host, "gift_changed"),
    (from_nowhere, "gift_from_nowhere"),
    (accepted_before_it_was_sent, "wrong_time"),
    (accepted_after_it_was_answered, "wrong_time"),
    (wallet_out_of_order, "gift_order"),
    (overdrawn, "overdrawn"),
    (house_share_missing, "unequal"),
    (entry_missing, "entry_missing"),
    (transfer_twice, "transfer_twice"),
    (written_again_otherwise, "unequal_repeat"),
    (garbage_in_the_ledger, "not_a_fact"),
    (deposit_lost, "deposit_lost"),
    (deposit_twice, "deposit_twice"),
    (deposit_of_somebody_else, "deposit_changed"),
    (deposit_from_nowhere, "deposit_from_nowhere"),
    (wrong_wallet, "wrong_wallet"),
    (coins_still_held, "wrong_wallet"),
    (wrong_earnings, "wrong_earnings"),
    (wrong_day, "wrong_earnings"),
    (wrong_leader, "wrong_leaders"),
    (leaders_upside_down, "leaders_order"),
    (two_ends, "battle_ends"),
    (no_end, "battle_ends"),
    (battle_that_never_was, "battle_lost"),
    (room_is_told_another_end, "room_end"),
    (room_is_told_no_end, "room_end"),
    (shown_otherwise, "battle_shown"),
    (never_shown_as_ended, "battle_shown"),
    (loser_wins, "unjust_end"),
    (score_after_the_end, "revision_after_end"),
    (gift_in_time_scores_nothing, "wrong_score"),
    (gift_after_the_deadline_scores, "wrong_score"),
    (window_forgotten, "wrong_sum"),
    (gift_scores_twice, "scored_twice"),
    (unpaid_gift_scores, "scored_unpaid"),
    (rooms_see_different_totals, "other_totals"),
    (revision_again, "revision_order"),
]


def test_a_clean_run_has_no_anomaly(tmp_path: Path) -> None:
    verdict, _ = judge_run(CleanMoneyRun().write(tmp_path))

    assert verdict["anomalies"] == {}, verdict["examples"]
    assert verdict["ok"]
    assert verdict["looked_at"]["gifts_paid"] == 6
    assert verdict["looked_at"]["battles_ended"] == 1


def test_a_repeat_with_equal_bytes_is_what_at_least_once_means(tmp_path: Path) -> None:
    run = CleanMoneyRun()
    run.ledger.append(run.ledger[0] | {"o": 98})
    run.battle.append(run.battle[0] | {"o": 98})

    assert _found(run, tmp_path) == set()


def test_a_gift_whose_answer_never_came_may_be_paid_or_not(tmp_path: Path) -> None:
    run = CleanMoneyRun()
    run.ask("in", "ash", "gift.send", {"gift": "fault-rose", "count": 1}, "unknown", actor="ana",
            expect="gift")  # fmt: skip
    _answer_to(run, "first")["st"] = ["unknown:TimeoutError"]

    assert _found(run, tmp_path) == set()


@pytest.mark.parametrize(
    ("plant", "check"), PLANTS, ids=[f"{plant.__name__}-{check}" for plant, check in PLANTS]
)
def test_a_planted_bug_is_found(plant: Plant, check: str, tmp_path: Path) -> None:
    run = CleanMoneyRun()
    plant(run)

    assert check in _found(run, tmp_path)


def _found(run: CleanMoneyRun, directory: Path) -> set[str]:
    run.write(directory)
    return {anomaly.check for anomaly in anomalies(load(directory, load_run(directory)))}
