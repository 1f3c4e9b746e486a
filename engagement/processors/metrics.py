"""What a room worker tells Prometheus. Room ids are never labels."""

import time

from prometheus_client import Counter, Histogram

from engagement.domain.envelope import Envelope
from engagement.domain.events import Decided

ENVELOPES = Counter("engagement_worker_envelopes_total", "Envelopes processed.")
REQUESTS = Counter("engagement_worker_requests_total", "Requests processed, repeats included.")
FACTS = Counter("engagement_worker_facts_total", "Facts written.", ["type"])
REFUSALS = Counter("engagement_worker_refusals_total", "Requests refused.", ["code"])
DECIDED_AFTER = Histogram(
    "engagement_worker_decided_after_seconds",
    "From a gateway's acceptance of an envelope's oldest request to its decision.",
    buckets=(0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1, 2, 5, 10, 30),
)


def observe_envelope(envelope: Envelope, facts: list[Decided]) -> None:
    """Count one processed envelope."""
    ENVELOPES.inc()
    REQUESTS.inc(len(envelope.requests))
    if envelope.requests:
        DECIDED_AFTER.observe(time.time() - envelope.requests[0].at_us / 1e6)
    by_type: dict[str, int] = {}
    for fact in facts:
        by_type[fact.kind] = by_type.get(fact.kind, 0) + 1
        if fact.kind == "request.refused":
            REFUSALS.labels(fact.data.code).inc()
    for kind, count in by_type.items():
        FACTS.labels(kind).inc(count)
