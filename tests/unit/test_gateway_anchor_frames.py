"""What viewers are told of media clocks."""

import json

import pytest

from engagement.domain.media_time import Anchor
from engagement.gateway.frames import anchor_fields, clock_frame

RUNNING = Anchor("a", 1, 90_000, 0, 5_000.0, 1_000.0, 2.0, 1.5, 1_002_000)
ENDED = Anchor("b", 1, 90_000, 0, 9_960.0, 5_960.0, 2.0, 1.5, 7_000_000, ended=True)


@pytest.mark.parametrize("anchor", [RUNNING, ENDED])
def test_an_anchor_is_told_whole(anchor: Anchor) -> None:
    told = anchor_fields(anchor)
    assert Anchor(**told) == anchor


def test_viewers_are_told_that_media_time_stands_still() -> None:
    frame = json.loads(clock_frame(ENDED)[clock_frame(ENDED).index(b"{") :])
    assert frame["anchor"]["ended"] is True
    assert "ended" not in anchor_fields(RUNNING)
