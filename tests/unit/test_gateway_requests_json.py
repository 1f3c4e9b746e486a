"""Reading requests: a bad one is rejected alone and named, a bad body is no list of requests."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain import limits
from engagement.domain.requests import CommentPost, CommentRemove, LikeTap
from engagement.errors import BadRequestError, TooLargeError
from engagement.gateway.requests_json import Malformed, check_unique_keys, parse

ID = "7f1f5c9e-6f0e-4d0a-9a3e-2f4d7b6a1c11"


def request(kind: str = "comment.post", **fields: Any) -> dict[str, Any]:
    return {"id": ID, "type": kind, "data": {"text": "hello"}, **fields}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def only_malformed(raw: bytes) -> Malformed:
    [item] = parse(raw).items
    assert isinstance(item, Malformed)
    return item


def test_one_request_and_an_array_are_told_apart() -> None:
    assert parse(body(request())).single
    assert not parse(b" \n" + body([request()])).single
    assert parse(b"[]").items == []


def test_a_bad_item_is_rejected_alone_with_its_field() -> None:
    good, bad, other = parse(
        body([request(), request(data={"text": 7}), {"id": ID, "type": "like.tap", "data": {}}])
    ).items
    assert isinstance(good, CommentPost)
    assert bad == Malformed(ID, "bad_request", "Expected `str`, got `int`", "$.data.text")
    assert isinstance(other, LikeTap)


@pytest.mark.parametrize(
    ("item", "code", "field"),
    [
        (request(kind="comment.sing"), "unknown_type", "$.type"),
        ({"id": ID, "data": {}}, "bad_request", "$.type"),
        ({"type": "like.tap", "data": {}}, "bad_request", "$.id"),
        (request(id="not a uuid"), "bad_request", "$.id"),
        (request(id=ID + "\n"), "bad_request", "$.id"),
        (request(data={}), "bad_request", "$.data.text"),
        (request(data={"text": ""}), "bad_request", "$.data.text"),
        (request(data={"text": "x" * 501}), "bad_request", "$.data.text"),
        (request(data={"text": "x", "loud": True}), "bad_request", "$.data.loud"),
        (request(data={"text": "a\x00b"}), "bad_request", "$.data.text"),
        (request(colour="red"), "bad_request", "$.colour"),
        (request(actor="a b"), "bad_request", "$.actor"),
        (request(kind="like.tap", data={"count": 0}), "bad_request", "$.data.count"),
        (request(kind="like.tap", data={"count": 1001}), "bad_request", "$.data.count"),
        (request(kind="like.tap", data={"count": 1.5}), "bad_request", "$.data.count"),
        (request(kind="like.tap", data={"count": 10**400}), "bad_request", "$.data.count"),
        (request(kind="room.open"), "unknown_type", "$.type"),
        (request(kind="lease.renew"), "unknown_type", "$.type"),
        (7, "bad_request", None),
        ([], "bad_request", None),
    ],
)
def test_each_wrong_value_is_named(item: Any, code: str, field: str | None) -> None:
    [malformed] = parse(body([item])).items
    assert isinstance(malformed, Malformed)
    assert (malformed.code, malformed.field) == (code, field)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nope",
        b"{",
        b'{"id":}',
        b"[1,]",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id":NaN}',
        b'[{"id":1}] trailing',
        b"\xff\xfe",
    ],
)
def test_a_body_that_is_no_json_is_refused_as_a_whole(raw: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse(raw)


def test_text_that_is_not_utf8_is_malformed() -> None:
    raw = body(request()).replace(b"hello", b"h\xffllo")
    assert only_malformed(b"[" + raw + b"]").detail == "JSON is not valid UTF-8"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":"%s","type":"comment.post","data":{"text":"a","text":"b"}}',
        b'{"id":"%s","type":"comment.post","data":{"text":"a","te\\u0078t" :"b"}}',
        b'{"id":"%s","type":"comment.post","type":"comment.post","data":{"text":"a"}}',
        b'{"id":"%s","type":"comment.post","data":{"text":"a\\":b"},"data"\n:{"text":"b"}}',
    ],
)
def test_a_key_that_is_written_twice_is_refused(raw: bytes) -> None:
    assert "twice" in only_malformed(raw % ID.encode()).detail


@pytest.mark.parametrize(
    "text", [":)", 'a":b', 'a\\":b', 'a" : b', "a\\", '":"', '{"x":{"x":1}}', "ü:"]
)
def test_quotes_and_colons_in_a_text_are_no_keys(text: str) -> None:
    [item] = parse(body(request(data={"text": text}))).items
    assert isinstance(item, CommentPost)
    assert item.data.text == text


def test_a_batch_at_the_bound_is_read_and_one_beyond_it_is_refused() -> None:
    assert len(parse(body([request()] * limits.BATCH_REQUESTS_MAX)).items) == 500
    for item in (request(), 7):
        with pytest.raises(TooLargeError):
            parse(body([item] * (limits.BATCH_REQUESTS_MAX + 1)))


def test_ids_that_name_comments_have_one_spelling() -> None:
    target = str(uuid.uuid4()).upper()
    [remove] = parse(body(request("comment.remove", data={"target": target}))).items
    assert isinstance(remove, CommentRemove)
    assert remove.data.target == target.lower()
    [reply] = parse(body(request(data={"text": "x", "reply_to": target}))).items
    assert isinstance(reply, CommentPost)
    assert reply.data.reply_to == target.lower()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values, st.sampled_from([None, 1]))
def test_no_valid_json_is_taken_to_have_a_key_twice(value: Any, indent: int | None) -> None:
    check_unique_keys(json.dumps(value, indent=indent).encode())


@given(st.binary(max_size=200) | values.map(body))
def test_no_body_makes_the_reader_fail(raw: bytes) -> None:
    try:
        parsed = parse(raw)
    except (BadRequestError, TooLargeError):
        return
    assert all(isinstance(item, Malformed) for item in parsed.items)
