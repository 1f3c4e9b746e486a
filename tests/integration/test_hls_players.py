"""FFmpeg and ffprobe, as Debian has them, play what is packaged: live and recorded."""

import asyncio
import json
from pathlib import Path

import pytest

from media.frames import EncodedFrame
from tests.e2e.hls_stage import Host, Stage, on_air, stage
from tests.unit.encoded import interleaved, sound_frames, video_frames
from tests.waiting import until

COMPLAINTS = "warning"
"""FFmpeg prints nothing at this level over a stream that is right, but for what follows."""
HABITS = ("Found duplicated MOOV Atom", "Last message repeated")
"""Its HLS demuxer reads the header again with every live playlist that it reads, and says so."""
EPOCHS = ("out of order",)
"""Nor does it mind discontinuities: times begin anew with an epoch."""


async def run(*command: str) -> tuple[str, str]:
    """What a program printed; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, errors.decode()
    return out.decode(), errors.decode()


def complaints(errors: str, *habits: str) -> list[str]:
    """What FFmpeg found to be wrong."""
    known = HABITS + habits
    return [line for line in errors.splitlines() if not any(habit in line for habit in known)]


async def probe(url: str, *habits: str) -> list[dict[str, str]]:
    """Every packet of a playlist that has an end."""
    out, errors = await run(
        "ffprobe", "-v", COMPLAINTS, "-show_entries", "packet=codec_type,pts_time,duration_time",
        "-of", "json", url,
    )  # fmt: skip
    assert complaints(errors, *habits) == []
    packets: list[dict[str, str]] = json.loads(out)["packets"]
    return packets


async def decode(url: str, *options: str) -> str:
    """Decode all of it, every frame; what FFmpeg complained about."""
    _, errors = await run(
        "ffmpeg", "-nostdin", "-v", COMPLAINTS, *options, "-i", url, "-f", "null", "-"
    )
    return errors


async def recorded(staged: Stage, frames: list[EncodedFrame]) -> None:
    for frame in frames:
        staged.packager.feed(frame)
    staged.packager.end_epoch("demo", frames[-1].epoch)
    assert staged.packager.recorder is not None
    await staged.packager.recorder.written()


@pytest.mark.parametrize("codec", ["opus", "aac"])
async def test_a_recording_plays_from_its_first_to_its_last_frame(
    tmp_path: Path, codec: str
) -> None:
    async with stage(tmp_path) as staged:
        sound = sound_frames(500 if codec == "opus" else 468, codec=codec)  # type: ignore[arg-type]
        await recorded(staged, list(interleaved(video_frames(300, gop=47), sound)))
        url = f"{staged.url}/v1/rooms/demo/vod/1/index.m3u8"
        packets = await probe(url)
        video = [float(p["pts_time"]) for p in packets if p["codec_type"] == "video"]
        assert len(video) == 300
        assert video[-1] - video[0] == pytest.approx(299 / 30, abs=1e-3)
        assert sum(p["codec_type"] == "audio" for p in packets) == len(sound)
        assert await decode(url) == ""
        duration, _ = await run("ffprobe", "-v", "error", "-show_entries", "format=duration",
                                "-of", "csv=p=0", url)  # fmt: skip
        assert float(duration) == pytest.approx(10.0, abs=0.001)


async def test_b_frames_of_a_recording_are_shown_in_order(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        await recorded(staged, video_frames(150, b=3))
        packets = await probe(f"{staged.url}/v1/rooms/demo/vod/1/index.m3u8")
        shown = sorted(float(p["pts_time"]) for p in packets)
        assert [t - shown[0] for t in shown] == pytest.approx(
            [n / 30 for n in range(150)], abs=1e-3
        )


async def test_several_epochs_play_as_one_recording(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        for epoch, size in ((1, (160, 96)), (2, (320, 180))):
            await recorded(staged, video_frames(90, epoch=epoch, size=size))
        packets = await probe(f"{staged.url}/v1/rooms/demo/vod/1-2/index.m3u8", *EPOCHS)
        assert len(packets) == 180


async def test_the_file_of_an_epoch_plays_by_itself(tmp_path: Path) -> None:
    async with stage(tmp_path) as staged:
        await recorded(staged, list(interleaved(video_frames(90), sound_frames(150))))
        assert await decode(str(tmp_path / "demo.room" / "1" / "media.mp4")) == ""


async def test_ffmpeg_plays_the_live_playlist_like_any_other() -> None:
    async with stage() as staged, on_air(Host(staged.packager)) as host:

        async def four_seconds() -> bool:
            return host.pts_ms > 4_000

        await until(four_seconds, "four seconds of a stream")
        errors = await decode(staged.live(), "-t", "4")
        assert complaints(errors) == []
