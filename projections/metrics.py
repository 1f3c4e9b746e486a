"""What a projector tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

FACTS = Counter("engagement_projector_facts_total", "Facts folded into the projections.")
REPEATS = Counter("engagement_projector_repeats_total", "Facts dropped as repeats of an id.")
LAG = Gauge("engagement_projector_lag_records", "Records of the topic not folded yet.")
BATCH_SECONDS = Histogram(
    "engagement_projector_batch_seconds",
    "Time of one transaction.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
OWNER = Gauge("engagement_projector_owner", "1 while this projector owns the projections.")
