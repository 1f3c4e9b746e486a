"""A host on the air for players: real H.264 with its media time burned in, real Opus, packaged and
served, with a page that plays it by hls.js.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse

from media.frames import EncodedFrame
from media.hls.packager import Packager
from media.hls.recorder import Recorder
from media.hls_http import hls_router
from tests.conftest import free_ports
from tests.unit.encoded import sound
from tests.waiting import until

ROOT: Final = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FPS = 320, 96, 30
BITS: Final = 32
"""Of media time in ms, burned in as black and white squares, the highest first."""
SQUARE: Final = WIDTH // BITS

_PLAYER = """<!doctype html><video id="v" muted playsinline width=320 height=96></video>
<script src="/hls.js"></script><script>
const video = document.getElementById("v"), canvas = new OffscreenCanvas(320, 96);
const context = canvas.getContext("2d", {willReadFrequently: true});
window.seen = []; window.errors = []; window.stalls = 0; window.cues = [];
function burned() {
  context.drawImage(video, 0, 0, 320, 96);
  const row = context.getImageData(0, 16, 320, 1).data;
  let value = 0;
  for (let bit = 0; bit < 32; bit++) value = value * 2 + (row[(bit * 10 + 5) * 4] > 127 ? 1 : 0);
  return value;
}
function play(url, options) {
  const hls = window.hls = new Hls({lowLatencyMode: true, ...options});
  hls.on(Hls.Events.ERROR, (_, data) => {
    window.errors.push([data.type, data.details, data.fatal]);
    if (data.details === "bufferStalledError") window.stalls++;
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  video.play();
  // hls.js starts where the live edge was when it began to load: catch up once.
  video.addEventListener("playing", () => setTimeout(() => {
    if (hls.latency > hls.targetLatency + 0.1) video.currentTime = hls.liveSyncPosition;
  }, 1000), {once: true});
  const next = (now, frame) => {
    const shown = hls.playingDate;
    const tag = mediaTime(hls, frame.mediaTime);
    window.seen.push({
      burned: burned(), wall: Date.now(), media: frame.mediaTime, latency: hls.latency,
      date: shown ? shown.getTime() + (frame.mediaTime - video.currentTime) * 1000 : null,
      epoch: tag && tag.epoch, pts: tag && tag.pts,
    });
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}
// The exact media time of a playhead, by the tag that each segment carries.
function mediaTime(hls, at) {
  const details = hls.levels[hls.currentLevel]?.details;
  const fragment = details?.fragments.findLast((f) => f.start <= at + 0.001);
  const line = fragment?.tagList.find((tag) => tag[0].endsWith("EXT-X-LIVE-MEDIA-TIME"));
  if (!line) return null;
  const [, epoch, pts] = line[1].match(/EPOCH=(\\d+),PTS=([\\d.]+)/);
  return {epoch: +epoch, pts: +pts + (at - fragment.start) * 1000};
}
</script>"""


class Stage:
    """A packager, its HTTP side, and a page."""

    def __init__(self, packager: Packager, port: int) -> None:
        self.packager = packager
        self.url = f"http://127.0.0.1:{port}"

    def live(self, room: str = "demo") -> str:
        """The live playlist of a room."""
        return f"{self.url}/v1/rooms/{room}/hls/index.m3u8"


@asynccontextmanager
async def stage(recordings: Path | None = None) -> AsyncIterator[Stage]:
    """HLS over HTTP on a free port of loopback."""
    recorder = None if recordings is None else Recorder(recordings, 10**9)
    packager = Packager(recorder=recorder)
    app = FastAPI()
    app.include_router(hls_router(packager))

    @app.get("/")
    async def player() -> Response:
        return HTMLResponse(_PLAYER)

    @app.get("/hls.js")
    async def hls_js() -> Response:
        return FileResponse(ROOT / "web" / "node_modules" / "hls.js" / "dist" / "hls.min.js")

    @app.get("/favicon.ico")
    async def icon() -> Response:
        return Response()

    [port] = free_ports(1)
    config = uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    try:
        await until(started, "the server's start")
        yield Stage(packager, port)
    finally:
        await packager.close()
        server.should_exit = True
        await task


class Host:
    """Publishes one epoch in real time until it is told to stop."""

    def __init__(
        self, packager: Packager, epoch: int = 1, room: str = "demo", sound_late_ms: float = 0.0
    ) -> None:
        self._packager = packager
        self._epoch = epoch
        self._room = room
        self._sound_late_ms = sound_late_ms
        self.began_ms = time.time() * 1000
        self.pts_ms = 0.0
        self._encoder = av.CodecContext.create("libx264", "w")
        self._encoder.width, self._encoder.height = WIDTH, HEIGHT
        self._encoder.pix_fmt = "yuv420p"
        self._encoder.time_base = Fraction(1, FPS)
        self._encoder.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "crf": "26",
            "x264-params": "keyint=60:scenecut=0",
        }
        self._packets = sound("opus", 50)

    async def on_air(self) -> None:
        """Publish until cancelled; then the epoch has ended."""
        number = spoken = 0
        try:
            while True:
                self.pts_ms = number * 1000 / FPS
                await asyncio.sleep(max(0.0, (self.began_ms + self.pts_ms) / 1000 - time.time()))
                while spoken * 20 <= self.pts_ms - self._sound_late_ms:
                    self._packager.feed(self._sound(spoken))
                    spoken += 1
                self._packager.feed(self._video(number))
                number += 1
        finally:
            self._packager.end_epoch(self._room, self._epoch)

    def encode_ahead(self, seconds: int) -> None:
        """Publish so much at once; the epoch has ended then."""
        for number in range(seconds * FPS):
            for spoken in range(number * 50 // FPS, (number + 1) * 50 // FPS):
                self._packager.feed(self._sound(spoken))
            self._packager.feed(self._video(number))
        self._packager.end_epoch(self._room, self._epoch)

    def _video(self, number: int) -> EncodedFrame:
        picture = _burned(round(number * 1000 / FPS))
        picture.pts, picture.time_base = number, Fraction(1, FPS)
        [packet] = self._encoder.encode(picture)
        return self._frame("video", number * 1000 / FPS, bytes(packet), packet.is_keyframe)

    def _sound(self, number: int) -> EncodedFrame:
        return self._frame("audio", number * 20.0, self._packets[number % 50][1], True)

    def _frame(self, track: str, pts_ms: float, data: bytes, is_key: bool) -> EncodedFrame:
        return EncodedFrame(
            room=self._room, epoch=self._epoch, track="video" if track == "video" else "audio",
            codec="h264" if track == "video" else "opus", rtp=0, pts_ms=pts_ms,
            server_ms=self.began_ms + pts_ms, duration_ms=0.0, is_key=is_key, data=data,
        )  # fmt: skip


def _burned(pts_ms: int) -> av.VideoFrame:
    picture = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    row = b"".join(
        (b"\xeb" if pts_ms >> (BITS - 1 - bit) & 1 else b"\x10") * SQUARE for bit in range(BITS)
    )
    luma = picture.planes[0]
    luma.update((row + bytes(luma.line_size - WIDTH)) * HEIGHT)
    for plane in picture.planes[1:]:
        plane.update(b"\x80" * plane.buffer_size)
    return picture


@asynccontextmanager
async def on_air(host: Host) -> AsyncIterator[Host]:
    """A host who publishes for as long as the block lasts."""
    task = asyncio.create_task(host.on_air())
    try:
        yield host
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
