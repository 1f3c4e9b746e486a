"""A run's figures as a table in Markdown. Pure."""

from collections.abc import Sequence
from typing import Final

from tests.sync import figures
from tests.sync.figures import FRAME_MS, TARGET_P99_MS
from tests.sync.run import Result

_HEAD: Final = (
    "| viewer | releases | p50 | p99 | max | earliest | on the first frame that was due |",
    "|---|---|---|---|---|---|---|",
)

ORIGIN_MS_MAX: Final = 3.0
"""Burned-in times and stamps are whole ms, RTP timestamps and anchors are rounded, too."""


def report(result: Result) -> list[str]:
    """Lines of Markdown."""
    lines = [*_HEAD]
    for viewer, found in result.errors.items():
        if not found:
            lines.append(f"| {viewer} | 0 | | | | | |")
            continue
        made = figures.summary(found)
        lines.append(
            f"| {viewer} | {made.count} | {made.p50_ms:.1f} | {made.p99_ms:.1f} |"
            f" {made.max_ms:.1f} | {made.earliest_ms:+.1f} | {made.first_share:.1%} |"
        )
    apart = figures.frames_apart(result.live)
    spread = ", ".join(f"{count} on frames {n} apart" for n, count in sorted(apart.items()))
    missed = ", ".join(f"{name}: {ms:.1f} ms" for name, ms in result.origins.items())
    lines += [
        "",
        "Error: media time of the picture on screen at the release, read from its pixels, minus the"
        f" event's stamp, in ms. A frame lasts {FRAME_MS:.1f} ms: 0 to that is the right one.",
        "",
        f"- The same event on all live viewers: {spread or 'none'}.",
        f"- Burned-in time of media time 0, by take and epoch: {missed}.",
    ]
    for viewer, why in result.reasons.items():
        lines.append(f"- {viewer} released by: {dict(why)}.")
    if result.problems:
        lines.append(f"- hls.js: {sorted(set(result.problems))}.")
    return lines


def failures(result: Result) -> list[str]:
    """What misses its target; empty when all is well."""
    found = []
    for viewer, each in result.errors.items():
        if not each:
            found.append(f"{viewer}: nothing was released at a playhead")
            continue
        made = figures.summary(each)
        if made.p99_ms > TARGET_P99_MS:
            found.append(f"{viewer}: p99 {made.p99_ms:.1f} ms is over {TARGET_P99_MS} ms")
        if viewer != "vod" and made.count < 0.9 * result.asked:
            found.append(f"{viewer}: only {made.count} of {result.asked} released at its playhead")
    for name, began_ms in result.origins.items():
        # A whole number of frames that the server has missed of a take is no error of its clock.
        if abs(began_ms - round(began_ms / FRAME_MS) * FRAME_MS) > ORIGIN_MS_MAX:
            found.append(f"take/epoch {name}: media time 0 is at {began_ms:.1f} ms")
    apart = figures.frames_apart(result.live)
    far = sum(count for frames, count in apart.items() if frames > 1)
    if far > 0.01 * sum(apart.values()):
        found.append(f"{far} events were more than a frame apart between viewers")
    return found


def markdown(title: str, lines: Sequence[str]) -> str:
    """A page of results."""
    return "\n".join([f"# {title}", "", *lines, ""])
