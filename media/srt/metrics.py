"""What SRT counts."""

from typing import Final

from prometheus_client import Counter, Gauge

CONNECTIONS: Final = Gauge("engagement_srt_connections", "Open connections.")
REFUSED: Final = Counter(
    "engagement_srt_refused_total", "Handshakes that were refused, by why.", ["why"]
)
ENDED: Final = Counter("engagement_srt_ended_total", "Connections that ended, by why.", ["why"])
