"""Recordings on disk: what a kill leaves behind, how much there may be, how they are read again."""

import asyncio
from pathlib import Path

import m3u8
import pytest

from engagement.errors import NotFoundError
from media.engine import TimedMark
from media.hls import recorder as recorder_module
from media.hls.recorder import Recorder
from media.hls.recording import RecordedSegment, epoch_directory, read_index, scan
from media.hls.vod import render_vod
from media.hls.window import LivePart, LiveSegment

KB = 1024


def segment(number: int, epoch: int = 1, size: int = 10 * KB) -> LiveSegment:
    data = bytes([number % 256]) * size
    return LiveSegment(
        msn=number, discontinuity=1, is_discontinuous=False, header=1, epoch=epoch,
        pts_ms=number * 2000.0, server_ms=1.79e12 + number * 2000, is_done=True,
        parts=[LivePart(data, 180_000, True)],
    )  # fmt: skip


async def record(recorder: Recorder, room: str, epoch: int, segments: int) -> None:
    recorder.header(room, epoch, b"header")
    for number in range(segments):
        recorder.segment(room, epoch, segment(number, epoch))
    await recorder.written()


async def test_what_was_recorded_is_read_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 10**9)
    await record(recorder, "demo", 3, 4)
    assert recorder.is_running("demo", 3)
    assert await recorder.read("demo", 3, 0) == b"header"
    assert await recorder.read("demo", 3, 4) == bytes([3]) * 10 * KB
    recorder.end("demo", 3)
    await recorder.written()
    assert not recorder.is_running("demo", 3)
    assert await recorder.read("demo", 3, 2) == bytes([1]) * 10 * KB
    await recorder.close()


async def test_after_a_kill_everything_up_to_the_last_whole_line_is_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 10**9)
    await record(recorder, "demo", 1, 3)
    index = epoch_directory(tmp_path, "demo", 1) / "index.jsonl"
    with index.open("ab") as torn:
        torn.write(b'{"type":"segment","offset":99')
    after = Recorder(tmp_path, 10**9)
    await after.written()
    entries = await after.index("demo", 1)
    assert sum(isinstance(entry, RecordedSegment) for entry in entries) == 3
    playlist = m3u8.loads(render_vod([(1, entries)], is_over=True))
    assert sum(s.duration for s in playlist.segments) == 6.0
    await after.close()
    await recorder.close()


async def test_an_index_is_read_up_to_where_it_is_broken(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 10**9)
    await record(recorder, "demo", 1, 3)
    await recorder.close()
    index = epoch_directory(tmp_path, "demo", 1) / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join([*lines[:3], bytes(100) + b"\n", *lines[3:]]))
    entries = read_index(tmp_path, "demo", 1)
    assert sum(isinstance(entry, RecordedSegment) for entry in entries) == 2


async def test_the_oldest_ended_epochs_make_room_for_new_ones(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 100 * KB)
    for epoch in range(1, 8):
        await record(recorder, "demo", epoch, 3)
        recorder.end("demo", epoch)
    await recorder.written()
    kept = [found.epoch for found in await recorder.recordings("demo")]
    assert kept == [5, 6, 7]
    assert sum(found.size for found in scan(tmp_path)) <= 100 * KB
    with pytest.raises(NotFoundError):
        await recorder.read("demo", 1, 0)
    await recorder.close()


async def test_a_recording_that_alone_is_too_much_ends_and_is_still_read(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 50 * KB)
    await record(recorder, "demo", 1, 30)
    assert not recorder.is_running("demo", 1)
    assert sum(found.size for found in scan(tmp_path)) <= 70 * KB
    entries = await recorder.index("demo", 1)
    assert sum(isinstance(entry, RecordedSegment) for entry in entries) == 5
    await recorder.close()


