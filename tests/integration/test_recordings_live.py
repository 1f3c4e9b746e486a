"""Import and crowd against a running instance, as their commands."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engagement.domain.envelope import ClockEntry, Envelope
from engagement.log.codec import encode_envelope
from engagement.log.topics import REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.recordings.formats import FORMATS
from engagement.recordings.plan import plan_import
from engagement.recordings.reading import read_recording
from engagement.settings import Settings
from tests.conftest import free_ports
from tests.faults.instance import Instance
from tests.waiting import until

START_MS = 1_700_000_000_000
REAL = Path(__file__).parents[3] / "shared" / "data" / "recordings"


async def engagement(instance: Instance, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "engagement", *arguments],
        env=instance.environment,
        capture_output=True,
        text=True,
        timeout=90,
    )


async def get(instance: Instance, path: str) -> Any:
    address = instance.gateways(1)[0]

    def read() -> Any:
        with urllib.request.urlopen(f"http://{address}/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    return await asyncio.to_thread(read)


async def timeline(instance: Instance, room: str, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await get(instance, f"rooms/{room}/timeline?limit=1000{query}{after}")
        items += page["items"]
        if page["next"] is None:
            return items
        after = f"&after={page['next']}"


def write_recording(file: Path, comments: int = 400) -> list[dict[str, Any]]:
    """A recording whose clock drifts by 19 ppm and steps by -1.3 s; some rows are doubled."""
    chance = random.Random(3)
    rows = []
    wall_ms = 0.0
    for n in range(comments):
        wall_ms += chance.uniform(20, 400)
        step_ms = 1300 if n >= comments // 2 else 0
        offset_ms = round(wall_ms * (1 - 19e-6)) + step_ms
        rows.append(
            {
                "type": "comment",
                "user": f"user {n % 40}",
                "text": f"comment {n}",
                "sent_ms": START_MS + round(wall_ms),
                "media_offset_ms": offset_ms,
            }
        )
    likes = [{**row, "type": "like", "count": 3} for row in rows[::10]]
    doubled = [*rows, *likes, *rows[::25]]
    chance.shuffle(doubled)
    file.write_text("\n".join(map(json.dumps, doubled)) + "\nnot json\n")
    return rows


async def test_an_imported_recording_is_a_room_with_a_working_timeline(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    rows = write_recording(file)
    arguments = ("import", str(file), "--room", room, "--format", "generic", "--json")
    done = await engagement(instance, *arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["events"] == {"comment": 400, "like": 40}
    assert (report["merged"], report["written"]) == (16, 440)
    assert report["skipped"] == {"not_json": {"rows": 1, "lines": [457]}}
    assert report["clock"]["steps"] == 1
    assert report["clock"]["residual_ms"]["max"] < 3

    compared = await engagement(instance, "replay", room, "--compare")
    assert compared.returncode == 0, compared.stdout
    events = await timeline(instance, room)
    comments = [event for event in events if event["type"] == "comment.posted"]
    offset_of = {row["text"]: row["media_offset_ms"] for row in rows}
    assert len(comments) == 400
    for event in comments:
        assert abs(event["mediapts"] - offset_of[event["data"]["text"]]) <= 3
    assert [event["mediapts"] for event in events] == sorted(e["mediapts"] for e in events)
    assert events[-1]["type"] == "room.closed" or events[-1]["mediapts"] == max(offset_of.values())

    middle = sorted(offset_of.values())[200]
    state = await get(instance, f"rooms/{room}/state?at_ms={middle}")
    assert state["comments"][-1]["mediapts"] <= middle
    whole = await get(instance, f"rooms/{room}")
    assert (whole["status"], whole["likes"], whole["online"]) == ("closed", 120, 0)

    again = await engagement(instance, *arguments)
    assert json.loads(again.stdout)["already_there"] == 440
    assert len(await timeline(instance, room)) == len(events)

    stamps = await engagement(instance, "verify", "stamps")
    assert stamps.returncode == 0, stamps.stdout
    projections = await engagement(instance, "verify", "timeline")
    assert projections.returncode == 0, projections.stdout


async def test_a_longer_recording_goes_on_where_the_shorter_one_ended(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    rows = write_recording(file, 100)
    file.write_text("\n".join(map(json.dumps, rows[:40])))
    arguments = ("import", str(file), "--room", room, "--format", "generic", "--json")
    assert json.loads((await engagement(instance, *arguments)).stdout)["written"] == 40
    file.write_text("\n".join(map(json.dumps, rows)))
    report = json.loads((await engagement(instance, *arguments)).stdout)
    assert (report["written"], report["already_there"]) == (60, 40)
    comments = await timeline(instance, room, "&types=comment.posted")
    assert {event["mediaepoch"] for event in comments} == {1}
    assert [event["data"]["text"] for event in comments] == [row["text"] for row in rows]
    stamps = await engagement(instance, "verify", "stamps")
    assert stamps.returncode == 0, stamps.stdout


def gift_frames(
    totals: list[int], *, name: str = "Rose", streak: str = "1"
) -> list[dict[str, Any]]:
    """Frames of one streak that was tapped twice a second."""
    return [
        {
            "type": "WebcastGiftMessage",
            "msg_id": f"{streak}-{number}",
            "create_time_ms": START_MS + 500 * number,
            "user": "ana",
            "gift_id": 5655,
            "repeat_count": total,
            "repeat_end": 0,
            "group_id": streak,
            "gift": {"type": 1, "diamonds": 5, "name": name},
        }
        for number, total in enumerate(totals)
    ]


async def test_a_second_capture_of_a_streak_adds_what_the_first_one_missed(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    arguments = ("import", str(file), "--room", room, "--format", "tiktok", "--json")
    for totals, written, pieces in (([1, 2, 5], 3, 5), ([1, 2, 5], 0, 5), ([1, 3, 4, 5, 9], 1, 9)):
        file.write_text("\n".join(map(json.dumps, gift_frames(totals))))
        done = await engagement(instance, *arguments)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["written"] == written
        sent = await timeline(instance, room, "&types=gift.sent")
        assert sum(event["data"]["count"] for event in sent) == pieces
    [leader] = (await get(instance, f"rooms/{room}/leaderboard"))["items"]
    assert (leader["actor"], leader["coins"]) == ("ana", 45)
    assert [event["data"]["combo_count"] for event in sent] == [1, 2, 5, 4]
    projections = await engagement(instance, "verify", "gifts")
    assert projections.returncode == 0, projections.stdout


async def test_another_recording_in_the_same_room_has_its_own_epoch(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    for number, share in enumerate((slice(0, 50), slice(50, 100)), 1):
        file = tmp_path / f"{number}.jsonl"
        rows = write_recording(file, 100)[share]
        file.write_text("\n".join(map(json.dumps, rows)))
        arguments = ("import", str(file), "--room", room, "--format", "generic", "--json")
        done = await engagement(instance, *arguments)
        assert done.returncode == 0, done.stderr
        comments = await timeline(instance, room, f"&types=comment.posted&epoch={number}")
        assert [event["data"]["text"] for event in comments] == [row["text"] for row in rows]


async def test_an_import_that_was_broken_off_is_finished_by_its_own_host_alone(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    write_recording(file, 50)
    recording = read_recording(file, FORMATS["generic"])
    plan = plan_import(recording, room=room, host="mika", title="half")
    begun = Envelope(
        gateway="importer",
        requests=[plan.opening, *plan.requests[:10]],
        clock=[ClockEntry(anchor) for anchor in plan.anchors],
    )
    writer = LogWriter(instance.bootstrap, client_id="tests")
    await writer.start()
    partition = partition_of(room, Settings().partitions)
    writer.append(REQUESTS_TOPIC, partition, b"importer", encode_envelope(begun))
    await writer.stop()

    async def is_open() -> bool:
        with contextlib.suppress(urllib.error.HTTPError):
            return (await get(instance, f"rooms/{room}"))["status"] == "open"
        return False

    await until(is_open, "the room is open")
    arguments = ("import", str(file), "--room", room, "--format", "generic", "--json")
    stranger = await engagement(instance, *arguments, "--host", "ana")
    assert stranger.returncode == 1
    assert "room_taken" in stranger.stderr
    done = await engagement(instance, *arguments, "--host", "mika")
    report = json.loads(done.stdout)
    assert (report["written"], report["already_there"]) == (len(plan.requests) - 10, 10)
    assert (await get(instance, f"rooms/{room}"))["status"] == "closed"
    assert len(await timeline(instance, room, "&types=comment.posted")) == 50
    compared = await engagement(instance, "replay", room, "--compare")
    assert compared.returncode == 0, compared.stdout


async def test_a_file_of_garbage_is_told_to_be_one(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "garbage"
    file.write_bytes(random.Random(1).randbytes(100_000))
    for format_name in ("youtube", "tiktok", "generic"):
        arguments = ("import", str(file), "--room", room, "--format", format_name)
        done = await engagement(instance, *arguments)
        assert done.returncode == 1
        assert "nothing_to_import" in done.stderr
        assert "Traceback" not in done.stderr


async def test_import_without_an_instance_says_what_to_start(tmp_path: Path, room: str) -> None:
    nowhere, *_ = free_ports(1)
    file = tmp_path / "recording.jsonl"
    write_recording(file, 5)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "engagement", "import", str(file), "--room", room, "--format",
         "generic"],
        env={**os.environ, "ENGAGEMENT_KAFKA": f"127.0.0.1:{nowhere}"},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert "start `engagement up`" in done.stderr


async def test_a_crowd_outlives_a_gateway_that_is_killed(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    write_recording(file, 300)
    address = instance.gateways(1)[0]
    crowd = asyncio.create_task(
        engagement(
            instance, "crowd", "--from", str(file), "--room", room, "--speed", "6",
            "--viewers", "2", "--json",
        )
    )  # fmt: skip

    async def has_begun() -> bool:
        with contextlib.suppress(urllib.error.HTTPError):
            return len(await timeline(instance, room, "&types=comment.posted")) >= 20
        return False

    await until(has_begun, "the crowd talks")
    os.kill(instance.gateway_pids()[address], signal.SIGKILL)
    done = await crowd
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["retries"] > 0
    assert (outcome["missing"], outcome["twice"]) == (0, 0)
    assert outcome["outcomes"].get("unanswered", 0) == 0
    assert len(await timeline(instance, room, "&types=comment.posted")) == 300


async def test_the_demo_crowd_outlives_kills_and_closings_and_ends_at_once(
    instance: Instance,
) -> None:
    address = instance.gateways(1)[0]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engagement", "demo-crowd", env=instance.environment
    )

    async def openings() -> int:
        with contextlib.suppress(urllib.error.URLError):
            return len(await timeline(instance, "demo", "&types=room.opened"))
        return 0

    async def comments() -> int:
        with contextlib.suppress(urllib.error.URLError):
            return len(await timeline(instance, "demo", "&types=comment.posted"))
        return 0

    async def more_than(before: int, count: Callable[[], Awaitable[int]]) -> None:
        async def grown() -> bool:
            return await count() > before

        await until(grown, f"more than {before}")

    try:
        await more_than(3, comments)
        os.kill(instance.gateway_pids()[address], signal.SIGKILL)
        await instance.wait_ready(address)
        await more_than(await comments(), comments)
        opened = await openings()
        closing = urllib.request.Request(
            f"http://{address}/v1/rooms/demo", method="DELETE", headers={"X-User": "mika"}
        )
        (await asyncio.to_thread(urllib.request.urlopen, closing)).close()
        await more_than(opened, openings)
        await more_than(await comments(), comments)
        assert (await get(instance, "rooms/demo"))["media"]["epoch"] >= 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 3) == 0


async def test_a_crowd_sees_everything_it_says_once(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    write_recording(file, 200)
    done = await engagement(
        instance, "crowd", "--from", str(file), "--room", room, "--speed", "20", "--viewers", "3",
        "--duplicates", "0.2", "--reorder-ms", "100", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["missing"], outcome["twice"], outcome["unrecovered"]) == (0, 0, 0)
    assert outcome["outcomes"]["accepted"] == 220
    assert outcome["outcomes"]["duplicate"] == outcome["sent"] - 220 > 0


async def test_a_crowd_pays_for_its_gifts_and_counts_what_is_refused(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    frames = [
        frame | {"user": user}
        for user in ("ana", "ben", "host")
        for frame in gift_frames([1, 2, 4], streak=user)
    ]
    file.write_text("\n".join(map(json.dumps, frames)))
    done = await engagement(
        instance, "crowd", "--from", str(file), "--format", "tiktok", "--room", room,
        "--viewers", "2", "--duplicates", "0.5", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["gifts"] == {"paid": 6, "self_gift": 3}
    assert (outcome["missing"], outcome["twice"]) == (0, 0)
    sent = await timeline(instance, room, "&types=gift.sent")
    given = {(event["actorid"], event["data"]["count"]) for event in sent}
    assert given == {("ana", 1), ("ana", 2), ("ben", 1), ("ben", 2)}
    assert sum(event["data"]["count"] for event in sent) == 8


async def test_importing_into_a_live_room_is_refused(
    instance: Instance, tmp_path: Path, room: str
) -> None:
    file = tmp_path / "recording.jsonl"
    write_recording(file, 20)
    crowd = ("crowd", "--from", str(file), "--room", room, "--speed", "50", "--viewers", "0")
    assert (await engagement(instance, *crowd)).returncode == 0
    done = await engagement(instance, "import", str(file), "--room", room, "--format", "generic")
    assert done.returncode == 1
    assert "room_is_live" in done.stderr


async def check_streaks(instance: Instance, room: str, file: Path) -> None:
    """The pieces of every streak, counted from the file in another way."""
    frames = [row for row in map(json.loads, file.open()) if row["type"] == "WebcastGiftMessage"]
    greatest: dict[tuple[str, ...], int] = {}
    for frame in frames:
        alone = frame["msg_id"] if frame["group_id"] == "0" else ""
        streak = (frame["user"], f"tiktok-{frame['gift_id']}", frame["group_id"], alone)
        greatest[streak] = max(frame["repeat_count"], greatest.get(streak, 0))
    sent = await timeline(instance, room, "&types=gift.sent")
    assert sum(event["data"]["count"] for event in sent) == sum(greatest.values())
    given: Counter[tuple[str, str]] = Counter()
    coins: Counter[str] = Counter()
    for event in sent:
        given[event["actorid"], event["data"]["gift"]] += event["data"]["count"]
        coins[event["actorid"]] += event["data"]["coins"]
    expected: Counter[tuple[str, str]] = Counter()
    for (user, gift, *_), count in greatest.items():
        expected[user, gift] += count
    assert given == expected
    leaders = (await get(instance, f"rooms/{room}/leaderboard?limit=1000"))["items"]
    assert {each["actor"]: each["coins"] for each in leaders} == dict(coins)


@pytest.mark.skipif(not REAL.exists(), reason="the recorded rooms are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "format_name", "events", "merged"),
    [
        ("youtube-premiere", "youtube", 7363, 0),
        ("youtube-messages", "youtube", 749, 15),
        ("youtube-superchats", "youtube", 118, 52),
        ("tiktok-frames", "tiktok", 408, 0),
    ],
)
async def test_real_recorded_rooms_are_imported_whole(
    instance: Instance, room: str, name: str, format_name: str, events: int, merged: int
) -> None:
    done = await engagement(
        instance, "import", str(REAL / f"{name}.jsonl"), "--room", room, "--format", format_name,
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (sum(report["events"].values()), report["merged"]) == (events, merged)
    if name == "youtube-premiere":
        assert report["clock"]["residual_ms"]["max"] <= 1  # Stamps are whole ms.
    if format_name == "tiktok":
        await check_streaks(instance, room, REAL / f"{name}.jsonl")
    compared = await engagement(instance, "replay", room, "--compare")
    assert compared.returncode == 0, compared.stdout
