"""Who may mark a stream, and what becomes of a mark."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from engagement.settings import Settings
from engagement.tokens import signed
from media.engines import Engines
from media.http import Serving, create_app
from tests.unit.encoded import BEGAN_MS, video_frames

MARKS = "/v1/rooms/demo/marks"
SECRET = "a secret of at least thirty-two bytes"


@asynccontextmanager
async def api(**more: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API of a process in which `demo` has four seconds of epoch 1."""
    settings = Settings(
        media_recordings=False, media_rtmp_port=0, media_srt_port=0, jwt_secret=SECRET, **more
    )
    engines = Engines(settings)
    for frame in video_frames(120):
        engines.packager.feed(frame)
    transport = httpx.ASGITransport(
        create_app(Serving(settings, engines, not_ready="")), client=("127.0.0.1", 5_000)
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://media") as http:
        http.headers["Authorization"] = f"Bearer {token(settings, 'service')}"
        yield http
    await engines.packager.close()


def token(settings: Settings, role: str) -> str:
    return signed(settings, user="backend", role=role, lifetime_s=60)


def rose(**more: Any) -> dict[str, Any]:
    mark = {"id": "g1", "epoch": 1, "pts_ms": 1500, "kind": "gift", "attributes": {"gift": "rose"}}
    return mark | more


async def test_a_mark_is_found_in_the_playlist_at_its_frame() -> None:
    async with api() as http:
        assert (await http.post(MARKS, json=rose())).status_code == 204
        assert (await http.post(MARKS, json=rose())).status_code == 204
        text = (await http.get("/v1/rooms/demo/hls/index.m3u8")).text
        [line] = [line for line in text.splitlines() if "DATERANGE" in line]
        assert 'ID="g1"' in line and 'X-GIFT="rose"' in line and "X-EPOCH=1" in line
        assert BEGAN_MS % 60_000 < 50_000 and f"{(BEGAN_MS + 1500) / 1000 % 60:06.3f}Z" in line


@pytest.mark.parametrize("role", ["viewer", "host", "moderator"])
async def test_only_a_platforms_own_backend_marks(role: str) -> None:
    async with api() as http:
        settings = Settings(jwt_secret=SECRET)
        headers = {"Authorization": f"Bearer {token(settings, role)}"}
        assert (await http.post(MARKS, json=rose(), headers=headers)).status_code == 403
        del http.headers["Authorization"]
        assert (await http.post(MARKS, json=rose())).status_code == 401


async def test_a_page_of_another_origin_marks_nothing() -> None:
    async with api() as http:
        answer = await http.post(MARKS, json=rose(), headers={"Origin": "https://evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


@pytest.mark.parametrize(
    ("mark", "status"),
    [
        (rose(epoch=9), 404),
        (rose(pts_ms=-1), 400),
        (rose(pts_ms="NaN"), 400),
        (rose(id=""), 400),
        (rose(id="x" * 257), 400),
        (rose(attributes={str(n): "x" for n in range(17)}), 400),
        ({}, 400),
    ],
)
async def test_a_mark_that_makes_no_sense_is_refused(mark: dict[str, Any], status: int) -> None:
    async with api() as http:
        assert (await http.post(MARKS, json=mark)).status_code == status
        assert "DATERANGE" not in (await http.get("/v1/rooms/demo/hls/index.m3u8")).text


async def test_a_room_without_a_stream_cannot_be_marked() -> None:
    async with api() as http:
        assert (await http.post("/v1/rooms/other/marks", json=rose())).status_code == 404
