"""Real FFmpeg publishes by RTMP: keys, two rooms at once, republishing, what encoders get wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import m3u8
import pytest

from engagement.errors import ForbiddenError, UnauthorizedError
from media.engine import ClockMoved, MediaEvent, PublishRequest, StreamEnded, StreamStarted
from media.ingest import bounds as ingest_bounds
from media.rtmp import bounds
from media.rtmp.engine import RtmpEngine
from tests.e2e.hls_stage import Stage, stage
from tests.unit.rtmp_publisher import asking
from tests.waiting import until

KEYS = {"anna-key": "anna", "ben-key": "ben"}


async def authorize(room: str, token: str, address: str) -> str:
    assert address == "127.0.0.1"
    if token not in KEYS:
        raise UnauthorizedError("the token does not verify")
    if room == "annas" and KEYS[token] != "anna":
        raise ForbiddenError("ben may not publish in annas")
    return KEYS[token]


class Studio:
    """An RTMP port, the HLS that comes of it, and everything that happened."""

    def __init__(self, engine: RtmpEngine, staged: Stage) -> None:
        self.engine = engine
        self.staged = staged
        self.happened: list[MediaEvent] = []

    def kinds(self, room: str) -> list[str]:
        return [
            event.event.kind
            for event in self.happened
            if isinstance(event, ClockMoved) and event.room == room
        ]

    async def live(self, room: str) -> m3u8.M3U8 | None:
        async with httpx.AsyncClient() as http:
            answer = await http.get(self.staged.live(room), timeout=20)
        return m3u8.loads(answer.text) if answer.status_code == 200 else None

    async def playing(self, room: str) -> m3u8.M3U8:
        async def whole() -> m3u8.M3U8 | None:
            return await self.live(room)

        found = await until(whole, f"a playlist of {room}")
        assert found is not None
        return found

    async def published(self, room: str) -> None:
        async def there() -> bool:
            return room in self.engine.publishing()

        await until(there, f"a publisher in {room}")

    async def left(self, room: str) -> None:
        async def gone() -> bool:
            return room not in self.engine.publishing()

        await until(gone, f"{room} without a publisher")


@asynccontextmanager
async def studio(recordings: Path | None = None) -> AsyncIterator[Studio]:
    async with stage(recordings) as staged:
        engine = RtmpEngine(staged.packager, authorize, host="127.0.0.1", port=0)
        await engine.start({"demo": 4})
        made = Studio(engine, staged)
        events = engine.events()

        async def watch() -> None:
            async for event in events:
                made.happened.append(event)

        watching = asyncio.create_task(watch())
        try:
            yield made
        finally:
            await engine.close()
            await watching


class FFmpeg:
    """A publisher, as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ended(self) -> str:
        """What it complained about, once it has ended."""
        _, errors = await asyncio.wait_for(self.process.communicate(), 60)
        return errors.decode()

    async def killed(self) -> None:
        """No goodbye."""
        self.process.kill()
        await self.process.communicate()


