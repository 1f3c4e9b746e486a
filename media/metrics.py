"""What the media process counts."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_MS: Final = (1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000)

CLOCK_EVENTS: Final = Counter(
    "engagement_media_clock_events_total", "Clock events by kind and reason.", ["kind", "reason"]
)
EPOCHS: Final = Counter("engagement_media_epochs_total", "Epochs opened, by why.", ["reason"])
STEPS: Final = Counter("engagement_media_steps_total", "Steps announced, by what stepped.", ["of"])
ANCHOR_ERR_MS: Final = Histogram(
    "engagement_media_anchor_err_ms", "Stated error of anchors, ms.", buckets=_MS
)
DRIFT_PPM_MAX: Final = Gauge(
    "engagement_media_drift_ppm_max", "Greatest drift of a publisher against this server, ppm."
)
UNCERTAINTY_MS_MAX: Final = Gauge(
    "engagement_media_uncertainty_ms_max", "Greatest uncertainty of a running clock now, ms."
)
STREAMS: Final = Gauge("engagement_media_streams", "Rooms with a publisher.", ["engine"])
UNACKNOWLEDGED: Final = Counter(
    "engagement_media_clock_unacknowledged_total", "Clock events that the log did not acknowledge."
)
UNSENT: Final = Gauge(
    "engagement_media_clock_unsent_rooms", "Rooms whose newest anchor is not on the log."
)
EVENTS_DROPPED: Final = Gauge(
    "engagement_media_events_dropped", "Engine events that this process was too slow for."
)
COMMANDS: Final = Counter(
    "engagement_media_commands_total", "Commands to synthetic hosts.", ["do", "outcome"]
)
