"""Every bound of WebRTC sessions, with its unit in the name and its reason beside it."""

from typing import Final

SDP_BYTES_MAX: Final = 64 * 1024
"""A browser's offer of one video and one audio is 6 to 12 kB."""
CANDIDATES_MAX: Final = 32
"""Of one peer, trickled ones included: each makes a pair that is checked."""
CONNECT_S_MAX: Final = 15.0
"""From the answer to the first media: ICE and DTLS take three seconds on bad networks."""
NEGOTIATIONS_AT_ONCE: Final = 2
"""Answers being made: each costs the packet path some milliseconds of the same core."""
NEGOTIATIONS_WAITING_MAX: Final = 20
"""Beyond it a join is told to come back rather than left to time out."""
PUBLISHERS_MAX: Final = 8
"""One process forwards 100 Mbit/s or so; viewers use it up first."""
JOIN_BURST: Final = 20.0
"""A page that shows a few rooms joins them at once."""
PUBLISHER_BITS_PER_S_MAX: Final = 6_000_000
"""1080p60; every viewer costs as much again."""
PUBLISHER_PACKETS_PER_S: Final = 2_000.0
"""Twice what the bitrate above makes; more is dropped before it is multiplied by all viewers."""
PUBLISHER_PACKETS_BURST: Final = 2_000.0
"""A key frame, or what a path held back for a second."""
PUBLISHER_BITS_PER_S_MIN: Final = 150_000
"""An estimate below it is a guess about a path that carries nothing yet."""
REPORT_MS: Final = 1_000.0
"""Between receiver reports (RFC 3550 section 6.2 allows less on fast links)."""
SESSION_LINGER_S: Final = 30.0
"""Viewers of a room whose publisher has gone wait so long for it to come back."""
SOCKET_BYTES: Final = 1024 * 1024
"""Of a publisher's receive buffer: half a second of 16 Mbit/s while the process is busy."""
TICK_MS: Final = 10.0
"""How often repair and reports are looked after."""
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
"""One access unit; a key frame of 4K video is below it."""
SOUND_OFF_MS_MAX: Final = 40.0
"""How far the publisher's reports may place sound from where it is, before that is a question."""
SOUND_DISAGREED_MS: Final = 6_000.0
"""And for how long, before it is moved: a clock that was set is reported for one track up to five
seconds before the other."""
