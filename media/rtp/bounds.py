"""Every bound of RTP forwarding, with its unit in the name and its reason beside it."""

from typing import Final

PACKET_BYTES_MAX: Final = 1_356
"""What fits the SRTP buffer of 1,500 bytes with its largest trailer."""
LOST_LISTED_MAX: Final = 512
"""Sequence numbers taken from one NACK; a longer list asks for a key frame in its own way."""
RTCP_MESSAGES_MAX: Final = 64
"""In one compound packet: 1,500 bytes hold no more that mean anything."""

HISTORY_PACKETS: Final = 1_024
"""Per track, shared by all its viewers: three seconds of 3 Mbit/s; a power of two."""
RESEND_AGE_MS_MAX: Final = 600.0
"""An older packet comes too late for any live player: a key frame repairs more for less."""
RESEND_SPACING_MS: Final = 25.0
"""The same packet goes to the same viewer once per round trip, however often it asks."""
RESENDS_PER_PACKET_MAX: Final = 3
RESENT_REMEMBERED_MAX: Final = 1_024
"""Per viewer and track: one entry for each packet in the history."""
VIEWER_RESENDS_PER_S: Final = 60.0
"""A third of a 1 Mbit/s stream: who loses more than that does not lack packets but bandwidth."""
VIEWER_RESENDS_BURST: Final = 120.0
VIEWER_ASKS_PER_S: Final = 500.0
"""Sequence numbers of NACKs that are looked at: who asks for more than a whole stream again, again
and again, must not cost the others anything."""
VIEWER_ASKS_BURST: Final = 1_000.0
TOTAL_RESENDS_PER_S: Final = 2_000.0
"""Of one process, a tenth of what it forwards to 100 viewers: joins that make everybody lose
packets at once must not make it send everything twice."""
TOTAL_RESENDS_BURST: Final = 2_000.0

MISSING_MAX: Final = 256
"""Packets that are asked for at once; with more missing a key frame is quicker."""
SKIPPED_MAX: Final = MISSING_MAX
"""A longer gap of a publisher is closed before viewers see it: they would ask for all of it, for
as long as it is in their windows, and nobody has it."""
NACK_FIRST_MS: Final = 10.0
"""Reordered packets come by themselves within this time."""
NACK_AGAIN_MS: Final = 60.0
NACK_TRIES_MAX: Final = 8
"""Half a second in all."""

KEY_FRAME_SPACING_MS: Final = 300.0
"""A publisher makes at most this many key frames, however many viewers ask."""

JITTER_WAIT_MS: Final = 400.0
"""How long frames wait for a lost packet on their way to the packager: seven tries to repair it."""
JITTER_PACKETS_MAX: Final = 2_048
"""A buffered 400 ms of 40 Mbit/s; beyond it the oldest are given up."""
