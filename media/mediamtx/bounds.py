"""Every bound of the MediaMTX engine, with its unit and its reason."""

from typing import Final

ANSWER_S: Final = 10.0
"""From a request to its answer; negotiating WebRTC gathers candidates first."""
POLL_S: Final = 0.25
"""Between looks at the list of paths: how soon a publisher is seen, or missed."""
PATHS_MAX: Final = 1_000
"""Of one look."""
RELOAD_S: Final = 12.0
"""One blocking reload of a playlist; three target durations are answered by then."""
RETRY_S: Final = 0.25
"""Before a playlist that is not there yet is asked for again."""
PLAYLIST_BYTES_MAX: Final = 256 * 1024
"""A window of a minute has 20 kB."""
PARTS_MAX: Final = 4_096
"""Segments and parts that are read of one playlist."""
PUBLISHERS_MAX: Final = 64
VIEWERS_MAX: Final = 1_000_000
"""MediaMTX has a bound of its own, for each path."""
SESSIONS_MAX: Final = 10_000
"""WebRTC sessions that we brokered, and may be asked to end."""