@asynccontextmanager
async def ffmpeg(
    url: str, *options: str, pace: str = "-re", container: str = "flv"
) -> AsyncIterator[FFmpeg]:
    """FFmpeg that publishes a test picture and a tone."""
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-nostdin", "-v", "error", *pace.split(), "-f", "lavfi", "-i",
        "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine=sample_rate=44100",
        "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30",
        "-pix_fmt", "yuv420p", "-c:a", "aac", *options, "-f", container, url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield FFmpeg(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def address(studio: Studio, room: str, key: str = "anna-key") -> str:
    return f"rtmp://127.0.0.1:{studio.engine.port}/live/{room}?token={key}"


async def test_two_rooms_are_published_at_once_on_one_port(tmp_path: Path) -> None:
    async with studio(tmp_path) as s:
        first = ffmpeg(address(s, "demo"), "-t", "5")
        second = ffmpeg(address(s, "other", "ben-key"), "-t", "5")
        async with first as one, second as two:
            await asyncio.gather(s.playing("demo"), s.playing("other"))
            assert sorted(s.engine.publishing()) == ["demo", "other"]
            assert [await one.ended(), await two.ended()] == ["", ""]
        recorder = s.staged.packager.recorder
        assert recorder is not None
        await s.left("demo")
        await s.left("other")
        await recorder.written()
        for room, epoch in (("demo", 5), ("other", 1)):
            async with httpx.AsyncClient(base_url=s.staged.url) as http:
                listed = (await http.get(f"/v1/rooms/{room}/vod")).json()["items"]
            assert listed[0]["epoch"] == epoch
            assert listed[0]["duration_ms"] == pytest.approx(5_000, abs=150)
            kinds = s.kinds(room)
            assert kinds[0] == "clock.epoch.opened" and kinds[-1] == "clock.epoch.closed"


@pytest.mark.parametrize(
    ("room", "key", "says"),
    [
        ("demo", "wrong", "the token does not verify"),
        ("demo", "", "the token does not verify"),
        ("annas", "ben-key", "ben may not publish in annas"),
        ("%2e%2e", "anna-key", "no room's name"),
    ],
)
async def test_a_wrong_key_is_refused_with_a_message(room: str, key: str, says: str) -> None:
    async with studio() as s, ffmpeg(address(s, room, key), "-t", "5") as publisher:
        assert says in await publisher.ended()
        assert publisher.process.returncode != 0
        assert s.happened == [] and s.engine.publishing() == []


async def test_a_room_belongs_to_one_publisher_and_others_are_told() -> None:
    async with studio() as s, ffmpeg(address(s, "demo")):
        await s.published("demo")
        async with ffmpeg(address(s, "demo", "ben-key")) as intruder:
            assert "has a publisher already" in await intruder.ended()
        assert s.engine.publishing() == ["demo"]


async def test_killed_and_published_again_the_room_goes_on_in_a_new_epoch() -> None:
    async with studio() as s:
        async with ffmpeg(address(s, "demo")) as first:
            before = await s.playing("demo")
            await first.killed()
            await s.left("demo")
        async with ffmpeg(address(s, "demo")):

            async def later() -> bool:
                now = await s.live("demo")
                return now is not None and any(x.discontinuity for x in now.segments if x.uri)

            await until(later, "a segment of the next epoch")
        assert before.media_sequence is not None
        opened = [kind for kind in s.kinds("demo") if kind.startswith("clock.epoch")]
        assert opened[:3] == ["clock.epoch.opened", "clock.epoch.closed", "clock.epoch.opened"]


async def test_the_same_publisher_may_take_over_from_a_connection_that_hangs() -> None:
    async with studio() as s, ffmpeg(address(s, "demo")) as first:
        await s.playing("demo")
        async with ffmpeg(address(s, "demo")):
            assert "begun anew" in await first.ended() or first.process.returncode != 0

            async def republished() -> bool:
                return s.kinds("demo").count("clock.epoch.opened") == 2

            await until(republished, "a second epoch")
        ended = [e.reason for e in s.happened if isinstance(e, StreamEnded)]
        assert ended[0] == "republish"


async def test_a_stream_with_b_frames_is_watched_over_hls_in_order() -> None:
    async with studio() as s:
        options = ("-tune", "film", "-bf", "2", "-x264-params", "rc-lookahead=2:sync-lookahead=0")
        async with ffmpeg(address(s, "demo"), *options):
            playlist = await s.playing("demo")
            assert playlist.segments[0].duration == pytest.approx(1.0, abs=0.05)


async def test_a_file_that_is_sent_as_fast_as_it_is_read_is_refused() -> None:
    async with studio() as s, ffmpeg(address(s, "demo"), "-t", "600", pace="-readrate 30") as f:
        await f.ended()
        await s.left("demo")
        opened = s.kinds("demo").count("clock.epoch.opened")
        assert 1 <= opened <= ingest_bounds.EPOCHS_PER_MINUTE_MAX


async def test_another_codec_is_refused_and_the_room_is_free_again() -> None:
    async with studio() as s:
        async with ffmpeg(address(s, "demo"), "-c:v", "flv1") as publisher:
            assert await publisher.ended() != ""
        await s.left("demo")
        async with ffmpeg(address(s, "demo", "ben-key")):
            await s.published("demo")


async def test_a_granted_address_is_published_to_once() -> None:
    async with studio() as s:
        grant = await s.engine.publish(PublishRequest("demo", "rtmp", "carla"))
        assert grant.url is not None
        async with ffmpeg(grant.url):
            await s.published("demo")

            async def started() -> bool:
                return any(isinstance(e, StreamStarted) for e in s.happened)

            await until(started, "the first frame")
            [begun] = [e for e in s.happened if isinstance(e, StreamStarted)]
            assert begun.session == grant.session
            await s.engine.stop(grant.session)
            assert s.engine.publishing() == []
        async with ffmpeg(grant.url) as again:
            assert "does not verify" in await again.ended()


async def test_who_knocks_without_a_word_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "UNCHECKED_S", 0.1)
    async with studio() as s:
        for script in (b"", asking()[:2_000], asking()[:3_100]):
            reader, writer = await asyncio.open_connection("127.0.0.1", s.engine.port)
            writer.write(script)
            async with asyncio.timeout(10):
                while await reader.read(4_096):
                    pass
            writer.close()


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CONNECTIONS_MAX", 3)
    async with studio() as s:
        held = [await asyncio.open_connection("127.0.0.1", s.engine.port) for _ in range(4)]
        ends = [asyncio.create_task(reader.read(1)) for reader, _ in held]
        done, _ = await asyncio.wait(ends, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert done == {ends[0]}, "who has knocked longest makes room"
        async with ffmpeg(address(s, "demo")):
            await s.published("demo")
        for _, writer in held:
            writer.close()
        await asyncio.gather(*ends, return_exceptions=True)


async def test_junk_on_the_port_costs_a_running_stream_nothing() -> None:
    async with studio() as s, ffmpeg(address(s, "demo")):
        await s.playing("demo")
        for junk in (b"GET / HTTP/1.1\r\n\r\n", bytes(5_000), asking() + b"\xff" * 5_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", s.engine.port)
            writer.write(junk)
            writer.write_eof()
            async with asyncio.timeout(10):
                while await reader.read(4_096):
                    pass
            writer.close()
        assert s.engine.publishing() == ["demo"]
        assert s.kinds("demo").count("clock.epoch.opened") == 1
