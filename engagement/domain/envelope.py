"""The record of ``live.requests.v1``: all requests of one gateway, partition and flush.

Internal format. Faust pays per record, so a record holds many requests; it also holds the clock
anchors they are stamped with, so that facts are a pure function of the record they came from.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from engagement.domain.media_time import Anchor
from engagement.domain.requests import Request, Role


class Accepted(Struct, frozen=True, omit_defaults=True):
    """One request as the gateway accepted it."""

    room: str
    """Empty for `lease.renew`, which belongs to no room."""
    actor: str
    role: Role
    at_us: int
    """Unix time in µs at which the gateway accepted it: the instant that is stamped."""
    request: Request
    session: str | UnsetType = UNSET
    """The socket that sent it (`<gateway>/<n>`): the lease of a join, the address of a refusal."""
    anchor: int | UnsetType = UNSET
    """Index into the envelope's `clock`; absent when the room has no media clock."""
    traceparent: str | UnsetType = UNSET
    """W3C Trace Context, carried into the fact."""


class ClockEntry(Struct, frozen=True, omit_defaults=True):
    """An anchor, and how old the gateway's knowledge of the clock could be."""

    anchor: Anchor
    lag_ms: float = 0.0
    """How long after an anchor was published this gateway learns of it; part of the uncertainty."""


class Envelope(Struct, frozen=True, omit_defaults=True):
    """One flush."""

    gateway: str
    requests: list[Accepted]
    clock: list[ClockEntry] = []
    v: Literal[1] = 1
