"""The runs: events on live video while the host's stream and clocks misbehave, then on replay."""

import random
from collections import Counter
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct
from playwright.async_api import Page

from tests.sync import figures
from tests.sync.clocks import DRIFT_PPM
from tests.sync.figures import Error
from tests.sync.stage import WEBRTC_DELAY_MS, Stage
from tests.waiting import until

STEP_MS: Final = 1_300.0
"""By which a real host's clock was once set in the middle of a five-hour stream."""
RELEASES_S: Final = 20.0
"""How long the last events may take to the viewer that is furthest behind."""
SEEK_S: Final = 6.0
"""How long a recording plays between two seeks."""


class Result(Struct):
    """What a run has found."""

    errors: dict[str, list[Error]]
    """By viewer."""
    reasons: dict[str, Counter[str]]
    origins: dict[str, float]
    """ms that the server missed of each take, by `take/epoch`."""
    asked: int
    problems: list[str]
    """What hls.js complained of."""

    @property
    def live(self) -> list[Error]:
        """Of all live viewers."""
        return [one for viewer, each in self.errors.items() if viewer != "vod" for one in each]


async def run_live(
    stage: Stage,
    events: int,
    per_s: float,
    *,
    wrong_clocks: bool,
    delay_ms: int = WEBRTC_DELAY_MS,
) -> Result:
    """Events on two WebRTC viewers and one of LL-HLS; in the middle the host publishes anew, and
    with `wrong_clocks` its clock is set and drifts in the last third. `delay_ms` is what WebRTC
    viewers ask of their jitter buffers."""
    pages = {
        "webrtc": await stage.watch("webrtc", delay_ms),
        "webrtc, another": await stage.watch("webrtc", delay_ms),
        "ll-hls": await stage.watch("hls"),
    }
    part = events // 3
    ids = await stage.comments(part, per_s)
    await stage.publish()
    await _on_new_take(pages)
    ids += await stage.comments(part, per_s)
    if wrong_clocks:
        stage.clock.step(STEP_MS)
        stage.clock.drift(DRIFT_PPM)
    ids += await stage.comments(events - 2 * part, per_s)
    releases = {viewer: await _released(page, ids) for viewer, page in pages.items()}
    frames = await pages["webrtc"].evaluate("frames_")
    origins = figures.origins(frames)
    problems = [p for page in pages.values() for p in await page.evaluate("problems")]
    return Result(
        errors={viewer: figures.errors(viewer, each, origins) for viewer, each in releases.items()},
        reasons={viewer: figures.reasons(each) for viewer, each in releases.items()},
        origins={f"{take}/{epoch}": began for (take, epoch), began in origins.items()},
        asked=events,
        problems=problems,
    )


async def run_replay(stage: Stage, result: Result, seeks: int) -> None:
    """The same room as a recording, after its host has left; seeks forward and back."""
    assert stage.take is not None
    await stage.take.close()
    origins = {
        (int(take), int(epoch)): began
        for (take, _, epoch), began in (
            (name.partition("/"), began) for name, began in result.origins.items()
        )
    }
    epochs = sorted(epoch for _, epoch in origins)
    await stage.recorded(epochs)
    events = await stage.timeline()
    page = await stage.replay(f"{epochs[0]}-{epochs[-1]}", events)
    length_s = await page.evaluate("video.duration")
    for number in range(seeks):
        to_s = random.uniform(0, max(1.0, length_s - SEEK_S))
        if number == seeks - 1:
            await page.evaluate("video.pause()")
        await page.evaluate(f"seekTo({to_s})")
        end_s = to_s + SEEK_S

        async def has_played(end_s: float = end_s) -> bool:
            return bool(await page.evaluate(f"video.ended || video.currentTime >= {end_s} - 0.2"))

        await until(has_played, f"the recording from {to_s:.1f} s on", 60)
    releases = await page.evaluate("releases")
    result.errors["vod"] = figures.errors("vod", releases, origins)
    result.reasons["vod"] = figures.reasons(releases)
    result.problems += await page.evaluate("problems")


async def _on_new_take(pages: dict[str, Page]) -> None:
    """Every viewer sees the second take: what is stamped meanwhile would test nothing else."""
    for viewer, page in pages.items():

        async def sees(page: Page = page) -> bool:
            return bool(await page.evaluate("frames_.at(-1)?.take === 2"))

        await until(sees, f"the second take over {viewer}", 30)


async def _released(page: Page, ids: list[str]) -> list[dict[str, Any]]:
    wanted = set(ids)

    async def all_of_them() -> bool:
        seen = await page.evaluate("releases.map((release) => release.id)")
        return wanted <= set(seen)

    with suppress(AssertionError):  # What was not released is missing in the table.
        await until(all_of_them, "every event on screen", RELEASES_S)
    releases: list[dict[str, Any]] = await page.evaluate("releases")
    return releases
