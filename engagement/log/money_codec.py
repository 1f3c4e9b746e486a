"""Records of `live.gift-requests.v1` to structs and back."""

from functools import lru_cache
from typing import Final

import msgspec

from engagement.domain.catalogue import PricedGift
from engagement.domain.envelope import ClockEntry
from engagement.domain.ledger_requests import (
    BattleMark,
    HoldPlace,
    MoneyAsked,
    MoneyEnvelope,
    TimePassed,
)
from engagement.domain.names import is_actor_id, is_room_id
from engagement.log.codec import (
    AT_US_MAX,
    BAD_BYTES,
    TEXT_CHARS_MAX,
    PoisonError,
    check_clock,
    decode_each,
    decode_loose,
    sift,
)
from engagement.log.topics import partition_of

_ENCODER: Final = msgspec.json.Encoder()
_ENVELOPE: Final = msgspec.json.Decoder(MoneyEnvelope)
_ASKED: Final = msgspec.json.Decoder(MoneyAsked)


class _LooseEnvelope(msgspec.Struct):
    """An envelope whose requests are still bytes: one poison request costs only itself."""

    gateway: str
    asks: list[msgspec.Raw]
    clock: list[ClockEntry] = []
    terms: list[PricedGift] = []
    v: int = 1


_LOOSE: Final = msgspec.json.Decoder(_LooseEnvelope)


def encode_money_envelope(envelope: MoneyEnvelope) -> bytes:
    """The record value of an envelope of money requests."""
    return _ENCODER.encode(envelope)


def decode_money_envelope(value: bytes | None) -> tuple[MoneyEnvelope, list[PoisonError]]:
    """The envelope of all requests that can be decided, and why the others cannot.

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
    anchors, terms = len(envelope.clock), len(envelope.terms)
    good, faulty = sift(envelope.asks, lambda asked: _fault(asked, anchors, terms))
    if faulty:
        envelope = msgspec.structs.replace(envelope, asks=good)
    return envelope, poison + faulty


def read_money_requests(
    value: bytes | None, partition: int, partitions: int
) -> tuple[MoneyEnvelope | None, list[PoisonError]]:
    """What of a record this partition decides about, and why not the rest; never raises.

    A request of an account that lives elsewhere is not decided here: its wallet would have two
    halves.
    """
    try:
        envelope, poison = decode_money_envelope(value)
    except PoisonError as error:
        return None, [error]
    strangers = [
        asked for asked in envelope.asks
        if asked.account and _partition_of(asked.account, partitions) != partition
    ]  # fmt: skip
    if strangers:
        poison += [PoisonError(f"{asked.account} is not in this partition") for asked in strangers]
        asks = [asked for asked in envelope.asks if asked not in strangers]
        envelope = msgspec.structs.replace(envelope, asks=asks)
    return envelope, poison


_partition_of: Final = lru_cache(maxsize=65_536)(partition_of)
"""Hashing is pure Python; accounts come again."""


def _decode_loosely(value: bytes) -> tuple[MoneyEnvelope, list[PoisonError]]:
    loose = decode_loose(value, _LOOSE)
    asks, poison = decode_each(loose.asks, _ASKED)
    return MoneyEnvelope(loose.gateway, asks, loose.clock, loose.terms), poison


def _fault(asked: MoneyAsked, anchors: int, terms: int) -> str:
    """What is wrong with a request of the right shape; empty when nothing is."""
    fault = _nameless(asked)
    if fault:
        return fault
    if not 0 <= asked.at_us <= AT_US_MAX:
        return "accepted at no time"
    if isinstance(asked.request, TimePassed) and not 0 <= asked.request.data.at_us <= AT_US_MAX:
        return "a moment that never comes"
    if isinstance(asked.anchor, int) and not 0 <= asked.anchor < anchors:
        return f"anchor {asked.anchor} is not in the envelope"
    if isinstance(asked.terms, int) and not 0 <= asked.terms < terms:
        return f"terms {asked.terms} are not in the envelope"
    for text in (asked.session, asked.traceparent):
        if isinstance(text, str) and len(text) > TEXT_CHARS_MAX:
            return "a text without end"
    return ""


def _nameless(asked: MoneyAsked) -> str:
    """Which name is none; what is no name may be what no table takes."""
    is_internal = isinstance(asked.request, BattleMark | TimePassed)
    if is_internal and asked.account:
        return "an internal request names an account"
    if not is_internal and not is_actor_id(asked.account):
        return "names no account"
    if not is_actor_id(asked.actor):
        return "not an actor id"
    if asked.room and not is_room_id(asked.room):
        return "not a room id"
    if asked.host and not is_actor_id(asked.host):
        return "not a host"
    if isinstance(asked.request, HoldPlace) and asked.request.data.to:
        return "" if is_actor_id(asked.request.data.to) else "held for nobody"
    return ""
