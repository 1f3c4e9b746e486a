"""A viewer's cursor: the next offset of the room topic that it has not seen. Opaque to viewers.

A position of the log, not of a gateway: any gateway resumes a viewer of any other. It names the
log, too: in another one (a data directory that was wiped, another cluster) the same offset is
another place, and whoever comes with it gets a snapshot.
"""

import hashlib
import re
from typing import Final

_CURSOR: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,4})-([0-9]{1,18})", re.ASCII)
_NO_LOG: Final = "0" * 8


class Cursors:
    """Writes and reads the cursors of one log."""

    __slots__ = ("_log",)

    def __init__(self) -> None:
        self._log = _NO_LOG

    def name_log(self, cluster: str) -> None:
        """The log is the one of this Kafka cluster: its id is made when its storage is."""
        self._log = hashlib.blake2b(cluster.encode(), digest_size=4).hexdigest()

    def text(self, partition: int, offset: int) -> str:
        """The cursor of a viewer that has seen everything before `offset`."""
        return f"{self._log}-{partition}-{offset}"

    def offset_of(self, text: str, partition: int) -> int | None:
        """The offset that a cursor names, or None when it is not one of this log's partition."""
        match = _CURSOR.fullmatch(text)
        if match is None or match[1] != self._log or int(match[2]) != partition:
            return None
        return int(match[3])
