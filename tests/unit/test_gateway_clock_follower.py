"""Following the media clocks: each news once, and poison passed over."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from engagement.domain.media_time import Anchor
from engagement.gateway.clock_follower import ClockFollower
from tests.unit.gateway_parts import fact_bytes


@dataclass
class Record:
    value: bytes | None


def anchored(
    room: str = "kitchen", epoch: int = 1, at_us: int = 1, kind: str = "clock.anchored", **more: Any
) -> bytes:
    data = {
        "epoch": epoch,
        "engine": "synthetic",
        "rate": 90_000,
        "rtp": 7,
        "pts_ms": 100.0,
        "wall_ms": 1_000.0,
        "offset_ms": 0.0,
        "err_ms": 1.0,
        "at_us": at_us,
        **more,
    }
    return fact_bytes(room, kind, data, fact_id=f"{epoch}-{at_us}")


@pytest.fixture
def told() -> list[tuple[str, Anchor]]:
    return []


@pytest.fixture
def follower(told: list[tuple[str, Anchor]]) -> ClockFollower:
    return ClockFollower(lambda room, anchor: told.append((room, anchor)))


def test_each_anchor_is_told_once_and_the_newest_is_known(
    follower: ClockFollower, told: list[tuple[str, Anchor]]
) -> None:
    follower.handle(0, [Record(anchored(at_us=1)), Record(anchored(at_us=2))])
    follower.handle(0, [Record(anchored(at_us=2)), Record(anchored(at_us=1))])
    assert [(room, anchor.id) for room, anchor in told] == [("kitchen", "1-1"), ("kitchen", "1-2")]
    clock = follower.clock("kitchen")
    assert clock is not None
    assert clock.current == told[-1][1]
    assert follower.clock("garden") is None


def test_the_last_anchor_of_a_closed_epoch_stands_until_a_new_one_opens(
    follower: ClockFollower,
) -> None:
    follower.handle(
        0, [Record(anchored(at_us=1)), Record(anchored(at_us=2, kind="clock.epoch.closed"))]
    )
    clock = follower.clock("kitchen")
    assert clock is not None
    assert clock.current is not None
    assert clock.current.id == "1-2"
    follower.handle(0, [Record(anchored(epoch=2, at_us=3, kind="clock.epoch.opened"))])
    assert clock.current.epoch == 2


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"nonsense",
        b"\xff",
        b'{"id":' + b"[" * 100_000,
        anchored(rate="fast"),
        anchored(kind="clock.broken"),
        anchored(room="no room"),
        fact_bytes("kitchen"),
        msgspec.json.encode({"id": "x"}),
    ],
)
def test_poison_is_passed_over(
    follower: ClockFollower, told: list[tuple[str, Anchor]], value: bytes | None
) -> None:
    follower.handle(0, [Record(value), Record(anchored(at_us=9))])
    assert [anchor.id for _, anchor in told] == ["1-9"]
