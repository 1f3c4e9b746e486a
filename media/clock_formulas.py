"""The formulae of each hop between a camera and a screen, as pure functions. All times in ms.

| hop | clock | function |
|---|---|---|
| publisher → server (WebRTC) | RTCP sender report (N, R) | :func:`capture_ms_by_report` |
| publisher clock → server clock | arrival of frames | minimum of arrival − capture over 30 s |
| RTMP, SRT → server | FLV ms, 90 kHz PTS | minimum of arrival − pts over 30 s |
| timestamps → media time | unwrapped ticks | :class:`Unwrapper` |
| LL-HLS | tfdt → PROGRAM-DATE-TIME | :func:`program_date_time_ms` |
| HLS playhead | playingDate, mediaTime | :func:`hls_playhead_ms` |
| WebRTC playhead | rtpTimestamp of the frame on screen | `media_time.pts_of_rtp` |
"""

from typing import Final

NTP_TO_UNIX_S: Final = 2_208_988_800
"""Seconds between 1900 and 1970 (RFC 5905 section 6)."""
_NTP_FRACTION: Final = 1 << 32

RTP_BITS: Final = 32
"""RTP timestamps and FLV timestamps with their extension byte."""
MPEG_TS_BITS: Final = 33
"""PTS of MPEG-TS, which SRT carries (ISO/IEC 13818-1)."""


def unix_ms_of_ntp(ntp64: int) -> float:
    """Unix time of a 64-bit NTP timestamp (32.32 fixed point), as in RTCP sender reports.

    Era 1 begins in 2036: a timestamp in the lower half of the range belongs to it (RFC 4330).
    """
    era_s = 0 if ntp64 >> 63 else 1 << 32
    return ((ntp64 >> 32) + era_s - NTP_TO_UNIX_S) * 1000 + (
        (ntp64 & (_NTP_FRACTION - 1)) * 1000 / _NTP_FRACTION
    )


def ntp_of_unix_ms(unix_ms: float) -> int:
    """The inverse of :func:`unix_ms_of_ntp`."""
    seconds, rest_ms = divmod(unix_ms, 1000)
    whole = (int(seconds) + NTP_TO_UNIX_S) % _NTP_FRACTION
    return (whole << 32) | min(int(rest_ms / 1000 * _NTP_FRACTION), _NTP_FRACTION - 1)


def ticks_difference(later: int, earlier: int, bits: int = RTP_BITS) -> int:
    """Signed distance of two wrapping timestamps, right up to half of their range."""
    half = 1 << (bits - 1)
    return (later - earlier + half) % (half << 1) - half


def capture_ms_by_report(report_unix_ms: float, report_rtp: int, rtp: int, rate: int) -> float:
    """When the publisher captured a frame, by its own clock: cap(ts) = unix(N) + (ts − R)/rate."""
    return report_unix_ms + ticks_difference(rtp, report_rtp) * 1000 / rate


def program_date_time_ms(first_frame_server_ms: float, tfdt: int, timescale: int) -> float:
    """PROGRAM-DATE-TIME of a segment: the server time of the epoch's first frame, plus tfdt."""
    return first_frame_server_ms + tfdt * 1000 / timescale


def hls_playhead_ms(
    playing_date_ms: float, frame_media_time_s: float, current_time_s: float
) -> float:
    """Server time of the frame on screen: hls.js' playingDate is that of `currentTime`."""
    return playing_date_ms + (frame_media_time_s - current_time_s) * 1000


class Unwrapper:
    """Timestamps of `bits` bits as ticks that never wrap, counted from the first one."""

    __slots__ = ("_bits", "_newest", "_unwrapped")

    def __init__(self, first: int, bits: int = RTP_BITS) -> None:
        self._bits = bits
        self._newest = first
        self._unwrapped = 0

    def ticks(self, timestamp: int) -> int:
        """Ticks since the first timestamp; negative before it. Does not move."""
        return self._unwrapped + ticks_difference(timestamp, self._newest, self._bits)

    def advance(self, timestamp: int) -> int:
        """The same, and take this timestamp as what the next ones are near to."""
        self._unwrapped = self.ticks(timestamp)
        self._newest = timestamp
        return self._unwrapped
