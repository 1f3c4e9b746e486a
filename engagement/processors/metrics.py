"""What a room worker tells Prometheus. Room ids are never labels."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from engagement.domain.envelope import Envelope
from engagement.domain.events import Decided
from engagement.domain.ledger import Decision

ENVELOPES: Final = Counter("engagement_worker_envelopes_total", "Envelopes processed.")
REQUESTS: Final = Counter("engagement_worker_requests_total", "Requests, repeats included.")
REPEATS: Final = Counter("engagement_worker_repeats_total", "Requests that were known already.")
FACTS: Final = Counter("engagement_worker_facts_total", "Facts written.", ["type"])
REFUSALS: Final = Counter("engagement_worker_refusals_total", "Requests refused.", ["code"])
DECIDED_AFTER: Final = Histogram(
    "engagement_worker_decided_after_seconds",
    "From a gateway's acceptance of an envelope's oldest request to its decision.",
    buckets=(0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1, 2, 5, 10, 30),
)
WRITTEN_AFTER: Final = Histogram(
    "engagement_worker_written_after_seconds",
    "From a gateway's acceptance of an envelope's oldest request until its facts are on the log.",
    buckets=(0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1, 2, 5, 10, 30),
)
RECOVERY_SECONDS: Final = Histogram(
    "engagement_worker_recovery_seconds",
    "From an assignment until its partitions are processed again.",
    buckets=(0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30),
)
LAG: Final = Gauge("engagement_worker_lag_records", "Envelopes on the log, not yet read.")
CHECKPOINT_BYTES: Final = Counter("engagement_worker_checkpoint_bytes_total", "State written.")


def observe_envelope(envelope: Envelope, facts: Iterable[Decided]) -> None:
    """Count one processed envelope and its facts."""
    ENVELOPES.inc()
    REQUESTS.inc(len(envelope.requests))
    if envelope.requests:
        DECIDED_AFTER.observe(time.time() - envelope.requests[0].at_us / 1e6)
    observe_facts(facts)


def observed_when_written(envelope: Envelope, done: Callable[[], object]) -> Callable[[], object]:
    """`done`, and the time that the envelope's facts took to be safe."""
    if not envelope.requests:
        return done
    accepted_s = envelope.requests[0].at_us / 1e6

    def written() -> None:
        WRITTEN_AFTER.observe(time.time() - accepted_s)
        done()

    return written


def observe_facts(facts: Iterable[Decided]) -> None:
    """Count facts."""
    for kind, count in Tally(fact.kind for fact in facts).items():
        FACTS.labels(kind).inc(count)
        if kind == "request.refused":
            for fact in facts:
                if fact.kind == kind:
                    REFUSALS.labels(fact.data.code).inc()


OWNED: Final = Gauge(
    "engagement_decider_partitions", "Partitions that this process decides about.", ["topic"]
)
FENCED: Final = Counter(
    "engagement_decider_fenced_total",
    "Transactions that were refused because the partition had another owner.",
    ["topic"],
)
SESSIONS_ENDED: Final = Counter(
    "engagement_decider_sessions_ended_total",
    "Sessions that an engine ended by not answering.",
    ["topic", "reason"],
)
DECIDE_SECONDS: Final = Histogram(
    "engagement_decider_transaction_seconds",
    "From the first statement of a transaction to its commit.",
    ["topic"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)

DECISIONS: Final = Counter(
    "engagement_ledger_decisions_total",
    "Requests about money, by type and outcome.",
    ["type", "outcome"],
)
COINS_PAID: Final = Counter("engagement_ledger_gift_coins_total", "Coins paid for gifts.")


def observe_decisions(decisions: Iterable[Decision]) -> None:
    """Count what the ledger decided. (What a crash makes it decide again is counted again.)"""
    tally: Tally[tuple[str, str]] = Tally()
    for decision in decisions:
        kind = str(decision.asked.request.__struct_config__.tag)
        repeat = "" if decision.repeat_of is None else "repeat"
        tally[kind, decision.code or repeat or "done"] += 1
        if decision.payment is not None and decision.reverses is None:
            COINS_PAID.inc(decision.payment.coins)
    for (kind, outcome), count in tally.items():
        DECISIONS.labels(kind, outcome).inc(count)
