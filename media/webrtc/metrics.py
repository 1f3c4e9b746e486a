"""What WebRTC forwarding counts."""

from typing import Final

from prometheus_client import Counter, Gauge

FORWARDED: Final = Counter(
    "engagement_media_rtp_forwarded_total", "RTP packets sent to viewers, first time."
)
UNSENT: Final = Counter(
    "engagement_media_rtp_unsent_total", "RTP packets that the kernel had no room for."
)
RESENT: Final = Counter("engagement_media_rtp_resent_total", "RTP packets sent again to viewers.")
RESENDS_REFUSED: Final = Counter(
    "engagement_media_rtp_resends_refused_total", "Asked for and not sent again, by why.", ["why"]
)
ASKED_AGAIN: Final = Counter(
    "engagement_media_rtp_asked_again_total", "RTP packets that publishers were asked for again."
)
KEY_FRAMES_ASKED: Final = Counter(
    "engagement_media_key_frames_asked_total", "Key frames that publishers were asked for."
)
MALFORMED: Final = Counter(
    "engagement_media_rtp_malformed_total", "Packets that were dropped unread, by what.", ["what"]
)
JOINS: Final = Counter(
    "engagement_media_webrtc_joins_total", "WHIP and WHEP sessions asked for.", ["way", "outcome"]
)
VIEWERS: Final = Gauge("engagement_media_webrtc_viewers", "WHEP sessions that are open.")
PUBLISHERS: Final = Gauge("engagement_media_webrtc_publishers", "WHIP sessions that are open.")
FRAMES_LOST: Final = Counter(
    "engagement_media_frames_lost_total",
    "Frames that the packager did not get, by track.",
    ["track"],
)
