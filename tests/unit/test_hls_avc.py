"""H.264 parameter sets and NAL units, against what libx264 makes and FFmpeg reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.hls.avc import (
    PARAMETER_SET_BYTES_MAX,
    PARAMETER_SETS_MAX,
    length_prefixed,
    parameter_sets,
    picture,
    split_annex_b,
)
from tests.unit.encoded import h264


def _sps(size: tuple[int, int]) -> bytes:
    units = split_annex_b(h264(1, size=size)[0][3])
    sets = parameter_sets(units)
    assert sets is not None
    return sets.sps[0]


@pytest.mark.parametrize("size", [(160, 96), (320, 180), (1920, 1080), (98, 50), (16, 16)])
def test_the_size_of_a_picture_is_read_with_its_cropping(size: tuple[int, int]) -> None:
    seen = picture(_sps(size))
    assert (seen.width, seen.height) == size


def test_units_are_split_at_start_codes_of_either_length() -> None:
    assert split_annex_b(b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\0\1\x65d") == [
        b"\x67ab",
        b"\x68c",
        b"\x65d",
    ]


def test_data_without_a_start_code_has_no_units() -> None:
    assert split_annex_b(b"\x65 no start code") == []


def test_a_sample_holds_the_slices_with_their_lengths_and_no_parameter_sets() -> None:
    units = [b"\x67sps", b"\x68pps", b"\x09\xf0", b"\x65slice"]
    assert length_prefixed(units) == b"\0\0\0\6\x65slice"


def test_parameter_sets_without_bound_are_refused() -> None:
    few = [b"\x67" + bytes([n]) for n in range(PARAMETER_SETS_MAX)] + [b"\x68"]
    assert parameter_sets(few) is not None
    with pytest.raises(BadRequestError, match="too many"):
        parameter_sets([*few, b"\x67x"])
    longest = b"\x67" + b"x" * (PARAMETER_SET_BYTES_MAX - 1)
    assert parameter_sets([longest, b"\x68"]) is not None
    with pytest.raises(BadRequestError, match="too long"):
        parameter_sets([longest + b"x", b"\x68"])


@given(st.binary(max_size=80), st.integers(0, 60))
def test_a_broken_parameter_set_is_refused_and_nothing_else(junk: bytes, keep: int) -> None:
    for broken in (b"\x67" + junk, _sps((320, 180))[:keep] or b"\x67", b"\x67\x64" + junk):
        try:
            seen = picture(broken)
        except BadRequestError as error:
            assert error.code == "bad_bitstream"
        else:
            assert 0 < seen.width <= 16_384 and 0 < seen.height <= 16_384
