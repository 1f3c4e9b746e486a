"""RTMP's handshake, as a server. Sans-I/O.

Source: Adobe, "RTMP specification 1.0" (2012), 5.2. The plain form; publishers (FFmpeg, OBS,
hardware encoders) do not insist on the signed one, which served to keep players of others away.
"""

import os
from typing import Final

from engagement.errors import BadRequestError

VERSION: Final = 3
_BLOCK: Final = 1536
_ECHO_AT: Final = 8


class Handshake:
    """Takes C0, C1 and C2, gives S0, S1 and S2."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_answered = False
        self.is_done = False

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """What to send now, and what has come after the handshake.

        Raises BadRequestError for another version; 6, RTMPE, among them.
        """
        self._buffer += data
        reply = b""
        if self._buffer and self._buffer[0] != VERSION:
            raise BadRequestError("this is not RTMP version 3", code="bad_rtmp")
        if not self._is_answered and len(self._buffer) >= 1 + _BLOCK:
            theirs = bytes(self._buffer[1 : 1 + _BLOCK])
            ours = bytes(_ECHO_AT) + os.urandom(_BLOCK - _ECHO_AT)
            reply = bytes((VERSION,)) + ours + theirs
            self._is_answered = True
        if len(self._buffer) < 1 + 2 * _BLOCK:
            return reply, b""
        # C2 should repeat S1; encoders exist that send anything, and it proves nothing.
        self.is_done = True
        rest = bytes(self._buffer[1 + 2 * _BLOCK :])
        self._buffer.clear()
        return reply, rest
