"""What only moderators see: comments that wait for them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from engagement.settings import Settings
from tests.gateway_process import GatewayProcess, Process, comment, request


@pytest.fixture(scope="module")
def worker(engines: Settings) -> Iterator[Process]:
    held = '["perhaps"]'
    process = Process("engagement.processors.main", engines, ENGAGEMENT_MODERATION_HOLD=held)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
async def gateway(engines: Settings, worker: Process) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(engines)
    process.start()
    yield await process.ready()
    _, log = process.stop()
    assert "Traceback" not in log, log


async def test_a_held_comment_is_shown_to_hosts_and_moderators_until_one_lets_it_through(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    host = await gateway.watch(room, user="ana")
    moderator = await gateway.watch(room, user="mo", headers={"X-Role": "moderator"})
    viewer = await gateway.watch(room, user="viv")
    for each in (host, moderator, viewer):
        await each.next("hello")
    sent = comment("perhaps")
    assert (await gateway.post(room, sent)).status_code == 202
    for each in (host, moderator):
        [held] = await each.events(1, "comment.held")
        assert (held["id"], held["actorid"], held["data"]["text"]) == (
            sent["id"],
            "ben",
            "perhaps",
        )
    cursor = [frame["cursor"] for frame in moderator.frames if frame["t"] == "events"][-1]
    release = request("comment.release", {"target": sent["id"]})
    assert (await gateway.post(room, release, "mo", "moderator")).status_code == 202
    for each in (host, moderator, viewer):
        [posted] = await each.events(1)
        assert posted["id"] == sent["id"]
    assert viewer.seen("comment.held") == []
    again = await gateway.watch(room, cursor, user="mo")
    assert (await again.next("hello"))["recovered"] is True
    assert [event["id"] for event in await again.events(1)] == [sent["id"]]
    for each in (host, moderator, viewer, again):
        await each.leave()


async def test_a_cursor_of_another_log_gets_a_snapshot(gateway: GatewayProcess, room: str) -> None:
    """The data directory was wiped: the offset exists again, and is another place."""
    cursor = (await gateway.open_room(room))["cursor"]
    log, _, place = cursor.partition("-")
    assert log != "00000000"
    for known, recovered in ((cursor, True), (f"{log[::-1]}-{place}", log == log[::-1])):
        viewer = await gateway.watch(room, known)
        hello = await viewer.next("hello")
        assert (hello["recovered"], "snapshot" in hello) == (recovered, not recovered)
        assert hello["cursor"].startswith(log)
        await viewer.leave()
