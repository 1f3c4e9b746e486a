"""Bytes of records to structs and back; anything undecodable is a `PoisonError` with a reason."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeVar

import msgspec

from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import (
    Decided,
    Fact,
    RawFact,
    SubjectFact,
    decided,
    fact,
    subject_fact,
)
from engagement.domain.names import is_actor_id, is_room_id

_ENCODER: Final = msgspec.json.Encoder()
_RAW_FACT: Final = msgspec.json.Decoder(RawFact)
_ENVELOPE: Final = msgspec.json.Decoder(Envelope)


class _LooseEnvelope(msgspec.Struct):
    """An envelope whose requests are still bytes: one poison request costs only itself."""

    gateway: str
    requests: list[msgspec.Raw]
    clock: list[ClockEntry] = []
    v: int = 1


_LOOSE_ENVELOPE: Final = msgspec.json.Decoder(_LooseEnvelope)
_ACCEPTED: Final = msgspec.json.Decoder(Accepted)

BAD_BYTES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are not what they should be."""

CONTENT_TYPE: Final = ("content-type", b"application/cloudevents+json")
"""Record header of a structured-mode CloudEvent (Kafka protocol binding 1.0.2, 3.3.1)."""

AT_US_MAX: Final = 4_102_444_800 * 1_000_000
"""The year 2100: no request is accepted later, and times near the end of the calendar overflow."""
_CLOCK_MAX: Final = 1e15
"""Any clock value in ms or ticks; far beyond it arithmetic leaves what JSON numbers hold."""
TEXT_CHARS_MAX: Final = 512
"""Sessions, gateways and trace contexts, which no schema bounds."""


class PoisonError(Exception):
    """A record, or a part of one, that cannot be decoded; `reason` goes to the dead letters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_fact(what: Decided) -> bytes:
    """The record value of a fact: one CloudEvent in structured JSON mode."""
    return _ENCODER.encode(fact(what))


def encode_subject_fact(what: SubjectFact) -> bytes:
    """The record value of a fact about an account, a battle or a gift."""
    return _ENCODER.encode(subject_fact(what))


def encode_event(event: Fact) -> bytes:
    """The record value of a CloudEvent that is in its wire form already."""
    return _ENCODER.encode(event)


def decode_raw(value: bytes | None) -> RawFact:
    """The head of a fact, its data still bytes. Raises PoisonError."""
    if value is None:
        raise PoisonError("the record has no value")
    try:
        return _RAW_FACT.decode(value)
    except BAD_BYTES as error:
        raise PoisonError(f"not a fact: {error}") from error


def decode_data(raw: RawFact) -> Any:
    """The data of a fact. Raises PoisonError on an unknown type or a wrong shape."""
    try:
        return raw.decode()
    except KeyError as error:
        raise PoisonError(f"unknown fact type {raw.type!r}") from error
    except BAD_BYTES as error:
        raise PoisonError(f"bad data of {raw.type}: {error}") from error


def decode_fact(value: bytes | None) -> Decided:
    """A whole fact, ready to be folded. Raises PoisonError."""
    raw = decode_raw(value)
    try:
        return decided(raw)
    except KeyError as error:
        raise PoisonError(f"unknown fact type {raw.type!r}") from error
    except (*BAD_BYTES, ValueError, TypeError, OverflowError) as error:
        raise PoisonError(f"bad fact {raw.type}: {error}") from error


def encode_envelope(envelope: Envelope) -> bytes:
    """The record value of an envelope."""
    return _ENCODER.encode(envelope)


def decode_envelope(value: bytes | None) -> tuple[Envelope, list[PoisonError]]:
    """The envelope of all requests that can be decided, and why the others cannot.

    Gateways check what they send; this keeps anybody else's bytes from stopping a partition.
    Raises PoisonError when the record is no envelope at all.
    """
    if value is None:
        raise PoisonError("the record has no value")
    poison: list[PoisonError] = []
    try:
        envelope = _ENVELOPE.decode(value)
    except BAD_BYTES:
        envelope, poison = _decode_loosely(value)
    if len(envelope.gateway) > TEXT_CHARS_MAX:
        raise PoisonError("the gateway's name has no end")
    check_clock(envelope.clock)
    anchors = len(envelope.clock)
    good, faulty = sift(envelope.requests, lambda asked: _fault(asked, anchors))
    if faulty:
        envelope = Envelope(gateway=envelope.gateway, requests=good, clock=envelope.clock)
    return envelope, poison + faulty


def _decode_loosely(value: bytes) -> tuple[Envelope, list[PoisonError]]:
    loose = decode_loose(value, _LOOSE_ENVELOPE)
    requests, poison = decode_each(loose.requests, _ACCEPTED)
    return Envelope(gateway=loose.gateway, requests=requests, clock=loose.clock), poison


class _Versioned(Protocol):
    v: int


_L = TypeVar("_L", bound=_Versioned)
_T = TypeVar("_T")


def decode_loose(value: bytes, decoder: msgspec.json.Decoder[_L]) -> _L:
    """An envelope whose requests are still bytes. Raises PoisonError when it is none."""
    try:
        loose = decoder.decode(value)
    except BAD_BYTES as error:
        raise PoisonError(f"not an envelope: {error}") from error
    if loose.v != 1:
        raise PoisonError(f"envelope version {loose.v} is not known")
    return loose


def decode_each(
    requests: Iterable[msgspec.Raw], decoder: msgspec.json.Decoder[_T]
) -> tuple[list[_T], list[PoisonError]]:
    """The requests that can be decoded, and why the others cannot: each costs only itself."""
    good: list[_T] = []
    poison: list[PoisonError] = []
    for index, raw in enumerate(requests):
        try:
            good.append(decoder.decode(raw))
        except BAD_BYTES as error:
            poison.append(PoisonError(f"request {index}: {error}"))
    return good, poison


def sift(
    requests: Iterable[_T], fault_of: Callable[[_T], str]
) -> tuple[list[_T], list[PoisonError]]:
    """The requests without a fault, and the faults of the others; `fault_of` says "" for none."""
    good: list[_T] = []
    poison: list[PoisonError] = []
    for index, asked in enumerate(requests):
        fault = fault_of(asked)
        if fault:
            poison.append(PoisonError(f"request {index}: {fault}"))
        else:
            good.append(asked)
    return good, poison


def _fault(asked: Accepted, anchors: int) -> str:
    """What is wrong with a request of the right shape; empty when nothing is."""
    if asked.room == "":
        if asked.request.__struct_config__.tag != "lease.renew":
            return "names no room"
    elif not is_room_id(asked.room):
        return "not a room id"
    if not is_actor_id(asked.actor):
        return "not an actor id"
    if not 0 <= asked.at_us <= AT_US_MAX:
        return "accepted at no time"
    if isinstance(asked.anchor, int) and not 0 <= asked.anchor < anchors:
        return f"anchor {asked.anchor} is not in the envelope"
    for text in (asked.session, asked.traceparent):
        if isinstance(text, str) and len(text) > TEXT_CHARS_MAX:
            return "a text without end"
    return ""


def check_clock(clock: list[ClockEntry]) -> None:
    """Raise PoisonError when an envelope's clock holds what no clock tells."""
    for index, entry in enumerate(clock):
        anchor = entry.anchor
        values = (
            *(anchor.epoch, anchor.rate, anchor.rtp, anchor.pts_ms, anchor.wall_ms),
            *(anchor.offset_ms, anchor.err_ms, anchor.at_us / 1000, entry.lag_ms),
        )
        if not all(-_CLOCK_MAX <= value <= _CLOCK_MAX for value in values):
            raise PoisonError(f"clock {index} is out of range")
