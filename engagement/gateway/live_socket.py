"""One viewer's socket as the rest of the gateway sees it: written to, measured, closed."""

import asyncio
import time
from typing import Any

from engagement.domain import limits
from engagement.errors import CLOSE_CODES
from engagement.gateway import metrics
from engagement.gateway.awaited_gifts import ToldOutcomes
from engagement.gateway.frames import json_frame
from engagement.gateway.hub import Channel
from engagement.gateway.presence import Attendance
from engagement.gateway.session import Session
from engagement.gateway.ws_protocol import LiveProtocol
from engagement.tokens import Principal


class GoneError(Exception):
    """The socket has been closed, by either side."""


class LiveSocket:
    """One viewer's socket: what the hub writes to, and what it is closed by."""

    __slots__ = (
        "_awaiting", "address", "attendance", "channel", "expiry", "principal", "protocol",
        "session", "skipped", "slow",
    )  # fmt: skip

    def __init__(self, protocol: LiveProtocol, session: Session, address: str) -> None:
        self.protocol = protocol
        self.session = session
        self.address = address
        self.principal: Principal | None = None
        self.channel: Channel | None = None
        self.attendance: Attendance | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.slow = False
        self.skipped: dict[str, int] = {}
        self._awaiting: list[ToldOutcomes] = []

    def write(self, frame: bytes) -> None:
        """Hand over a frame of any kind."""
        self.protocol.write(frame)

    def buffered_bytes(self) -> int:
        """What waits in user space."""
        return self.protocol.buffered_bytes()

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message of this socket alone; a peer that asks but never reads is closed."""
        if self.buffered_bytes() > limits.SOCKET_BUFFER_BYTES_MAX:
            self.close_slow()
        else:
            self.write(json_frame(message))

    def close_slow(self) -> None:
        """Close as a slow consumer: it may resume where it is."""
        self.close("slow_consumer")

    def close(self, reason: str) -> None:
        """Close with the code of this reason."""
        if self.protocol.close_sent or self.protocol.disconnected:
            return
        code = CLOSE_CODES[reason]
        metrics.CLOSES.labels(str(code)).inc()
        self.session.state = "closed"
        self.protocol.close_with(code, reason)

    def expire_with(self, principal: Principal) -> None:
        """Close when this principal's token ends, not when an earlier one does."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        if principal.expires_s is not None:
            left_s = min(max(0.0, principal.expires_s - time.time()), limits.SOCKET_LIFE_S_MAX)
            loop = asyncio.get_running_loop()
            self.expiry = loop.call_later(left_s, self.close, "token_expired")

    def awaits(self, told: ToldOutcomes) -> None:
        """The gifts of a `send`: their outcomes are told to this socket as long as it lives."""
        self._awaiting = [each for each in self._awaiting if not each.done]
        self._awaiting.append(told)

    def end_awaiting(self) -> None:
        """The socket has gone."""
        for told in self._awaiting:
            told.end()

    async def drained(self) -> None:
        """Wait until the peer has taken most of what was written. Raises GoneError when it does
        not, or has gone."""
        try:
            await asyncio.wait_for(self.protocol.writable.wait(), limits.RESUME_STALL_S)
        except TimeoutError:
            self.close_slow()
        if self.protocol.close_sent or self.protocol.disconnected:
            raise GoneError