async def test_the_bound_holds_across_a_restart(tmp_path: Path) -> None:
    first = Recorder(tmp_path, 10**9)
    for epoch in (1, 2, 3):
        await record(first, "demo", epoch, 3)
        first.end("demo", epoch)
    await first.close()
    second = Recorder(tmp_path, 100 * KB)
    await record(second, "other", 1, 3)
    assert sum(found.size for found in scan(tmp_path)) <= 100 * KB
    assert [found.epoch for found in await second.recordings("other")] == [1]
    await second.close()


async def test_a_disk_that_fails_ends_the_recording_alone(tmp_path: Path) -> None:
    (tmp_path / "demo.room").write_text("a file where a directory should be")
    recorder = Recorder(tmp_path, 10**9)
    await record(recorder, "demo", 1, 2)
    await record(recorder, "other", 1, 2)
    assert not recorder.is_running("demo", 1)
    assert recorder.is_running("other", 1)
    await recorder.close()


async def test_a_disk_that_is_too_slow_ends_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module.bounds, "RECORDING_PENDING_BYTES_MAX", 25 * KB)
    recorder = Recorder(tmp_path, 10**9)
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    stuck = recorder._thread.submit(
        lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
    )
    recorder.header("demo", 1, b"header")
    for number in range(4):
        recorder.segment("demo", 1, segment(number))
    assert not recorder.is_running("demo", 1)
    gate.set()
    await asyncio.wrap_future(stuck)
    await recorder.written()
    entries = read_index(tmp_path, "demo", 1)
    assert sum(isinstance(entry, RecordedSegment) for entry in entries) == 2
    await recorder.close()


@pytest.mark.parametrize("room", ["a.room", "a..b", "A~-"])
async def test_no_name_of_a_room_leaves_the_directory(tmp_path: Path, room: str) -> None:
    recorder = Recorder(tmp_path / "recordings", 10**9)
    await record(recorder, room, 1, 1)
    assert [item.name for item in tmp_path.iterdir()] == ["recordings"]
    assert [(found.room, found.epoch) for found in await recorder.recordings(room)] == [(room, 1)]
    await recorder.close()


@pytest.mark.parametrize("room", ["", "..", "../x", "a/b", "a\0b", "*"])
async def test_what_is_no_name_of_a_room_has_no_recordings(tmp_path: Path, room: str) -> None:
    recorder = Recorder(tmp_path, 10**9)
    with pytest.raises(NotFoundError):
        await recorder.recordings(room)
    with pytest.raises(NotFoundError):
        await recorder.index(room, 1)
    await recorder.close()


async def test_several_epochs_are_one_playlist_with_marks_and_discontinuities(
    tmp_path: Path,
) -> None:
    recorder = Recorder(tmp_path, 10**9)
    for epoch in (4, 5):
        await record(recorder, "demo", epoch, 2)
        mark = TimedMark(f"m{epoch}", "demo", epoch, 500, "gift")
        for _ in range(2):  # Who marks has been started again, and tells it once more.
            recorder.mark("demo", epoch, mark, 1.79e12)
        recorder.end("demo", epoch)
    await recorder.written()
    indexes = [(epoch, await recorder.index("demo", epoch)) for epoch in (4, 5)]
    text = render_vod(indexes, is_over=True)
    parsed = m3u8.loads(text)
    assert [s.uri for s in parsed.segments] == ["4/1.m4s", "4/2.m4s", "5/1.m4s", "5/2.m4s"]
    assert [s.discontinuity for s in parsed.segments] == [False, False, True, False]
    assert [s.init_section.uri for s in parsed.segments] == ["4/init-0.mp4"] * 2 + [
        "5/init-0.mp4"
    ] * 2
    assert text.count("#EXT-X-DATERANGE") == 2 and parsed.is_endlist
    assert parsed.playlist_type == "vod"
    growing = m3u8.loads(render_vod(indexes, is_over=False))
    assert growing.playlist_type == "event" and not growing.is_endlist
    await recorder.close()
