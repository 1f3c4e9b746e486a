"""Every bound of publishers that come by a port of their own, with its unit and its reason."""

from typing import Final

PUBLISHERS_MAX: Final = 64
"""Of one ingest: as many rooms as one process packages."""
GRANT_S: Final = 60.0
"""How long a granted address waits for its publisher."""
GRANTS_MAX: Final = 1_000
"""Granted addresses that wait at once."""
EPOCHS_PER_MINUTE_MAX: Final = 10
"""Of one publisher. A file that is sent as fast as it can be read would open one a frame."""
IDLE_S: Final = 10.0
"""A publisher who sends nothing for so long has gone; its epoch ended long before."""
CLOCK_CHECK_S: Final = 0.1
"""How often the clock of a publisher that sends nothing is looked at."""
