"""HLS over HTTP: who waits for what, what may be cached, and what is refused."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import m3u8
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from media.engine import TimedMark
from media.frames import EncodedFrame
from media.hls import bounds
from media.hls.packager import Packager
from media.hls.recorder import Recorder
from media.hls_http import accepts_gzip, hls_router
from tests.unit.encoded import BEGAN_MS, interleaved, sound_frames, video_frames
from tests.waiting import until

LIVE = "/v1/rooms/demo/hls/"
INDEX = LIVE + "index.m3u8"
VOD = "/v1/rooms/demo/vod/"


class Viewer:
    """A client of one packager, and the frames that are yet to be fed to it."""

    def __init__(self, packager: Packager, http: httpx.AsyncClient) -> None:
        self.packager = packager
        self.http = http

    def feed(self, frames: list[EncodedFrame]) -> None:
        for frame in frames:
            self.packager.feed(frame)

    async def text(self, path: str = INDEX, **query: str | int) -> str:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def refused(self, path: str, **query: str | int) -> tuple[int, str]:
        answer = await self.http.get(path, params=query)
        assert answer.headers["access-control-allow-origin"] == "*", "a page reads why"
        assert answer.headers["cache-control"] == "no-store"
        return answer.status_code, answer.json()["code"]


@asynccontextmanager
async def viewing(recordings: Path | None = None, **more: object) -> AsyncIterator[Viewer]:
    recorder = None if recordings is None else Recorder(recordings, 10**9)
    packager = Packager(recorder=recorder, **more)  # type: ignore[arg-type]
    app = FastAPI()
    app.include_router(hls_router(packager))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://media") as http:
        yield Viewer(packager, http)
    await packager.close()


def four_seconds(epoch: int = 1, from_ms: float = 0.0) -> list[EncodedFrame]:
    return list(
        interleaved(
            video_frames(120, epoch=epoch, from_ms=from_ms),
            sound_frames(200, epoch=epoch, from_ms=from_ms),
        )
    )


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"^(\d+)\.m4s$", text, re.MULTILINE)]


async def test_everything_a_playlist_names_is_there() -> None:
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        text = await viewer.text()
        uris = re.findall(r'URI="([^"]+)"', text.partition("#EXT-X-PRELOAD")[0])
        uris += re.findall(r"^\d.*$", text, re.MULTILINE)
        assert len(uris) > 15
        for uri in uris:
            answer = await viewer.http.get(LIVE + uri)
            assert answer.status_code == 200, uri
            assert answer.headers["content-type"] == "video/mp4"
            assert "immutable" in answer.headers["cache-control"]
        parsed = m3u8.loads(text)
        whole = await viewer.http.get(LIVE + parsed.segments[0].uri)
        parts = [await viewer.http.get(LIVE + part.uri) for part in parsed.segments[0].parts]
        assert whole.content == b"".join(part.content for part in parts)


async def test_a_blocked_request_is_answered_by_the_part_it_waits_for() -> None:
    async with viewing() as viewer:
        frames = four_seconds()
        viewer.feed(frames[:200])
        hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="(\d+)\.(\d+)\.m4s"', await viewer.text())
        assert hint is not None
        msn, part = int(hint[1]), int(hint[2])
        waiting = asyncio.create_task(viewer.text(_HLS_msn=msn, _HLS_part=part))
        hinted = asyncio.create_task(viewer.http.get(f"{LIVE}{msn}.{part}.m4s"))
        await asyncio.sleep(0)
        listed = f'PART:DURATION=0.266667,URI="{msn}.{part}.m4s"'
        for frame in frames[200:]:
            is_there = listed in await viewer.text()
            assert waiting.done() == is_there
            if is_there:
                break
            viewer.feed([frame])
            for _ in range(20):
                await asyncio.sleep(0)
        assert listed in await waiting
        assert (await hinted).status_code == 200


async def test_a_request_that_waits_in_vain_gets_what_there_is_and_nobody_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "WAIT_S", 0.05)
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        newest = numbers(await viewer.text())[-1]
        answer = await viewer.http.get(INDEX, params={"_HLS_msn": newest + 2})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        kept = await viewer.http.get(INDEX, params={"_HLS_msn": newest})
        assert "max-age" in kept.headers["cache-control"]


async def test_directives_that_make_no_sense_are_refused() -> None:
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        newest = numbers(await viewer.text())[-1]
        assert await viewer.refused(INDEX, _HLS_msn=newest + 9) == (400, "too_far_ahead")
        assert await viewer.refused(INDEX, _HLS_part=1) == (400, "bad_request")
        for wrong in ("-1", "x", "1e3", str(2**60)):
            assert (await viewer.http.get(INDEX, params={"_HLS_msn": wrong})).status_code == 422


@pytest.mark.parametrize(
    "name",
    [
        "0.m4s",
        "99999.m4s",
        "init-7.mp4",
        "1.1.1.m4s",
        "..m4s",
        "x",
        "9" * 40 + ".m4s",
        "١.m4s",
        "%2e%2e",
    ],
)
async def test_what_no_playlist_names_is_not_found(name: str) -> None:
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        assert await viewer.refused(LIVE + name) == (404, "segment_not_found")


async def test_a_room_without_a_stream_is_not_found() -> None:
    async with viewing() as viewer:
        assert await viewer.refused(INDEX) == (404, "stream_not_found")
        assert await viewer.refused("/v1/rooms/%2e%2e/hls/1.m4s") == (404, "stream_not_found")


async def test_too_many_who_wait_are_told_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "WAITING_MAX", 2)
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        newest = numbers(await viewer.text())[-1]
        waiting = [asyncio.create_task(viewer.text(_HLS_msn=newest + 1)) for _ in range(2)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert await viewer.refused(INDEX, _HLS_msn=newest + 1) == (503, "unavailable")
        viewer.feed(four_seconds(from_ms=4000))
        for task in waiting:
            assert newest + 1 in numbers(await task)


async def test_who_gives_up_waiting_takes_nothing_from_the_others() -> None:
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        newest = numbers(await viewer.text())[-1]
        leaves, stays = (asyncio.create_task(viewer.text(_HLS_msn=newest + 1)) for _ in range(2))
        for _ in range(10):
            await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        viewer.feed(four_seconds(from_ms=4000))
        assert newest + 1 in numbers(await stays)


async def test_a_stream_that_has_only_begun_is_waited_for_and_then_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "START_WAIT_S", 0.05)
    async with viewing() as viewer:
        viewer.feed(four_seconds()[:20])
        assert await viewer.refused(INDEX) == (503, "stream_starting")
        viewer.feed(four_seconds()[20:])
        assert numbers(await viewer.text())


async def test_media_that_hls_does_not_carry_is_refused_at_once_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "START_WAIT_S", float("inf"))
    async with viewing() as viewer:
        viewer.feed([replace(frame, codec="vp8") for frame in video_frames(5)])
        assert await viewer.refused(INDEX) == (400, "codec_not_packaged")
        viewer.feed(four_seconds(epoch=2))
        assert numbers(await viewer.text()), "the next epoch may be another codec"


async def test_playlists_are_packed_for_those_who_take_it() -> None:
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        request = viewer.http.build_request("GET", INDEX, headers={"Accept-Encoding": "gzip"})
        answer = await viewer.http.send(request, stream=True)
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        plain = await viewer.http.get(INDEX, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(raw) == plain.content
        assert len(raw) < len(plain.content) / 3
        assert plain.headers["access-control-allow-origin"] == "*"
        assert plain.headers["content-type"] == "application/vnd.apple.mpegurl"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True), ("br, gzip", True), ("*", True), ("GZIP;q=0.5", True), ("gzip;q=0", False),
        ("gzip; q=0.000", False), ("", False), ("identity", False), ("xgzip", False),
    ],
)  # fmt: skip
def test_gzip_is_accepted_as_the_header_says(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


async def test_a_key_frame_is_asked_for_when_a_segment_is_long_enough() -> None:
    asked: list[str] = []
    async with viewing(request_key_frame=asked.append) as viewer:
        viewer.feed(video_frames(100, gop=600))
        assert asked == ["demo"] * 3


async def test_a_republished_room_goes_on_in_the_same_playlist() -> None:
    async with viewing() as viewer:
        viewer.feed(four_seconds(epoch=1))
        before = numbers(await viewer.text())
        viewer.packager.end_epoch("demo", 1)
        between = await viewer.text()
        assert len(numbers(between)) == len(before) + 1, "what was begun is a segment now"
        assert "ENDLIST" not in between
        viewer.feed(four_seconds(epoch=2))
        after = await viewer.text()
        assert after.count("#EXT-X-DISCONTINUITY\n") == 1
        assert numbers(after)[: len(before)] == before


async def test_a_room_that_nobody_comes_back_to_ends_and_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "LINGER_S", 0.02)
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        newest = numbers(await viewer.text())[-1]
        waiting = asyncio.create_task(viewer.text(_HLS_msn=newest + 2))
        await asyncio.sleep(0)
        monkeypatch.setattr(bounds, "FORGET_S", 0.02)
        viewer.packager.end_epoch("demo", 1)
        assert "#EXT-X-ENDLIST" in await waiting

        async def forgotten() -> bool:
            return (await viewer.http.get(INDEX)).status_code == 404

        await until(forgotten, "the room is forgotten")


async def test_a_room_whose_playlist_has_ended_may_be_published_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "LINGER_S", 0.02)
    async with viewing() as viewer:
        viewer.feed(four_seconds())
        viewer.packager.end_epoch("demo", 1)

        async def ended() -> bool:
            return "#EXT-X-ENDLIST" in await viewer.text()

        await until(ended, "the playlist ends")
        before = numbers(await viewer.text())
        viewer.feed(four_seconds(epoch=2))
        again = await viewer.text()
        assert "#EXT-X-ENDLIST" not in again and "EPOCH=1" not in again
        assert numbers(again)[0] > before[-1], "no number names two segments"


async def test_a_broken_room_costs_the_others_nothing() -> None:
    async with viewing() as viewer:
        for good, bad in zip(four_seconds(), four_seconds(), strict=True):
            viewer.packager.feed(good)
            viewer.packager.feed(replace(bad, room="broken", data=b"\0\0\1\x67\xff" + bad.data[:9]))
        assert len(numbers(await viewer.text())) == 3


async def test_recordings_are_listed_played_and_marked(tmp_path: Path) -> None:
    async with viewing(tmp_path) as viewer:
        viewer.feed(four_seconds(epoch=1))
        viewer.packager.mark(TimedMark("g1", "demo", 1, 1500, "gift", 0, {"gift": "rose"}))
        recorder = viewer.packager.recorder
        assert recorder is not None
        await recorder.written()
        growing = m3u8.loads(await viewer.text(VOD + "1/index.m3u8"))
        assert growing.playlist_type == "event" and len(growing.segments) == 3
        viewer.feed(four_seconds(epoch=2))
        viewer.packager.end_epoch("demo", 2)
        await recorder.written()
        listed = (await viewer.http.get(VOD.rstrip("/"))).json()["items"]
        assert [(item["epoch"], item["is_live"]) for item in listed] == [(1, False), (2, False)]
        assert [item["duration_ms"] for item in listed] == [pytest.approx(4000, abs=1)] * 2
        assert listed[0]["began_ms"] == BEGAN_MS
        text = await viewer.text(VOD + "1-2/index.m3u8")
        assert 'ID="g1"' in text and "#EXT-X-ENDLIST" in text
        parsed = m3u8.loads(text)
        assert sum(s.duration for s in parsed.segments) == pytest.approx(8.0, abs=1e-3)
        for segment in parsed.segments:
            for uri in (segment.uri, segment.init_section.uri):
                answer = await viewer.http.get(VOD + "1-2/" + uri)
                assert answer.status_code == 200 and answer.content[4:8] in (b"moof", b"ftyp")


@pytest.mark.parametrize(
    "path",
    [
        "9/index.m3u8",
        "x/index.m3u8",
        "1-/index.m3u8",
        "1/2/1.m4s",
        "1/1/99.m4s",
        "1/1/x",
        "1/1/9.m4s",
    ],
)
async def test_what_was_not_recorded_is_not_found(tmp_path: Path, path: str) -> None:
    async with viewing(tmp_path) as viewer:
        viewer.feed(four_seconds())
        viewer.packager.end_epoch("demo", 1)
        assert await viewer.refused(VOD + path) == (404, "recording_not_found")
