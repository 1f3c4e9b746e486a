"""`verify stamps` accepts what follows from the topics, and names everything else."""

from collections import defaultdict

import pytest
from msgspec.structs import replace

from engagement.commands.verify_stamps import Evidence, Verdict, check_stamp
from engagement.domain.events import RawFact, rfc3339
from engagement.domain.media_time import Anchor, stamp

ANCHOR = Anchor(
    id="a", epoch=3, rate=90_000, rtp=0, pts_ms=10_000.0, wall_ms=999_000.0, offset_ms=1_000.0,
    err_ms=30.0, at_us=1_000_020_000,
)  # fmt: skip
AT_US = 1_000_520_000
MADE = stamp(ANCHOR, 8.0, AT_US)
FACT = RawFact(
    id="f", type="comment.posted", time=rfc3339(AT_US), roomid="r", causationid="q",
    mediaepoch=MADE.epoch, mediapts=MADE.pts_ms, mediaerr=MADE.err_ms, mediaanchor="a",
)  # fmt: skip


def evidence(*anchors: Anchor) -> Evidence:
    made = Evidence(
        {anchor.id: anchor for anchor in anchors},
        defaultdict(set),
        defaultdict(set),
        defaultdict(set),
    )
    made.lags_of_request["r", "q"].add((AT_US, "a", 8.0))
    made.lags_at["r", AT_US, "a"].add(8.0)
    made.openings_us["r"].add(AT_US - 2_000_000)
    return made


def test_a_stamp_that_follows_is_counted_with_its_uncertainty() -> None:
    verdict = Verdict()
    assert check_stamp(FACT, evidence(ANCHOR), verdict) == ""
    assert (verdict.stamped, verdict.with_uncertainty) == (1, 1)


def test_a_fact_without_a_cause_has_the_stamp_of_its_instant() -> None:
    verdict = Verdict()
    assert check_stamp(replace(FACT, causationid=""), evidence(ANCHOR), verdict) == ""
    assert verdict.with_uncertainty == 1


@pytest.mark.parametrize(
    "change",
    [
        {"mediapts": MADE.pts_ms + 1},
        {"mediaepoch": 4},
        {"mediaerr": 58.0},
        {"mediaerr": None},
        {"time": rfc3339(AT_US + 2_000)},
        {"mediaanchor": None},
        {"causationid": "", "mediaerr": 1.0},
    ],
)
def test_every_change_of_a_stamp_is_named(change: dict[str, object]) -> None:
    assert check_stamp(replace(FACT, **change), evidence(ANCHOR), Verdict()) != ""


@pytest.mark.parametrize(
    "change", [{"pts_ms": 10_001.0}, {"epoch": 4}, {"err_ms": 31.0}, {"ended": True}]
)
def test_every_change_of_an_anchor_is_named(change: dict[str, object]) -> None:
    assert check_stamp(FACT, evidence(replace(ANCHOR, **change)), Verdict()) != ""


def test_a_compacted_anchor_and_a_forgotten_envelope_are_counted_apart() -> None:
    verdict = Verdict()
    assert check_stamp(FACT, evidence(), verdict) == ""
    assert verdict.anchor_gone == 1
    forgotten = evidence(ANCHOR)
    forgotten.lags_of_request.clear()
    assert check_stamp(FACT, forgotten, verdict) == ""
    assert (verdict.stamped, verdict.with_uncertainty) == (1, 0)


def test_without_a_clock_it_is_wall_time_since_an_opening() -> None:
    fact = replace(FACT, mediaepoch=0, mediapts=2_000, mediaerr=None, mediaanchor=None)
    assert check_stamp(fact, evidence(), Verdict()) == ""
    assert check_stamp(replace(fact, mediapts=0), evidence(), Verdict()) == ""
    assert check_stamp(replace(fact, mediapts=1_999), evidence(), Verdict()) != ""
