"""Accepted requests of rooms on their way to the log: one envelope per partition and flush.

The clock anchor of each request is looked up when it is flushed, in hindsight: a step that became
known while the request waited is the one it is stamped by.
"""

from typing import Protocol

from msgspec import UNSET, Struct, UnsetType

from engagement.domain import limits
from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.media_time import RoomClock
from engagement.domain.requests import Request, Role
from engagement.gateway.flushes import Flush, FlushWriter, Grid, Log
from engagement.log.codec import encode_envelope
from engagement.log.topics import REQUESTS_TOPIC


class Clocks(Protocol):
    """Who knows the rooms' media clocks."""

    def clock(self, room: str) -> RoomClock | None:
        """The clock of a room, or None when it has none."""


class Anchors:
    """The clock entries of one envelope."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._index: dict[tuple[str, str], int] = {}
        self.entries: list[ClockEntry] = []

    def index(self, room: str, at_us: int) -> int | UnsetType:
        """The entry that a request accepted then is stamped by; UNSET without a clock."""
        known = self._clocks.clock(room)
        anchor = None if known is None else known.at(at_us)
        if known is None or anchor is None:
            return UNSET
        key = (room, anchor.id)
        if key not in self._index:
            self._index[key] = len(self.entries)
            self.entries.append(ClockEntry(anchor, known.lag_ms))
        return self._index[key]


class Group(Struct, frozen=True, gc=False):
    """Requests that were accepted together: one room, one instant, one sender's role."""

    room: str
    role: Role
    at_us: int
    asks: list[tuple[str, Request]]
    """Actor and request."""
    session: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET


class EnvelopeWriter(FlushWriter[Group]):
    """Writes `live.requests.v1`."""

    def __init__(self, writer: Log, clocks: Clocks, grid: Grid, *, gateway: str) -> None:
        super().__init__(writer, grid, topic=REQUESTS_TOPIC, key=gateway.encode())
        self._clocks = clocks
        self._gateway = gateway

    def put(self, partition: int, group: Group) -> Flush[Group]:
        """Take a group of our own making; the flush that it leaves with."""
        flush = self.reserve(partition, len(group.asks))
        flush.parts.append(group)
        flush.count += len(group.asks)
        return flush

    def _encode(self, parts: list[Group]) -> list[bytes]:
        anchors = Anchors(self._clocks)
        requests: list[Accepted] = []
        for group in parts:
            room, role, at_us = group.room, group.role, group.at_us
            anchor = anchors.index(room, at_us)
            session, traceparent = group.session, group.traceparent
            for actor, request in group.asks:
                requests.append(
                    Accepted(room, actor, role, at_us, request, session, anchor, traceparent)
                )
        return self._split(anchors.entries, requests)

    def _split(self, clock: list[ClockEntry], requests: list[Accepted]) -> list[bytes]:
        value = encode_envelope(Envelope(self._gateway, requests, clock))
        if len(value) <= limits.ENVELOPE_BYTES_MAX or len(requests) == 1:
            return [value]
        half = len(requests) // 2
        return self._split(clock, requests[:half]) + self._split(clock, requests[half:])
