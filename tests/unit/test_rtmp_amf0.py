"""AMF0 values: both ways, and nothing but a typed error for what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.rtmp import bounds
from media.rtmp.amf0 import decode, encode

values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(values, max_size=4))
def test_values_are_the_same_after_both_ways(told: list[object]) -> None:
    assert decode(encode(*told)) == told  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_junk_is_values_or_a_typed_error(junk: bytes) -> None:
    try:
        decode(junk)
    except BadRequestError as error:
        assert error.code == "bad_amf"


def test_an_array_with_a_wrong_count_is_read_to_its_end() -> None:
    # FFmpeg's onMetaData counts other than it writes.
    assert decode(b"\x08\x00\x00\x00\x63\x00\x01a\x05\x00\x00\x09") == [{"a": None}]


def test_dates_and_long_strings_are_read() -> None:
    assert decode(b"\x0b" + encode(5.0)[1:] + b"\0\0") == [5.0]
    assert decode(b"\x0c\0\0\0\x02hi") == ["hi"]


@pytest.mark.parametrize(
    "endless",
    [
        b"\x03\x00\x01a" * 50,  # objects in objects
        b"\x0a\x00\x00\x00\x01" * 50,  # arrays in arrays
        b"\x0a\xff\xff\xff\xff",  # four billion values
        b"\x05" * 1_000,  # a thousand of them
    ],
)
def test_depth_and_number_of_values_are_bounded(endless: bytes) -> None:
    with pytest.raises(BadRequestError):
        decode(endless)
    assert len(decode(b"\x05" * bounds.AMF_ITEMS_MAX)) == bounds.AMF_ITEMS_MAX
