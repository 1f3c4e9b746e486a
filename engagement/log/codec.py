"""Bytes of records to structs and back; anything undecodable is a `PoisonError` with a reason."""

from typing import Any, Final

import msgspec

from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import Decided, Fact, RawFact, fact

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

_BAD_BYTES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class PoisonError(Exception):
    """A record, or a part of one, that cannot be decoded; `reason` goes to the dead letters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_fact(decided: Decided) -> bytes:
    """The record value of a fact: one CloudEvent in structured JSON mode."""
    return _ENCODER.encode(fact(decided))


def encode_event(event: Fact) -> bytes:
    """The record value of a CloudEvent that is in its wire form already."""
    return _ENCODER.encode(event)


def decode_raw(value: bytes | None) -> RawFact:
    """The head of a fact, its data still bytes. Raises PoisonError."""
    if value is None:
        raise PoisonError("the record has no value")
    try:
        return _RAW_FACT.decode(value)
    except _BAD_BYTES as error:
        raise PoisonError(f"not a fact: {error}") from error


def decode_data(raw: RawFact) -> Any:
    """The data of a fact. Raises PoisonError on an unknown type or a wrong shape."""
    try:
        return raw.decode()
    except KeyError as error:
        raise PoisonError(f"unknown fact type {raw.type!r}") from error
    except _BAD_BYTES as error:
        raise PoisonError(f"bad data of {raw.type}: {error}") from error


def encode_envelope(envelope: Envelope) -> bytes:
    """The record value of an envelope."""
    return _ENCODER.encode(envelope)


def decode_envelope(value: bytes | None) -> tuple[Envelope, list[PoisonError]]:
    """An envelope, and what of its requests could not be decoded.

    Raises PoisonError when the record is no envelope at all.
    """
    if value is None:
        raise PoisonError("the record has no value")
    try:
        return _ENVELOPE.decode(value), []
    except _BAD_BYTES:
        return _decode_loosely(value)


def _decode_loosely(value: bytes) -> tuple[Envelope, list[PoisonError]]:
    try:
        loose = _LOOSE_ENVELOPE.decode(value)
    except _BAD_BYTES as error:
        raise PoisonError(f"not an envelope: {error}") from error
    if loose.v != 1:
        raise PoisonError(f"envelope version {loose.v} is not known")
    requests: list[Accepted] = []
    poison: list[PoisonError] = []
    for index, raw in enumerate(loose.requests):
        try:
            requests.append(_ACCEPTED.decode(raw))
        except _BAD_BYTES as error:
            poison.append(PoisonError(f"request {index}: {error}"))
    return Envelope(gateway=loose.gateway, requests=requests, clock=loose.clock), poison
