"""Records of `live.battle-requests.v1` to structs and back."""

from typing import Final

import msgspec

from engagement.domain.battle_requests import BattleAsked, BattleEnvelope
from engagement.domain.names import is_actor_id, is_room_id
from engagement.log.codec import (
    AT_US_MAX,
    BAD_BYTES,
    TEXT_CHARS_MAX,
    PoisonError,
    decode_each,
    decode_loose,
    sift,
)

_ENCODER: Final = msgspec.json.Encoder()
_ENVELOPE: Final = msgspec.json.Decoder(BattleEnvelope)
_ASKED: Final = msgspec.json.Decoder(BattleAsked)


class _LooseEnvelope(msgspec.Struct):
    """An envelope whose requests are still bytes: one poison request costs only itself."""

    origin: str
    asks: list[msgspec.Raw]
    v: int = 1


_LOOSE: Final = msgspec.json.Decoder(_LooseEnvelope)


def encode_battle_envelope(envelope: BattleEnvelope) -> bytes:
    """The record value of an envelope of battle requests."""
    return _ENCODER.encode(envelope)


def decode_battle_envelope(value: bytes | None) -> tuple[BattleEnvelope, list[PoisonError]]:
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
    if len(envelope.origin) > TEXT_CHARS_MAX:
        raise PoisonError("the origin's name has no end")
    good, faulty = sift(envelope.asks, _fault)
    if faulty:
        envelope = BattleEnvelope(envelope.origin, good)
    return envelope, poison + faulty


def _decode_loosely(value: bytes) -> tuple[BattleEnvelope, list[PoisonError]]:
    loose = decode_loose(value, _LOOSE)
    asks, poison = decode_each(loose.asks, _ASKED)
    return BattleEnvelope(loose.origin, asks), poison


def _fault(asked: BattleAsked) -> str:
    """What is wrong with a request of the right shape; empty when nothing is."""
    if not is_room_id(asked.battle):
        return "not a battle id"
    if not is_actor_id(asked.actor):
        return "not an actor id"
    if not 0 <= asked.at_us <= AT_US_MAX:
        return "accepted at no time"
    return ""
