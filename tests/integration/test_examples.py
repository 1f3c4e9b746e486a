"""Every example does what it says, against a running instance."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.instance import Instance

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES_MAX = 60


async def run(
    instance: Instance, *command: str, room: str, events: int = 0
) -> subprocess.CompletedProcess[str]:
    environment = {
        **instance.environment,
        "ENGAGEMENT_URL": f"http://{instance.gateways(1)[0]}",
        "ENGAGEMENT_KAFKA": instance.bootstrap,
        "ROOM": room,
        "EVENTS": str(events),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=EXAMPLES,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


async def post(instance: Instance, room: str) -> str:
    done = await run(instance, sys.executable, "post_events.py", room=room)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_posting_with_python(instance: Instance, room: str) -> None:
    said = (await post(instance, room)).splitlines()
    assert [line.split()[0] for line in said[:3]] == ["accepted", "accepted", "rejected"]
    assert said[3].endswith("duplicate")


async def test_posting_with_curl(instance: Instance, room: str) -> None:
    done = await run(instance, "bash", "post_events.sh", room=room)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"accepted"') == 2
    assert f'"room":"{room}"' in done.stdout


async def test_watching_with_python(instance: Instance, room: str) -> None:
    await post(instance, room)
    watching = asyncio.create_task(
        run(instance, sys.executable, "watch_room.py", room=room, events=2)
    )
    while not watching.done():
        await post(instance, room)
    done = watching.result()
    assert done.returncode == 0, done.stderr
    assert f"in {room} with" in done.stdout
    assert re.search(r"comment\.posted ben .*smells good|likes\.counted", done.stdout)


async def test_watching_with_node(instance: Instance, room: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node on this machine: the page was built by the one that PyPI has")
    flags = await run(instance, node, "--help", room=room)
    flag = ["--experimental-websocket"] if "--experimental-websocket" in flags.stdout else []
    await post(instance, room)
    watching = asyncio.create_task(
        run(instance, node, *flag, "watch_room.mjs", room=room, events=2)
    )
    while not watching.done():
        await post(instance, room)
    done = watching.result()
    assert done.returncode == 0, done.stderr
    assert f"in {room}" in done.stdout


async def test_consuming_the_topic(instance: Instance, room: str) -> None:
    await post(instance, room)
    done = await run(instance, sys.executable, "consume_topics.py", room, room=room)
    assert done.returncode == 0, done.stderr
    assert "1 comment.posted" in done.stdout
    assert f"ben said 1 things in {room}" in done.stdout


async def test_drawing_events_per_minute(instance: Instance, room: str) -> None:
    await post(instance, room)
    done = await run(instance, sys.executable, "events_per_minute.py", room, room=room)
    assert done.returncode == 0, done.stderr
    assert "█" in done.stdout
    assert "1 comments" in done.stdout


async def test_sending_a_gift_with_python(instance: Instance, room: str) -> None:
    done = await run(instance, sys.executable, "send_gift.py", room=room)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[1:]
    assert said == [
        "without coins: refused insufficient_funds",
        "with coins: paid",
        "the same again: duplicate paid",
        "left in the wallet: 1",
    ]


async def test_sending_a_gift_with_curl(instance: Instance, room: str) -> None:
    done = await run(instance, "bash", "send_gift.sh", room=room)
    assert done.returncode == 0, done.stderr
    assert '"status":"paid"' in done.stdout


async def test_a_battle_with_curl(instance: Instance, room: str) -> None:
    done = await run(instance, "bash", "battle.sh", "4", room=room)
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout.splitlines()[-1])["items"]
    totals = ended[0]["data"]["totals"]
    assert len(ended) == 1
    assert 7 <= totals[room] <= 14, "seven roses, double in the second half"
    assert 3 <= totals[f"{room}-next-door"] <= 6
    assert ended[0]["data"]["winner"] == room


async def test_adding_up_gifts_from_the_topics(instance: Instance, room: str) -> None:
    for _ in range(2):
        done = await run(instance, "bash", "send_gift.sh", room=room)
        assert done.returncode == 0, done.stderr
    done = await run(instance, sys.executable, "gifts_per_minute.py", room, room=room)
    assert done.returncode == 0, done.stderr
    assert "ben gave 10 coins" in done.stdout
    assert f"coins in {room}" in done.stdout
    assert "█" in done.stdout


async def test_replaying_a_room(instance: Instance, room: str) -> None:
    await post(instance, room)

    async def whole() -> bool:
        done = await run(instance, sys.executable, "replay_room.py", room, "100", room=room)
        assert done.returncode == 0, done.stderr
        return "comment.posted" in done.stdout and "room.opened" in done.stdout

    from tests.waiting import until

    await until(whole, "the replay shows the comment")


def test_every_example_is_short_and_is_run_here() -> None:
    here = Path(__file__).read_text()
    examples = [path for path in EXAMPLES.iterdir() if path.is_file()]
    assert len(examples) >= 11
    for example in examples:
        assert example.name in here, f"{example.name} is not run"
        assert len(example.read_text().splitlines()) <= LINES_MAX
