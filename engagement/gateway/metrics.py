"""What the gateway counts. Room and user ids are never labels."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10)

REQUESTS: Final = Counter(
    "engagement_gateway_requests_total", "Requests by type and outcome.", ["type", "outcome"]
)
ACK_SECONDS: Final = Histogram(
    "engagement_gateway_ack_seconds",
    "From a flush's first request to the broker's acknowledgement.",
    buckets=_LATENCY_S,
)
FRAME_SECONDS: Final = Histogram(
    "engagement_gateway_frame_seconds",
    "From a comment's acceptance to its frame, one sample per frame.",
    buckets=_LATENCY_S,
)
GIFT_SECONDS: Final = Histogram(
    "engagement_gateway_gift_seconds",
    "From a gift's acceptance to its frame: paid, told to the room and fanned out.",
    buckets=_LATENCY_S,
)
OUTCOME_SECONDS: Final = Histogram(
    "engagement_gateway_outcome_seconds",
    "How long a POST that waits for the outcome of its gifts waited for it.",
    buckets=_LATENCY_S,
)
OUTCOMES_AWAITED: Final = Gauge("engagement_gateway_outcomes_awaited", "Gifts that someone awaits.")
SETTLED_LOOKUPS: Final = Counter(
    "engagement_gateway_settled_lookups_total", "Queries for stored outcomes."
)
SETTLED_SKIPPED: Final = Counter(
    "engagement_gateway_settled_skipped_total", "Gifts taken without asking the database."
)
RELEASE_ERROR_MS: Final = Histogram(
    "engagement_release_error_ms",
    "How far from its stamp viewers released an event; positive is late.",
    ["basis"],
    buckets=(-1000, -250, -100, -50, -20, -5, 5, 20, 50, 100, 250, 1000, 5000),
)
ENVELOPES: Final = Counter("engagement_gateway_envelopes_total", "Envelopes written.")
ENVELOPED: Final = Counter("engagement_gateway_enveloped_requests_total", "Requests in them.")
SOCKETS: Final = Gauge("engagement_gateway_sockets", "Live sockets.")
JOINS: Final = Counter("engagement_gateway_joins_total", "Handshakes by outcome.", ["outcome"])
CLOSES: Final = Counter("engagement_gateway_closes_total", "Sockets that we closed.", ["code"])
RESUMES: Final = Counter(
    "engagement_gateway_resumes_total", "Cursors by whether they were honoured.", ["recovered"]
)
FRAMES: Final = Counter("engagement_gateway_frames_total", "Event frames encoded.")
FRAMES_SENT: Final = Counter("engagement_gateway_frames_sent_total", "Event frames to sockets.")
BYTES_SENT: Final = Counter("engagement_gateway_bytes_sent_total", "Bytes of those.")
DELIVERED: Final = Counter("engagement_gateway_events_delivered_total", "Events times sockets.")
SKIPPED: Final = Counter("engagement_gateway_events_skipped_total", "Events left out by shaping.")
FACTS: Final = Counter("engagement_gateway_facts_total", "Facts read from the tail.")
FACTS_DROPPED: Final = Counter(
    "engagement_gateway_facts_dropped_total", "Records of the tail left out.", ["reason"]
)
TAIL_BEHIND: Final = Gauge("engagement_gateway_tail_behind", "Records not yet read.", ["topic"])
CLOCK_LAG_MS: Final = Gauge("engagement_gateway_clock_lag_ms", "Age of a clock anchor when read.")
PENDING_BYTES: Final = Gauge("engagement_gateway_pending_bytes", "Bytes the broker has not acked.")
ROOMS: Final = Gauge("engagement_gateway_rooms", "Rooms in memory.")
ROOMS_LET_GO: Final = Counter(
    "engagement_gateway_rooms_let_go_total", "Closed rooms that memory was freed of."
)
RING_BYTES: Final = Gauge("engagement_gateway_ring_bytes", "Bytes kept for resume.")
