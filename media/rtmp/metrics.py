"""What RTMP counts."""

from typing import Final

from prometheus_client import Counter, Gauge

CONNECTIONS: Final = Gauge("engagement_rtmp_connections", "Open connections.")
ENDED: Final = Counter("engagement_rtmp_ended_total", "Connections that ended, by why.", ["why"])
