"""The judge: reads the files of a run, and says which promises were broken.

``python -m tests.faults.checker DIR`` prints the verdict and exits 1 when there are anomalies.
It shares no code with the product: what it knows is the outside contract.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from . import checks_fate, checks_log, checks_readers
from .anomalies import Anomaly, Index, index
from .evidence import Evidence, load
from .money import evidence as money
from .money import judge as judge_of_money

CHECKS = (*checks_fate.CHECKS, *checks_log.CHECKS, *checks_readers.CHECKS)
EXAMPLES_PER_CHECK = 5


def anomalies(evidence: Evidence) -> list[Anomaly]:
    """Everything that is wrong, but for money."""
    found = index(evidence)
    return [anomaly for check in CHECKS for anomaly in check(evidence, found)]


def judge(evidence: Evidence, about_money: money.MoneyEvidence | None = None) -> dict[str, Any]:
    """The verdict as a JSON-able object: ok, counts of what was looked at, anomalies by check."""
    wrong: list[Anomaly | money.Anomaly] = [*anomalies(evidence)]
    looked = looked_at(evidence, index(evidence))
    if about_money is not None:
        wrong += judge_of_money.anomalies(about_money)
        looked |= judge_of_money.looked_at(about_money)
    kinds = Counter(anomaly.check for anomaly in wrong)
    examples: dict[str, list[dict[str, str]]] = {}
    for anomaly in wrong:
        some = examples.setdefault(anomaly.check, [])
        if len(some) < EXAMPLES_PER_CHECK:
            some.append(msgspec.to_builtins(anomaly))
    return {
        "ok": not wrong and bool(evidence.asks),
        "looked_at": looked,
        "anomalies": dict(sorted(kinds.items())),
        "examples": examples,
    }


def judge_run(directory: Path) -> tuple[dict[str, Any], Evidence]:
    """The verdict of a run directory, on money too if there was any."""
    evidence = load(directory)
    about_money = money.load(directory, evidence) if evidence.run.get("gifts") else None
    return judge(evidence, about_money), evidence


def looked_at(evidence: Evidence, found: Index) -> dict[str, Any]:
    """How much evidence there is: a run that asked nothing proves nothing."""
    asks = evidence.asks.values()
    hellos = [line for lines in evidence.viewers.values() for line in lines if line.k == "hello"]
    resumed = [line for line in hellos if line.resumed]
    return {
        "requests": len(evidence.asks),
        "calls": len(evidence.calls),
        "sent_more_than_once": sum(ask.tries > 1 for ask in asks),
        "tries": sum(ask.tries for ask in asks),
        "acknowledged": sum(ask.acknowledged for ask in asks),
        "refused_at_once": sum(bool(ask.rejected) and not ask.acknowledged for ask in asks),
        "refused_by_the_room": len(found.refusals),
        "unknown_in": _unknown(evidence, found, present=True),
        "unknown_out": _unknown(evidence, found, present=False),
        "facts_in_room_topic": len(found.room),
        "facts_in_activity_topic": len(found.activity),
        "records_dropped_as_repeats": len(found.repeats),
        "timeline_items": sum(map(len, evidence.timeline.values())),
        "projection_rows": len(evidence.rows),
        "viewers": len(evidence.viewers),
        "viewer_events": sum(
            len(line.ids) for lines in evidence.viewers.values() for line in lines
        ),
        "resumes": len(resumed),
        "resumes_recovered": sum(line.recovered for line in resumed),
        "events_told_as_skipped": sum(
            sum(line.counts.values()) for lines in evidence.viewers.values() for line in lines
        ),
        "poison_records": len(evidence.poison),
        "faults": _faults(evidence),
    }


def _unknown(evidence: Evidence, found: Index, *, present: bool) -> int:
    return sum(
        (ask.id in found.room or ask.id in found.activity) is present
        for ask in evidence.asks.values()
        if not ask.acknowledged and not ask.rejected
    )


def _faults(evidence: Evidence) -> dict[str, int]:
    return dict(Counter(f"{fault['what']} {fault['kind']}" for fault in evidence.faults))


def main(directory: Path) -> int:
    """Print the verdict of a run directory; 0 when nothing is wrong."""
    verdict, _ = judge_run(directory)
    print(msgspec.json.format(msgspec.json.encode(verdict), indent=2).decode())
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
