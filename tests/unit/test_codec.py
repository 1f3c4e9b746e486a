"""Bytes to envelopes and facts: whatever they are, the answer is a value or a reason."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import fact
from engagement.domain.media_time import Anchor
from engagement.log.codec import (
    PoisonError,
    decode_data,
    decode_envelope,
    decode_fact,
    decode_raw,
    encode_envelope,
    encode_event,
    encode_fact,
)
from engagement.processors.fact_headers import fact_headers, order_of, writer_of
from tests.unit.domain_parts import T0_US, Rooms, asked, comment, renewal, taps

ANCHOR = Anchor("anchor", 1, 90_000, 0, 0.0, 0.0, 0.0, 1.0, T0_US)


def faults(*requests: Accepted, clock: list[ClockEntry] | None = None) -> list[str]:
    """Why some of these requests are set aside."""
    value = encode_envelope(Envelope("gw", list(requests), clock or []))
    _, poison = decode_envelope(value)
    return [error.reason for error in poison]


def test_an_envelope_comes_back_as_it_was() -> None:
    envelope = Envelope(
        "gw",
        [
            asked(comment("naïve 🎉"), "ann", session="gw/1", anchor=0),
            asked(taps(3), "bob"),
            asked(renewal(), "gw", room=""),
        ],
        [ClockEntry(ANCHOR, 2.5)],
    )
    assert decode_envelope(encode_envelope(envelope)) == (envelope, [])


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked(comment(), room=""), "request 0: names no room"),
        (asked(comment(), room="a/b"), "request 0: not a room id"),
        (asked(comment(), room="a\n"), "request 0: not a room id"),
        (asked(comment(), "a b"), "request 0: not an actor id"),
        (asked(comment(), at_us=-1), "request 0: accepted at no time"),
        (asked(comment(), at_us=1 << 62), "request 0: accepted at no time"),
        (asked(comment(), anchor=0), "request 0: anchor 0 is not in the envelope"),
        (asked(comment(), anchor=-1), "request 0: anchor -1 is not in the envelope"),
        (asked(comment(), session="x" * 513), "request 0: a text without end"),
    ],
)
def test_a_request_that_no_gateway_of_ours_accepts_is_set_aside(
    request_: Accepted, reason: str
) -> None:
    assert faults(request_) == [reason]
    good = asked(taps())
    value = encode_envelope(Envelope("gw", [good, request_, good]))
    envelope, poison = decode_envelope(value)
    assert envelope.requests == [good, good]
    assert len(poison) == 1


@pytest.mark.parametrize("value", [1e16, -1e16, 1e300])
@pytest.mark.parametrize("name", ["pts_ms", "wall_ms", "offset_ms", "err_ms"])
def test_a_clock_that_arithmetic_cannot_hold_is_poison(name: str, value: float) -> None:
    anchor = msgspec.structs.replace(ANCHOR, **{name: value})
    with pytest.raises(PoisonError, match="clock 0 is out of range"):
        faults(asked(comment(), anchor=0), clock=[ClockEntry(anchor)])


def test_a_gateway_with_a_name_without_end_is_poison() -> None:
    with pytest.raises(PoisonError):
        decode_envelope(encode_envelope(Envelope("g" * 513, [])))


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_bytes_of_any_kind_are_poison_and_nothing_else(value: bytes) -> None:
    for decode in (decode_envelope, decode_raw, decode_fact):
        with pytest.raises(PoisonError):
            decode(value)


@settings(deadline=None)
@given(st.data())
def test_an_envelope_with_one_byte_changed_is_read_or_is_poison(data: st.DataObject) -> None:
    value = bytearray(
        encode_envelope(Envelope("gw", [asked(comment(), anchor=0)], [ClockEntry(ANCHOR)]))
    )
    value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        envelope, _ = decode_envelope(bytes(value))
    except PoisonError:
        return
    Rooms().given_open().partition.take(envelope)


@settings(deadline=None)
@given(st.data())
def test_a_fact_with_one_byte_changed_is_read_or_is_poison(data: st.DataObject) -> None:
    [posted] = Rooms().given_open().when(comment(), "ann")
    value = bytearray(encode_fact(posted))
    value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_fact(bytes(value))
    except PoisonError:
        return


def test_a_fact_comes_back_as_it_was() -> None:
    [posted] = Rooms().given_open().when(comment(), "ann")
    assert decode_fact(encode_fact(posted)) == posted
    assert encode_event(fact(posted)) == encode_fact(posted)
    assert decode_data(decode_raw(encode_fact(posted))) == posted.data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "comment.pasted"}, "unknown fact type"),
        ({"time": "yesterday"}, "bad fact"),
        ({"time": "2024-01-01T00:00:00"}, "bad fact"),
        ({"data": {"text": 1}}, "bad fact"),
        ({"mediapts": "1"}, "not a fact"),
    ],
)
def test_what_is_wrong_with_a_fact_is_said(change: dict[str, object], reason: str) -> None:
    [posted] = Rooms().given_open().when(comment(), "ann")
    value = msgspec.json.encode({**msgspec.json.decode(encode_fact(posted)), **change})
    with pytest.raises(PoisonError, match=reason):
        decode_fact(value)
    if "type" in change or "data" in change:
        with pytest.raises(PoisonError):
            decode_data(decode_raw(value))


def test_nothing_is_no_envelope_and_no_fact() -> None:
    for decode in (decode_envelope, decode_raw, decode_fact):
        with pytest.raises(PoisonError, match="no value"):
            decode(None)


def test_headers_tell_the_place_in_the_order_and_the_writer() -> None:
    headers = fact_headers(1234, b"0-abcd")
    assert (order_of(headers), writer_of(headers)) == (1234, b"0-abcd")
    assert dict(headers)["content-type"] == b"application/cloudevents+json"
    for foreign in ((), (("order", b"-1"),), (("order", b"x"),), (("order", b"9" * 30),)):
        assert (order_of(foreign), writer_of(foreign)) == (0, b"")
