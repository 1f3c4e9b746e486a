"""How long a viewer is taken to be there: leases, and the clock by which they age.

A socket's lease is renewed by its gateway for all its sockets at once; one without a socket by the
viewer's own requests. Leases age by the time in which requests arrive, not by the wall clock: a
broker that is away for a minute, or a worker that catches up, must not make everyone leave. The
moment of a renewal is when it is read, so the clocks of gateways do not matter either.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import UNSET

from engagement.domain import limits
from engagement.domain.envelope import Accepted
from engagement.domain.presence import HTTP_GATEWAY, gateway_of, session_of
from engagement.domain.rooms import RoomState

_SECOND_US: Final = 1_000_000
_SCAN_US: Final = _SECOND_US
"""Leases last 20 s and more; looking at all of them once a second is often enough."""


class LeaseClock:
    """The leases of one partition. Not part of its state: after a restart all begin anew."""

    def __init__(self) -> None:
        self._age_us = 0
        """Time in which requests arrived, since the start."""
        self._ticked_us = 0
        self._heard_us = 0
        self._heard = False
        self._next_scan_us = 0
        self._gateways: dict[str, int] = {}
        self._viewers: dict[tuple[str, str], int] = {}
        """(room, session) of viewers without a socket. Both: until when, in our time."""

    def renew_gateway(self, gateway: str) -> None:
        """All sessions of this gateway are still there."""
        self._heard = True
        self._gateways[gateway] = self._age_us + limits.GATEWAY_LEASE_TTL_S * _SECOND_US

    def renew(self, state: RoomState, asked: Accepted) -> None:
        """A request was decided: who has no socket is there because of it."""
        self._heard = True
        if asked.session is UNSET:
            session = session_of(asked)
            if session in state.leases:
                self._viewers[state.room, session] = (
                    self._age_us + limits.HTTP_LEASE_TTL_S * _SECOND_US
                )

    def tick(self, now_us: int) -> bool:
        """Go on to this wall time; whether it is time to look for leases that have run out."""
        # A worker that was stopped for a while has not listened either.
        elapsed_us = min(max(0, now_us - self._ticked_us), _SECOND_US)
        self._ticked_us = now_us
        if self._heard:
            self._heard, self._heard_us = False, now_us
        if now_us - self._heard_us <= limits.LEASE_SILENCE_S * _SECOND_US:
            self._age_us += elapsed_us
        if self._age_us < self._next_scan_us:
            return False
        self._next_scan_us = self._age_us + _SCAN_US
        return True

    def lapsed(self, rooms: Iterable[RoomState]) -> list[tuple[str, str]]:
        """(session, room) of every lease that has run out, in the order of rooms and joining."""
        lapsed: list[tuple[str, str]] = []
        gateways: set[str] = set()
        viewers: set[tuple[str, str]] = set()
        for state in rooms:
            if state.recorded:
                continue
            for session in state.leases:
                gateway = gateway_of(session)
                if gateway == HTTP_GATEWAY:
                    viewers.add((state.room, session))
                    until_us = self._viewers.setdefault(
                        (state.room, session), self._age_us + limits.HTTP_LEASE_TTL_S * _SECOND_US
                    )
                else:
                    gateways.add(gateway)
                    until_us = self._gateways.setdefault(
                        gateway, self._age_us + limits.GATEWAY_LEASE_TTL_S * _SECOND_US
                    )
                if until_us <= self._age_us:
                    lapsed.append((session, state.room))
        self._forget(gateways, viewers)
        return lapsed

    def _forget(self, gateways: set[str], viewers: set[tuple[str, str]]) -> None:
        """Drop what has run out and what nobody holds: names of gateways change at every start."""
        self._viewers = {
            lease: until_us
            for lease, until_us in self._viewers.items()
            if until_us > self._age_us and lease in viewers
        }
        self._gateways = {
            gateway: until_us
            for gateway, until_us in self._gateways.items()
            if until_us > self._age_us or gateway in gateways
        }
