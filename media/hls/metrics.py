"""What HLS counts."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

PARTS: Final = Counter("engagement_hls_parts_total", "Parts made.")
FRAMES_DROPPED: Final = Counter(
    "engagement_hls_frames_dropped_total", "Frames that came late, twice, or before a key frame."
)
REFUSED: Final = Counter(
    "engagement_hls_refused_frames_total", "Frames that HLS does not carry, by code.", ["code"]
)
PART_DELAY_MS: Final = Histogram(
    "engagement_hls_part_delay_ms",
    "From the ingest of a part's last frame to the part, ms.",
    buckets=(5, 10, 20, 30, 40, 50, 75, 100, 150, 250, 500, 1000, 2500),
)
REQUESTS: Final = Counter(
    "engagement_hls_requests_total", "Requests by what for and outcome.", ["what", "outcome"]
)
WAITING: Final = Gauge("engagement_hls_waiting_requests", "Requests that wait for media.")
ROOMS: Final = Gauge("engagement_hls_rooms", "Rooms that are packaged.")
RECORDED_BYTES: Final = Gauge("engagement_recordings_bytes", "Recordings on disk, bytes.")
RECORDINGS_STOPPED: Final = Counter(
    "engagement_recordings_stopped_total",
    "Recordings that ended before their epoch, by why.",
    ["why"],
)
RECORDINGS_DELETED: Final = Counter(
    "engagement_recordings_deleted_total", "Epochs deleted to stay under the bound of bytes."
)
