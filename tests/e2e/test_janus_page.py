"""The client library's player in a room whose engine makes the offers itself: a real Janus."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.e2e.conftest import ROOT, build_pages
from tests.integration.test_janus_rooms import studio
from tests.waiting import until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        shutil.which("janus") is None,
        reason="janus is not installed and could not be: see scripts/test-packages",
    ),
]


def bundled(out: Path) -> Path:
    """The client's player as a script for any page."""
    web = ROOT / "web"
    node = build_pages().find_node().node
    command = [
        *node, str(web / "node_modules/esbuild/bin/esbuild"), str(web / "client/src/whep.ts"),
        "--bundle", "--format=iife", "--global-name=whep", f"--outfile={out}",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return out


async def test_the_player_answers_the_servers_offer(
    static: Path, browser: Browser, tmp_path: Path
) -> None:
    assert static.is_dir(), "the tools of the pages are installed"
    script = await asyncio.to_thread(bundled, tmp_path / "whep.js")
    async with studio(tmp_path) as s:
        await s.publish("demo")
        await s.epoch("demo", 1)
        page = await browser.new_page()
        try:
            await page.goto(f"{s.http.base_url}/livez")
            await page.add_script_tag(path=script)
            await page.evaluate(
                """() => {
                    const video = document.body.appendChild(document.createElement("video"));
                    video.muted = true;
                    window.states = [];
                    window.player = new whep.WhepPlayer("/v1/rooms/demo/whep", video);
                    window.player.onState = (state) => window.states.push(state);
                }"""
            )

            async def plays() -> bool:
                return bool(await page.evaluate("document.querySelector('video').currentTime > 1"))

            await until(plays, "a picture from Janus")
            assert "playing" in await page.evaluate("window.states")
            await page.evaluate("window.player.close()")
        finally:
            await page.close()
