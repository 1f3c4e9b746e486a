"""Cursors: what one gateway gives another takes, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.gateway.cursors import cursor, offset_of


@given(st.integers(0, 1023), st.integers(0, 10**18 - 1))
def test_a_cursor_is_read_back(partition: int, offset: int) -> None:
    assert offset_of(cursor(partition, offset), partition) == offset


def test_a_cursor_of_another_partition_is_none_of_this_room() -> None:
    assert offset_of(cursor(3, 17), 4) is None


@pytest.mark.parametrize(
    "text",
    ["", "3", "3-", "-17", "3-17 ", "3--17", "3-x", "3-1.5", "٣-17", "3-" + "9" * 19, "3-17\n"],
)
def test_garbage_is_no_cursor(text: str) -> None:
    assert offset_of(text, 3) is None


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    offset_of(text, 3)
