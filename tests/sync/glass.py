"""Glass to glass: from a frame's capture at the host to the screen, and pictures that stop."""

import asyncio
import time
from typing import Any, Final

from msgspec import Struct

from tests.sync.figures import quantile
from tests.sync.stage import Stage

WEBRTC_P95_MS: Final = 150.0
LL_HLS_P50_MS: Final = 1_200.0
SETTLE_S: Final = 8.0
"""A player that has only begun is still on its way to its place behind the live edge."""
COLLECT_S: Final = 20.0
"""Between two looks at the frames that a page has noted down."""


class Glass(Struct, frozen=True):
    """What one viewer saw."""

    viewer: str
    frames: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    stalls: int
    freezes: int


async def run_glass(stage: Stage, minutes: float) -> list[Glass]:
    """A WebRTC viewer and one of LL-HLS side by side for so long."""
    pages = {"webrtc": await stage.watch("webrtc"), "ll-hls": await stage.watch("hls")}
    await asyncio.sleep(SETTLE_S)
    for page in pages.values():
        await page.evaluate("watchGlass()")
    frozen_before = {viewer: await page.evaluate("freezes()") for viewer, page in pages.items()}
    seen: dict[str, list[dict[str, Any]]] = {viewer: [] for viewer in pages}
    deadline_s = time.monotonic() + minutes * 60
    while (left_s := deadline_s - time.monotonic()) > 0:
        await asyncio.sleep(min(COLLECT_S, left_s))
        for viewer, page in pages.items():
            seen[viewer] += await page.evaluate("frames_.splice(0)")
    found = []
    for viewer, page in pages.items():
        delays = [
            frame["glassMs"] - stage.began_ms[frame["take"]] - frame["atMs"]
            for frame in seen[viewer]
        ]
        found.append(
            Glass(
                viewer=viewer,
                frames=len(delays),
                p50_ms=quantile(delays, 0.5),
                p95_ms=quantile(delays, 0.95),
                max_ms=max(delays),
                stalls=await page.evaluate("stalls"),
                freezes=await page.evaluate("freezes()") - frozen_before[viewer],
            )
        )
    return found


def report(found: list[Glass], minutes: float) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| viewer | frames looked at | p50 | p95 | max | stalls | freezes |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.viewer} | {one.frames} | {one.p50_ms:.0f} | {one.p95_ms:.0f} | {one.max_ms:.0f} |"
        f" {one.stalls} | {one.freezes} |"
        for one in found
    ]
    lines += ["", f"ms from a frame's capture to the screen, every fifth frame of {minutes:g} min."]
    return lines


def failures(found: list[Glass]) -> list[str]:
    """What misses its target."""
    missed = []
    for one in found:
        if one.viewer == "webrtc" and one.p95_ms > WEBRTC_P95_MS:
            missed.append(f"webrtc: p95 {one.p95_ms:.0f} ms is over {WEBRTC_P95_MS:.0f} ms")
        if one.viewer == "ll-hls" and one.p50_ms > LL_HLS_P50_MS:
            missed.append(f"ll-hls: p50 {one.p50_ms:.0f} ms is over {LL_HLS_P50_MS:.0f} ms")
        if one.viewer == "ll-hls" and one.stalls:
            missed.append(f"ll-hls: the picture stalled {one.stalls} times")
    return missed
