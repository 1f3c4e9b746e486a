"""Cursors: opaque, and refused unless they are of this very list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from projections.cursors import (
    CURSOR_CHARS_MAX,
    RANK_CURSOR_CHARS_MAX,
    Place,
    Rank,
    decode_cursor,
    decode_rank,
    encode_cursor,
    encode_rank,
)

INTEGERS = st.integers(-(2**63), 2**63 - 1)
PLACES = st.builds(Place, INTEGERS, INTEGERS, st.integers(-(2**31), 2**31 - 1), INTEGERS)


@given(PLACES)
def test_a_cursor_leads_back_to_its_place(place: Place) -> None:
    cursor = encode_cursor("timeline", "room", place)
    assert decode_cursor("timeline", "room", cursor, "after") == place
    assert len(cursor) <= CURSOR_CHARS_MAX


@given(st.text(max_size=100))
def test_any_other_text_is_refused_with_the_name_of_its_parameter(text: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        decode_cursor("timeline", "room", text, "after")
    assert refused.value.field == "after"
    assert refused.value.code == "bad_cursor"


@pytest.mark.parametrize(("kind", "room"), [("comments", "room"), ("timeline", "other")])
def test_a_cursor_of_another_list_or_room_is_refused(kind: str, room: str) -> None:
    cursor = encode_cursor("timeline", "room", Place(1, 2, 3, 4))
    with pytest.raises(BadRequestError):
        decode_cursor(kind, room, cursor, "after")


@given(PLACES, st.integers(0, 42), st.sampled_from("ABCxyz019-_"))
def test_a_cursor_that_was_changed_on_its_way_is_refused_or_is_the_same(
    place: Place, at: int, to: str
) -> None:
    cursor = encode_cursor("timeline", "room", place)
    changed = cursor[:at] + to + cursor[at + 1 :]
    try:
        assert decode_cursor("timeline", "room", changed, "after") == place
    except BadRequestError:
        assert changed != cursor


RANKS = st.builds(
    Rank,
    st.integers(1, 2**63 - 1),
    st.integers(1, 2**63 - 1),
    st.text("abcXYZ019_.~@:+=|-", min_size=1, max_size=128),
)


@given(RANKS)
def test_a_cursor_of_a_board_leads_back_to_its_rank(rank: Rank) -> None:
    cursor = encode_rank("day", "room", rank)
    assert decode_rank("day", "room", cursor, "after") == rank
    assert len(cursor) <= RANK_CURSOR_CHARS_MAX
    for board, room in (("all", "room"), ("day", "other")):
        with pytest.raises(BadRequestError) as refused:
            decode_rank(board, room, cursor, "after")
        assert (refused.value.field, refused.value.code) == ("after", "bad_cursor")


@given(st.text(max_size=300))
def test_any_other_text_is_no_rank(text: str) -> None:
    with pytest.raises(BadRequestError):
        decode_rank("all", "room", text, "after")


def test_places_sort_as_facts_do_by_epoch_then_media_time_then_position() -> None:
    places = [Place(1, 5, 0, 9), Place(1, 5, 0, 10), Place(1, 6, 0, 1), Place(2, -7, 0, 0)]
    assert sorted(places) == places
