"""Presence of sockets: joining is implicit in connecting, leaving in disconnecting.

Each is an internal request through the same envelopes as everything else, under the socket's
session (`<gateway>/<n>`). All sessions of this gateway are kept alive by one `lease.renew` per
partition; a gateway that dies stops renewing, and the processor lets its viewers leave.
"""

import asyncio
import time
import uuid
from dataclasses import dataclass

import structlog

from engagement.domain import limits
from engagement.domain.requests import (
    GatewayLease,
    LeaseRenew,
    Request,
    Role,
    RoomJoin,
    RoomLeave,
)
from engagement.gateway.envelopes import EnvelopeWriter, Group
from engagement.gateway.flushes import Flush
from engagement.gateway.intake import partition_of_room

log = structlog.get_logger()

_RETRY_S = 1.0


@dataclass(frozen=True)
class Attendance:
    """One socket in one room."""

    session: str
    room: str
    actor: str
    role: Role


class Presence:
    """Writes joins and leaves, again until the log has them, and renews the leases."""

    def __init__(
        self,
        envelopes: EnvelopeWriter,
        *,
        gateway: str,
        partitions: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._envelopes = envelopes
        self._gateway = gateway
        self._partitions = partitions
        self._loop = loop
        self._present: set[str] = set()

    def join(self, who: Attendance) -> None:
        """The socket is in the room; may be repeated (a new session of the room began)."""
        self._present.add(who.session)
        self._ask(who, joins=True)

    def leave(self, who: Attendance) -> None:
        """The socket has gone."""
        if who.session in self._present:
            self._present.discard(who.session)
            self._ask(who, joins=False)

    def _ask(self, who: Attendance, *, joins: bool) -> None:
        request_id = str(uuid.uuid4())
        request: Request = RoomJoin(id=request_id) if joins else RoomLeave(id=request_id)
        at_us = time.time_ns() // 1000
        group = Group(who.room, who.role, at_us, [(who.actor, request)], who.session)
        flush = self._envelopes.put(partition_of_room(who.room, self._partitions), group)
        flush.done.add_done_callback(lambda done: self._check(who, joins, done.result()))

    def _check(self, who: Attendance, joins: bool, acked: bool) -> None:
        """Ask again for what the log did not take, unless it no longer holds."""
        if not acked and not self._loop.is_closed():
            self._loop.call_later(_RETRY_S, self._again, who, joins)

    def _again(self, who: Attendance, joins: bool) -> None:
        if joins == (who.session in self._present):
            self._ask(who, joins=joins)

    async def renew_forever(self) -> None:
        """Renew the leases until cancelled. It also is the heartbeat by which readiness sees
        that the log acknowledges."""
        while True:
            self.renew()
            await asyncio.sleep(limits.GATEWAY_LEASE_RENEW_S)

    def renew(self) -> list[Flush[Group]]:
        """Renew the leases of all sessions, in every partition."""
        at_us = time.time_ns() // 1000
        flushes: list[Flush[Group]] = []
        for partition in range(self._partitions):
            renewal = LeaseRenew(id=str(uuid.uuid4()), data=GatewayLease(self._gateway))
            group = Group("", "service", at_us, [(self._gateway, renewal)])
            flushes.append(self._envelopes.put(partition, group))
        return flushes
