"""What was released when, against what was on the screen; and the tables of it. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from msgspec import Struct

FRAME_MS: Final = 1000 / 30
RELEASED_BY_PLAYHEAD: Final = frozenset({"playhead", "late"})
"""Reasons that compare a playhead with a stamp; the others have no frame to be on."""
TARGET_P99_MS: Final = 34.0


class Error(Struct, frozen=True):
    """One release: how far the picture on screen was past the stamp."""

    viewer: str
    id: str
    epoch: int
    ms: float
    reason: str
    is_first: bool
    """No frame that was shown earlier would have been right: what was shown in between is the
    player's affair, not the release's."""


class Summary(Struct, frozen=True):
    """Of signed errors; the percentiles are of their amounts."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    earliest_ms: float
    first_share: float
    """Of releases on the first frame shown that was due."""


def quantile(values: Sequence[float], share: float) -> float:
    """Of an unsorted sequence that is not empty; the nearest rank above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def origins(frames: Iterable[Mapping[str, Any]]) -> dict[tuple[int, int], float]:
    """For each (take, epoch) the burned-in time of media time 0, from frames over WebRTC whose
    media time comes from their RTP timestamp. A take's first frame is 0 in both, unless the server
    has missed it."""
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for frame in frames:
        found[frame["take"], frame["epoch"]].append(frame["atMs"] - frame["ptsMs"])
    return {pair: median(values) for pair, values in found.items() if len(values) >= 3}


def errors(
    viewer: str,
    releases: Iterable[Mapping[str, Any]],
    origin: Mapping[tuple[int, int], float],
) -> list[Error]:
    """The error of each release whose picture shows the epoch of its stamp."""
    found = []
    for release in releases:
        burned = release["burned"]
        if release["reason"] not in RELEASED_BY_PLAYHEAD or burned is None:
            continue
        began_ms = origin.get((burned["take"], release["epoch"]))
        if began_ms is None:
            continue
        on_screen_ms = burned["atMs"] - began_ms
        late_ms = on_screen_ms - release["stamp"]
        found.append(
            Error(
                viewer,
                release["id"],
                release["epoch"],
                late_ms,
                release["reason"],
                release["isFirst"],
            )
        )
    return found


def summary(found: Sequence[Error]) -> Summary:
    """Of at least one."""
    amounts = [abs(error.ms) for error in found]
    return Summary(
        count=len(found),
        p50_ms=quantile(amounts, 0.5),
        p99_ms=quantile(amounts, 0.99),
        max_ms=max(amounts),
        earliest_ms=min(error.ms for error in found),
        first_share=sum(error.is_first for error in found) / len(found),
    )


def frames_apart(found: Iterable[Error]) -> Counter[int]:
    """How many frames lie between the earliest and the latest release of each event that more
    than one viewer saw."""
    by_event: dict[str, list[float]] = defaultdict(list)
    for error in found:
        by_event[error.id].append(error.ms)
    return Counter(
        round((max(each) - min(each)) / FRAME_MS) for each in by_event.values() if len(each) > 1
    )


def reasons(releases: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Releases by why they were released when they were."""
    return Counter(release["reason"] for release in releases)
