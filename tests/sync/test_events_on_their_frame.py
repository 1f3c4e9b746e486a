"""The short form of `make sync`: forty events on the right frame, over WebRTC and LL-HLS."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.instance import Instance
from tests.sync import figures
from tests.sync.figures import FRAME_MS
from tests.sync.run import run_live
from tests.sync.stage import Stage, chromium, stage
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.engines]

DELAY_MS = 300
"""More than `make sync` asks for: the suite runs on machines that have other things to do, and an
event that comes after its frame has no frame to be released on."""


@pytest_asyncio.fixture(scope="module")
async def room(instance: Instance) -> AsyncIterator[Stage]:
    async with chromium() as browser, stage(instance, browser) as made:
        yield made


async def test_events_are_released_on_the_first_frame_that_is_due_also_after_a_republish(
    room: Stage,
) -> None:
    result = await run_live(room, 40, 8.0, wrong_clocks=False, delay_ms=DELAY_MS)
    for viewer, found in result.errors.items():
        made = figures.summary(found)
        print(viewer, made, dict(result.reasons[viewer]))
        # What is stamped between two takes has no frame; everything else has.
        assert made.count >= 30, viewer
        assert made.earliest_ms > -2.0, f"{viewer} showed an event before its frame"
        by_playhead = [one for one in found if one.reason == "playhead"]
        assert len(by_playhead) >= 20, f"{viewer}: events come after their frames"
        assert all(one.is_first for one in by_playhead), viewer
        assert made.p50_ms <= FRAME_MS, viewer
    assert all(abs(began_ms) < 2 for began_ms in result.origins.values()), result.origins


async def test_a_large_gift_is_in_the_playlist_at_its_stamp(room: Stage) -> None:
    gift = await room.give("bouquet")

    async def marked() -> str | None:
        found = re.search(rf'#EXT-X-DATERANGE:ID="{gift["id"]}".*', await room.playlist())
        return found and found[0]

    line = await until(marked, "the gift's mark")
    assert f"X-EPOCH={gift['mediaepoch']}" in line
    assert f'X-PTS="{gift["mediapts"]:.3f}"' in line
    assert 'CLASS="gift"' in line and 'X-GIFT="bouquet"' in line
