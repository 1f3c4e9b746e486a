"""What a stream id says, and what it does not."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.srt.stream_id import StreamId, parse_stream_id


@pytest.mark.parametrize(
    ("text", "room", "key"),
    [
        ("#!::r=demo,m=publish,s=secret", "demo", "secret"),
        ("#!::m=publish,r=demo", "demo", ""),
        ("#!::u=anna,r=demo,m=publish,t=stream,s=a.b-c=", "demo", "a.b-c="),
        ("publish:demo:secret", "demo", "secret"),
        ("publish%3Ademo%3Ase%2Ecret", "demo", "se.cret"),
        ("publish:demo", "demo", ""),
        ("%23%21%3A%3Ar%3Ddemo%2Cm%3Dpublish%2Cs%3Dsecret", "demo", "secret"),
        ("publish%3Ademo%3Asecret", "demo", "secret"),
    ],
)
def test_both_forms_name_a_room_and_a_key(text: str, room: str, key: str) -> None:
    assert parse_stream_id(text) == StreamId(room, key)


@pytest.mark.parametrize(
    "text",
    ["", "demo", "#!::", "#!::m=publish", "#!::r", "#!::r=a,r=b,m=publish", "#!::r=" + "a" * 600],
)
def test_other_ids_are_refused_with_the_form_that_is_expected(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_stream_id(text)


@pytest.mark.parametrize(
    "text", ["#!::r=demo,m=request", "#!::r=demo", "#!::r=demo,m=bidirectional"]
)
def test_who_wants_to_watch_is_told_where(text: str) -> None:
    with pytest.raises(BadRequestError, match="WebRTC or HLS"):
        parse_stream_id(text)


@given(st.text(max_size=600))
def test_whatever_is_said_is_read_or_refused(text: str) -> None:
    for each in (text, "#!::" + text, "publish:" + text):
        with contextlib.suppress(BadRequestError):
            assert isinstance(parse_stream_id(each).room, str)
