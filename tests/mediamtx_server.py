"""A stand-in for MediaMTX, written from its documentation: control API, HTTP authentication, WHIP
and WHEP, and a low-latency playlist whose dates are the wall clock's. WebRTC is real (aiortc),
what it carries is dropped.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from fastapi import FastAPI, Request, Response

from media.mediamtx.api import Addresses
from tests.conftest import free_ports
from tests.waiting import until

PART_S, PARTS = 0.05, 20
"""Of a part, and parts in a segment. MediaMTX makes parts of 0.2 s; with shorter ones the clock
states less uncertainty, and settles in a second rather than in five."""


class Path:
    """A path that somebody publishes on."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.began_s = time.time()

    def parts(self) -> int:
        return int((time.time() - self.began_s) / PART_S)

    def playlist(self) -> str:
        lines = [
            "#EXTM3U", "#EXT-X-VERSION:9", "#EXT-X-TARGETDURATION:1",
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6,CAN-SKIP-UNTIL=6",
            f"#EXT-X-PART-INF:PART-TARGET={PART_S}", "#EXT-X-MEDIA-SEQUENCE:0",
        ]  # fmt: skip
        for part in range(self.parts()):
            if part % PARTS == 0:
                date = datetime.fromtimestamp(self.began_s + part * PART_S, UTC)
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{date.isoformat(timespec='milliseconds')}")
            lines.append(f'#EXT-X-PART:DURATION={PART_S:.5f},URI="part{part}.mp4"')
            if part % PARTS == PARTS - 1:
                lines += [f"#EXTINF:{PART_S * PARTS:.5f},", f"seg{part // PARTS}.mp4"]
        return "\n".join(lines) + "\n"


class MediaMtxStandIn:
    """A server; `auth_url` is asked who may do what."""

    def __init__(self) -> None:
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.auth_url = ""
        self.paths: dict[str, Path] = {}
        self.is_gone = False
        """Answers nothing but errors, as a proxy does whose server is away."""
        self.app = FastAPI()
        self.app.middleware("http")(self._or_gone)
        self._peers: dict[str, RTCPeerConnection] = {}
        self._add_api()
        self._add_webrtc()
        self._add_hls()

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.url, self.url, self.url)

    async def close(self) -> None:
        for session in list(self._peers):
            await self._end(session)

    async def _or_gone(self, request: Request, call_next: Any) -> Response:
        answer: Response = Response(status_code=502)
        if not self.is_gone:
            answer = await call_next(request)
        return answer

    def _add_api(self) -> None:
        @self.app.get("/v3/paths/list")
        async def paths() -> dict[str, Any]:
            items = [
                {
                    "name": name,
                    "ready": True,
                    "readyTime": datetime.fromtimestamp(path.began_s, UTC).isoformat(),
                    "source": {"type": "webRTCSession", "id": path.session},
                    "readers": [],
                }
                for name, path in self.paths.items()
            ]
            return {"itemCount": len(items), "pageCount": 1, "items": items}

        @self.app.post("/v3/webrtcsessions/kick/{session}")
        async def kick(session: str) -> Response:
            if session not in self._peers:
                return Response(status_code=404)
            await self._end(session)
            return Response(status_code=200)

    def _add_webrtc(self) -> None:
        @self.app.post("/{name}/{way}")
        async def offer(name: str, way: str, request: Request) -> Response:
            action = {"whip": "publish", "whep": "read"}[way]
            if not await self._is_allowed(action, name, request):
                return Response(status_code=401)
            if action == "read" and name not in self.paths:
                return Response(status_code=404)
            return await self._answer(name, way, (await request.body()).decode())

        @self.app.delete("/{name}/{way}/{session}")
        async def leave(name: str, way: str, session: str) -> Response:
            await self._end(session)
            return Response(status_code=200)

        @self.app.patch("/{name}/{way}/{session}")
        async def trickle(name: str, way: str, session: str) -> Response:
            return Response(status_code=204 if session in self._peers else 404)

    def _add_hls(self) -> None:
        @self.app.get("/{name}/index.m3u8")
        async def multivariant(name: str) -> Response:
            if name not in self.paths:
                return Response(status_code=404)
            text = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.42c01f"\nmain.m3u8\n'
            return Response(text, media_type="application/vnd.apple.mpegurl")

        @self.app.get("/{name}/main.m3u8")
        async def media(name: str, request: Request) -> Response:
            path = self.paths.get(name)
            if path is None:
                return Response(status_code=404)
            msn = int(request.query_params.get("_HLS_msn", "0"))
            wanted = msn * PARTS + int(request.query_params.get("_HLS_part", "0")) + 1

            async def is_there() -> bool:
                return path.parts() >= wanted or self.paths.get(name) is not path

            await until(is_there, "a part")
            return Response(path.playlist(), media_type="application/vnd.apple.mpegurl")

    async def _is_allowed(self, action: str, name: str, request: Request) -> bool:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        question = {
            "user": "", "password": "", "token": bearer or request.query_params.get("token", ""),
            "ip": "127.0.0.1", "action": action, "path": name, "protocol": "webrtc",
            "id": str(uuid.uuid4()), "query": str(request.url.query),
        }  # fmt: skip
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.post(self.auth_url, json=question)).status_code // 10 == 20

    async def _answer(self, name: str, way: str, offer: str) -> Response:
        session = str(uuid.uuid4())
        peer = self._peers[session] = RTCPeerConnection(RTCConfiguration(iceServers=[]))

        @peer.on("connectionstatechange")
        async def changed() -> None:
            if peer.connectionState == "connected" and way == "whip":
                replaced = self.paths.get(name)
                self.paths[name] = Path(session)
                if replaced is not None:
                    await self._end(replaced.session)
            elif peer.connectionState in ("closed", "failed"):
                await self._end(session)

        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        headers = {"location": f"/{name}/{way}/{session}"}
        sdp = peer.localDescription.sdp
        return Response(sdp, 201, headers=headers, media_type="application/sdp")

    async def _end(self, session: str) -> None:
        peer = self._peers.pop(session, None)
        self.paths = {n: path for n, path in self.paths.items() if path.session != session}
        if peer is not None:
            await peer.close()


@asynccontextmanager
async def serving(app: FastAPI, port: int) -> AsyncIterator[None]:
    """An application on a port of loopback."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve())

    async def is_up() -> bool:
        return server.started

    await until(is_up, "the server")
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def stand_in() -> AsyncIterator[MediaMtxStandIn]:
    """A stand-in that runs."""
    made = MediaMtxStandIn()
    async with serving(made.app, made.port):
        try:
            yield made
        finally:
            await made.close()
