"""From one Chromium to another over WHIP and HLS: what the date says of the frame on screen."""

from typing import Any

import pytest
from playwright.async_api import Page

from tests.e2e.hls_stage import ROOT
from tests.e2e.test_webrtc_chromium import CLOCK_MODULUS, Studio, studio
from tests.waiting import until

pytestmark = pytest.mark.browser

__all__ = ["studio"]

_PLAY = """(url) => {
  const video = document.createElement('video');
  video.muted = true;
  document.body.append(video);
  const canvas = new OffscreenCanvas(640, 360);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const hls = new Hls({lowLatencyMode: true});
  window.shown = [];
  window.fatal = [];
  hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) window.fatal.push(data.details); });
  hls.loadSource(url);
  hls.attachMedia(video);
  video.play();
  const next = (now, frame) => {
    context.drawImage(video, 0, 0, 640, 360);
    const row = context.getImageData(0, 20, 640, 1).data;
    let burned = 0;
    for (let bit = 0; bit < 32; bit++) if (row[(bit * 20 + 10) * 4] > 128) burned += 2 ** bit;
    const date = hls.playingDate;
    if (date) {
      const at = date.getTime() + (frame.mediaTime - video.currentTime) * 1000;
      window.shown.push({burned, date: at, wall: Date.now()});
    }
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}"""


async def play(studio: Studio, room: str) -> Page:
    page = await studio.page()
    await page.add_script_tag(path=ROOT / "web/node_modules/hls.js/dist/hls.min.js")
    await page.evaluate(_PLAY, f"{studio.url}/v1/rooms/{room}/hls/index.m3u8")
    return page


def behind_ms(later: float, burned: float) -> float:
    """How much later than what was burned in, modulo the burned clock."""
    half = CLOCK_MODULUS / 2
    return (later - burned + half) % CLOCK_MODULUS - half


async def test_the_date_of_a_frame_that_came_by_whip_is_when_it_was_captured(
    studio: Studio,
) -> None:
    await studio.publish("demo", "h264")
    page = await play(studio, "demo")

    async def enough() -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = await page.evaluate("shown")
        return shown if len(shown) > 300 else []

    shown = (await until(enough, "ten seconds of frames", 60))[60:]
    dates = sorted(behind_ms(each["date"], each["burned"]) for each in shown)
    walls = sorted(behind_ms(each["wall"], each["burned"]) for each in shown)
    middle = dates[len(dates) // 2]
    spread = [dates[len(dates) // 20], dates[-len(dates) // 20]]
    print(
        f"date - burned {spread[0]:.1f}/{middle:.1f}/{spread[1]:.1f} ms; "
        f"glass to glass {walls[len(walls) // 2]:.0f} ms"
    )
    # The date is the arrival at the server by the fastest path: a constant delay after capture.
    assert 0 <= middle < 100
    assert max(spread) - min(spread) < 34
    assert await page.evaluate("fatal") == []
