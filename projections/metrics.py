"""What a projector tells Prometheus. Room ids are never labels."""

from prometheus_client import Counter, Gauge, Histogram

FACTS = Counter("engagement_projector_facts_total", "Facts folded into the projections.")
ROWS = Counter("engagement_projector_rows_total", "Rows written.")
REPEATS = Counter("engagement_projector_repeats_total", "Facts that were on the log before.")
FENCED = Counter("engagement_projector_fenced_total", "Batches refused: not the owner any more.")
MOVED = Counter("engagement_projector_moved_total", "Batches refused: the position had moved.")
FAILURES = Counter(
    "engagement_projector_failures_total", "Sessions that ended in an error.", ["error"]
)
PARTITIONS = Gauge("engagement_projector_partitions", "Partitions that this projector owns.")
LAG = Gauge("engagement_projector_lag_records", "Records of its partitions not folded yet.")
DELAY = Gauge(
    "engagement_projector_delay_seconds",
    "From a gateway's acceptance of the newest folded fact to its commit.",
)
BATCH_SECONDS = Histogram(
    "engagement_projector_batch_seconds",
    "Time of one transaction.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
BATCH_FACTS = Histogram(
    "engagement_projector_batch_facts",
    "Facts of one transaction.",
    buckets=(1, 10, 50, 100, 200, 500, 1000, 2000, 4000),
)
