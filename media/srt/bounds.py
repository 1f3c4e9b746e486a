"""Every bound of SRT, with its unit and its reason."""

from typing import Final

CONNECTIONS_MAX: Final = 128
"""Publishers of one port, and those whose first picture has not come."""
LATENCY_MS: Final = 120
"""How long SRT waits for a repeat; the larger of both sides' holds. Three round trips of 40 ms."""
ADMIT_S: Final = 0.25
"""How long a handshake waits for its key's verification: meanwhile libsrt takes in no packet of
the port, and holds that much back. Encoders try again."""
KNOCKS_PER_S: Final = 20.0
KNOCKS_BURST: Final = 40.0
"""Handshakes that are asked about; more are told to try again without a look at their key, so that
a crowd at the door takes no time from who is on."""
MESSAGE_BYTES_MAX: Final = 1_456
"""What live mode sends in one packet."""
READ_MESSAGES: Final = 256
"""Taken from one connection before the next has its turn: half a second of 5 Mbit/s."""
HELD_BYTES_MAX: Final = 8 * 1024 * 1024
"""Read and not yet demuxed, of all connections; beyond it libsrt's own bounded buffers fill, and
drop what has become too late."""
POLL_MS: Final = 50
"""How soon the port's thread sees what it was told while no packet comes."""
FIRST_PICTURE_S: Final = 10.0
"""From the handshake to a first key frame."""
STREAM_ID_CHARS_MAX: Final = 512
"""As in SRT's own handshake extension."""
SECTION_BYTES_MAX: Final = 1_024
"""A program table (ISO/IEC 13818-1, 2.4.4.3)."""
PES_BYTES_MAX: Final = 4 * 1024 * 1024
"""One access unit: a key frame of 4K at the highest rate any encoder at home sends."""
ADTS_CARRY_BYTES_MAX: Final = 8_191
"""The longest ADTS frame: one that continues in the next packet."""
STREAMS_MAX: Final = 16
"""Elementary streams of one program; encoders send two."""
