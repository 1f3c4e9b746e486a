"""Every bound of RTMP, with its unit and its reason."""

from typing import Final

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""One message: a key frame of 4K at the highest rate any encoder at home sends."""
BUFFERED_BYTES_MAX: Final = 2 * MESSAGE_BYTES_MAX
"""Messages of one connection that are not complete: video, and sound between its chunks."""
COMMAND_BYTES_MAX: Final = 16 * 1024
"""Commands and metadata are a few hundred bytes; who is not checked yet sends nothing else."""
CHUNK_STREAMS_MAX: Final = 32
"""Publishers use five."""
CHUNK_BYTES_MAX: Final = 0xFFFFFF
"""No message is longer (5.4.1)."""
CHUNK_BYTES_SENT: Final = 4_096
WINDOW_BYTES: Final = 2_500_000
"""What a publisher may send unacknowledged: 1 s at 20 Mbit/s."""
AMF_DEPTH_MAX: Final = 8
AMF_ITEMS_MAX: Final = 256
"""Values in one message. Encoders' metadata has some twenty."""
READ_BYTES: Final = 64 * 1024
CONNECTIONS_MAX: Final = 256
"""Publishers, and those who knock."""
UNCHECKED_S: Final = 10.0
"""From the connection to an accepted `publish`."""
REFUSAL_S: Final = 2.0
"""How long a refused publisher may take to read why."""
PARAMETER_BYTES_MAX: Final = 4_096
"""A decoder configuration: a few parameter sets."""
