"""Records about money: whatever the bytes are, the answer is requests or a reason."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain import ledger_requests as asks
from engagement.domain.envelope import ClockEntry
from engagement.domain.ledger_requests import MoneyAsked, MoneyEnvelope
from engagement.domain.media_time import Anchor
from engagement.log.codec import PoisonError
from engagement.log.money_codec import (
    decode_money_envelope,
    encode_money_envelope,
    read_money_requests,
)
from engagement.log.topics import partition_of
from tests.unit.domain_parts import T0_US, request_id
from tests.unit.ledger_parts import ANA, PRICES, ask, deposit, gift, hold, passed, reversal

CLOCK = [ClockEntry(Anchor("anchor", 1, 90_000, 0, 0.0, 0.0, 0.0, 1.0, T0_US), 2.5)]
MARK = asks.BattleMark(id=request_id(), data=asks.MarkedBattle("fight", 1, 8))


def faults(*asked: MoneyAsked, clock: list[ClockEntry] | None = None) -> list[str]:
    """Why some of these are set aside."""
    value = encode_money_envelope(MoneyEnvelope("gw", list(asked), clock or [], PRICES))
    _, poison = decode_money_envelope(value)
    return [error.reason for error in poison]


def test_an_envelope_comes_back_as_it_was() -> None:
    asked = [
        gift("fox", 3, anchor=0, session="gw/1"),
        ask(deposit(source="promotion")),
        ask(hold(to="eva")),
        ask(reversal(request_id(1))),
        passed(T0_US),
        ask(MARK, account=""),
    ]
    envelope = MoneyEnvelope("gw", asked, CLOCK, PRICES)
    assert decode_money_envelope(encode_money_envelope(envelope)) == (envelope, [])


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (ask(deposit(), account=""), "names no account"),
        (ask(deposit(), account="a b"), "names no account"),
        (ask(MARK), "an internal request names an account"),
        (ask(deposit(), actor="a\n"), "not an actor id"),
        (gift(room="a/b"), "not a room id"),
        (gift(host="a b"), "not a host"),
        (ask(hold(to="eva\0")), "held for nobody"),
        (ask(deposit(), at_us=-1), "accepted at no time"),
        (ask(deposit(), at_us=1 << 62), "accepted at no time"),
        (gift(anchor=0), "anchor 0 is not in the envelope"),
        (gift(terms=3), "terms 3 are not in the envelope"),
        (gift(terms=-1), "terms -1 are not in the envelope"),
        (gift(session="x" * 513), "a text without end"),
        (
            msgspec.structs.replace(
                passed(T0_US),
                request=asks.TimePassed(id=request_id(), data=asks.Moment(1 << 70)),
            ),
            "a moment that never comes",
        ),
    ],
)
def test_a_request_that_cannot_be_decided_is_set_aside_alone(asked: MoneyAsked, why: str) -> None:
    assert faults(gift(), asked, ask(deposit())) == [f"request 1: {why}"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("coins", 0),
        ("coins", -1),
        ("coins", 1.5),
        ("coins", "5"),
        ("coins", True),
        ("coins", 1 << 63),
        ("source", "theft"),
        ("extra", 1),
    ],
)
def test_a_request_of_a_wrong_shape_costs_only_itself(field: str, value: Any) -> None:
    envelope = msgspec.json.decode(
        encode_money_envelope(MoneyEnvelope("gw", [ask(deposit()), ask(deposit(7))]))
    )
    envelope["asks"][0]["request"]["data"][field] = value
    decoded, poison = decode_money_envelope(msgspec.json.encode(envelope))
    assert [asked.request.data.coins for asked in decoded.asks] == [7]  # type: ignore[union-attr]
    assert len(poison) == 1
    assert poison[0].reason.startswith("request 0: ")


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[]", b'{"gateway":"g","asks":[{}],"v":2}', b'{"asks":1}']
)
def test_what_is_no_envelope_is_poison_as_a_whole(value: bytes | None) -> None:
    with pytest.raises(PoisonError):
        decode_money_envelope(value)
    envelope, poison = read_money_requests(value, 0, 8)
    assert envelope is None
    assert len(poison) == 1


def test_a_gateway_without_end_is_poison() -> None:
    with pytest.raises(PoisonError):
        decode_money_envelope(encode_money_envelope(MoneyEnvelope("g" * 513, [])))


def test_an_account_that_lives_elsewhere_is_not_decided_about_here() -> None:
    home = partition_of(ANA, 8)
    value = encode_money_envelope(MoneyEnvelope("gw", [gift(), passed(T0_US)], terms=PRICES))
    envelope, poison = read_money_requests(value, home, 8)
    assert envelope is not None and len(envelope.asks) == 2 and poison == []
    envelope, poison = read_money_requests(value, (home + 1) % 8, 8)
    assert envelope is not None
    assert [asked.account for asked in envelope.asks] == [""]  # A timer is at home everywhere.
    assert [error.reason for error in poison] == ["ana is not in this partition"]


@given(st.binary(max_size=200))
def test_any_bytes_are_requests_or_a_reason(value: bytes) -> None:
    envelope, poison = read_money_requests(value, 0, 8)
    assert envelope is not None or poison


@given(st.data())
def test_a_record_that_was_damaged_is_requests_or_reasons(data: st.DataObject) -> None:
    asked = [gift(), ask(deposit()), ask(hold())]
    whole = encode_money_envelope(MoneyEnvelope("gw", asked, CLOCK, PRICES))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]
    envelope, _ = read_money_requests(damaged, partition_of(ANA, 8), 8)
    for each in () if envelope is None else envelope.asks:
        assert isinstance(each, MoneyAsked)
