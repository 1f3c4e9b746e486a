"""Every bound of the Janus engine, with its unit and its reason."""

from typing import Final

ANSWER_S: Final = 10.0
"""From a request to its event: negotiating costs Janus a few ms, a busy one a second."""
POLL_S: Final = 40.0
"""One wait for events; Janus answers a long poll after 30 s at the latest."""
EVENTS_AT_ONCE: Final = 50
"""Taken by one poll."""
RETRY_S: Final = 1.0
"""Between attempts to reach a Janus that is away."""
PUBLISHERS_PER_ROOM: Final = 3
"""The one that is on, the one that takes over, and one whose end Janus has not noticed."""
PUBLISHER_BITS_PER_S_MAX: Final = 6_000_000
"""As for the embedded engine: 1080p60."""
PUBLISHERS_MAX: Final = 64
VIEWERS_MAX: Final = 1_000
"""Of one Janus; two event loops of it carried 200 on one core."""
CONNECT_S_MAX: Final = 15.0
"""From the answer to the first media."""
TICK_MS: Final = 20.0
"""How often clocks, key frames and sessions that came to nothing are looked after."""
DATAGRAM_BYTES_MAX: Final = 2_048
"""A forwarded RTP packet."""
SOCKET_BYTES: Final = 4 * 1024 * 1024
"""Of the socket that takes all forwarded packets: a second of 30 Mbit/s."""
SDP_BYTES_MAX: Final = 64 * 1024
"""An offer of Janus' is 3 kB."""
EVENTS_WAITING_MAX: Final = 10_000
"""Transactions whose answers are awaited."""
SESSION_LINGER_S: Final = 30.0
"""Viewers of a room whose publisher has gone wait so long for it to come back."""
