"""The result of a run as a file that can be committed: JSON, and the same in words."""

from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from .evidence import Evidence
from .run import Options, Outcome, facts_of_the_machine

AFTER_FAULT_S = 10.0
"""A delay belongs to a fault when the request was acknowledged within this time after it."""


UNDECIDED_SHARE_MAX = 0.03
"""Requests whose fate no answer told, at most: a system that takes nothing loses nothing, too."""


class Delay(Struct):
    """How long comments took from their ack to the first viewer, after faults of one kind."""

    faults: int
    median_worst_ms: float
    worst_ms: float


def delays(evidence: Evidence) -> dict[str, Delay]:
    """For every kind of fault: the worst comment after each fault, their median and maximum."""
    delivered: dict[str, int] = {}
    for lines in evidence.viewers.values():
        for line in lines:
            for event in line.ids:
                delivered[event] = min(line.at, delivered.get(event, line.at))
    waits = sorted(
        (ask.first_ack, delivered[ask.id] - ask.first_ack)
        for ask in evidence.asks.values()
        if ask.acknowledged and ask.id in delivered
    )
    worst: dict[str, list[float]] = {}
    for fault in evidence.faults:
        until = fault["at"] + AFTER_FAULT_S * 1e9
        after = [wait for acked, wait in waits if fault["at"] <= acked <= until]
        if after:
            worst.setdefault(f"{fault['what']} {fault['kind']}", []).append(max(after) / 1e6)
    return {
        kind: Delay(len(all_), round(median(all_), 1), round(max(all_), 1))
        for kind, all_ in sorted(worst.items())
    }


def result(
    options: Options, outcome: Outcome, verdict: dict[str, Any], evidence: Evidence
) -> dict[str, Any]:
    """Everything that is worth keeping of a run."""
    looked = verdict["looked_at"]
    undecided = looked["unknown_in"] + looked["unknown_out"]
    return {
        "ok": verdict["ok"]
        and undecided <= UNDECIDED_SHARE_MAX * looked["requests"]
        and not any(outcome.verified.values())
        and outcome.fenced >= options.sleeps
        and not outcome.server_errors
        and not outcome.never_came_back,
        "commit": evidence.run.get("commit", ""),
        "seed": options.seed,
        "machine": facts_of_the_machine(),
        "requests": options.requests,
        "repeated_on_purpose": outcome.repeated,
        "seconds": outcome.seconds,
        "faults": outcome.faults,
        "verdict": verdict,
        "server_errors": outcome.server_errors,
        "never_came_back": outcome.never_came_back,
        "verified": outcome.verified,
        "fenced": outcome.fenced,
        "gifts": options.gifts,
        "battles": outcome.battles,
        "ack_to_viewer_after": msgspec.to_builtins(delays(evidence)),
    }


def write(directory: Path, scenario: str, found: dict[str, Any]) -> None:
    """Write faults-<scenario>.json and .md into `directory`; without a suffix for `everything`."""
    directory.mkdir(parents=True, exist_ok=True)
    pretty = msgspec.json.format(msgspec.json.encode(found), indent=2)
    name = "faults" if scenario == "everything" else f"faults-{scenario}"
    (directory / f"{name}.json").write_bytes(pretty + b"\n")
    (directory / f"{name}.md").write_text(in_words(found))


def in_words(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    machine, looked = found["machine"], found["verdict"]["looked_at"]
    kills = sum(count for kind, count in found["faults"].items() if kind.startswith("kill"))
    lines = [
        f"# The last fault run: {found['scenario']}",
        "",
        f"**{'No anomaly' if found['ok'] else 'ANOMALIES FOUND'}** in {looked['requests']:,} "
        f"requests ({found['repeated_on_purpose']:,} of them sent again on purpose), "
        f"{looked.get('gifts', 0):,} of them gifts, and {found['battles']:,} battles under {kills} "
        f"SIGKILLs. `engagement verify` agrees: "
        + (", ".join(name for name, code in found["verified"].items() if not code) or "not asked")
        + ".",
        "",
        f"Made by `make faults` (seed {found['seed']}, commit `{found['commit']}`) on "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}; everything, load and viewers included, on this machine.",
        "This says: effectively once under these faults. It does not say more.",
        "",
        "| faults | count |",
        "|---|---|",
        *(f"| {kind} | {count} |" for kind, count in found["faults"].items()),
        "",
        "| evidence | |",
        "|---|---|",
        *(
            f"| {name.replace('_', ' ')} | {count:,} |"
            for name, count in looked.items()
            if isinstance(count, int)
        ),
        "",
        "| anomaly | count |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in found["verdict"]["anomalies"].items()),
        *([] if found["verdict"]["anomalies"] else ["| none | 0 |"]),
        "",
        "Worst time from acknowledgement to the first viewer's socket, of the comments that were "
        f"acknowledged within {AFTER_FAULT_S:.0f} s after each fault (faults overlap):",
        "",
        "| after | faults | median of the worst, ms | the worst, ms |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {delay['faults']} | {delay['median_worst_ms']:,.0f} "
            f"| {delay['worst_ms']:,.0f} |"
            for kind, delay in found["ack_to_viewer_after"].items()
        ),
        "",
        "| phase | s |",
        "|---|---|",
        *(f"| {phase} | {seconds} |" for phase, seconds in found["seconds"].items()),
        "",
    ]
    return "\n".join(lines)
