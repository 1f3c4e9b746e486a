"""The abs-capture-time header extension: when the publisher captured a frame, by its own clock.

http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time: a 64-bit NTP time stamp, then
optionally a signed 32.32 estimate of the capturing clock's offset, which a forwarder passes on.
"""

from typing import Final

ABS_CAPTURE_TIME_URI: Final = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"


def capture_ntp64(value: bytes) -> int | None:
    """The NTP time stamp of an element; None for one of no length that was ever specified."""
    return int.from_bytes(value[:8], "big") if len(value) in (8, 16) else None


def abs_send_time_24(value: bytes) -> int | None:
    """abs-send-time: 6.18 fixed-point seconds, for the estimate of a publisher's bandwidth."""
    return int.from_bytes(value, "big") if len(value) == 3 else None
