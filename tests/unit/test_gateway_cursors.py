"""Cursors: what one gateway gives another takes, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.gateway.cursors import Cursors


def cursors_of(cluster: str) -> Cursors:
    cursors = Cursors()
    cursors.name_log(cluster)
    return cursors


@given(st.text(), st.integers(0, 1023), st.integers(0, 10**18 - 1))
def test_a_cursor_is_read_back_by_any_gateway_of_the_same_log(
    cluster: str, partition: int, offset: int
) -> None:
    text = cursors_of(cluster).text(partition, offset)
    assert cursors_of(cluster).offset_of(text, partition) == offset


def test_a_cursor_of_another_partition_is_none_of_this_room() -> None:
    assert Cursors().offset_of(Cursors().text(3, 17), 4) is None


def test_a_cursor_of_another_log_is_none_of_this_one() -> None:
    """The data directory was wiped: the offset exists again, and is another place."""
    assert cursors_of("new").offset_of(cursors_of("old").text(3, 17), 3) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "3", "3-17", "00000000", "00000000-3", "00000000-3-", "00000000-3-17 ",
        "00000000-3--17", "00000000-3-x", "00000000-3-1.5", "00000000-٣-17",
        "00000000-3-" + "9" * 19, "00000000-3-17\n", "0000000-3-17", "0000000G-3-17",
    ],
)  # fmt: skip
def test_garbage_is_no_cursor(text: str) -> None:
    assert Cursors().offset_of(text, 3) is None


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    Cursors().offset_of(text, 3)
