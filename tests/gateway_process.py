"""Gateways and a worker as processes, and small clients of them."""

import asyncio
import json
import signal
import subprocess
import sys
import uuid
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from engagement.settings import Settings
from tests.conftest import free_ports, process_environment
from tests.waiting import until

_RUN = "from engagement.settings import settings; from {module} import run; run(settings())"


class Process:
    """One of our processes."""

    def __init__(self, module: str, settings: Settings, **more: str) -> None:
        self._arguments = [sys.executable, "-c", _RUN.format(module=module)]
        self._environment = process_environment(settings, **more)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._arguments, env=self._environment, stderr=subprocess.PIPE
        )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it; its exit code and what it logged."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        _, log = self._process.communicate(timeout=20)
        return self._process.returncode, log.decode()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


class Worker(Process):
    """A room processor."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("engagement.processors.main", settings)


class GatewayProcess(Process):
    """A gateway on a port of its own."""

    def __init__(self, settings: Settings, **more: str) -> None:
        [self.port] = free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self.http = httpx.AsyncClient(base_url=f"http://{self.address}", timeout=30)
        super().__init__(
            "engagement.gateway.main", settings, ENGAGEMENT_PORT=str(self.port), **more
        )

    async def ready(self) -> "GatewayProcess":
        async def answers() -> bool:
            assert self.running, self.stop()[1]
            try:
                return (await self.http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until(answers, "the gateway's readiness")
        return self

    async def open_room(self, room: str, host: str = "ana") -> dict[str, Any]:
        answer = await self.http.put(
            f"/v1/rooms/{room}", json={"title": "A room", "host": host}, headers={"X-User": host}
        )
        assert answer.status_code in (200, 201), answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def post(
        self, room: str, requests: Any, user: str = "ben", role: str = "viewer"
    ) -> httpx.Response:
        return await self.http.post(
            f"/v1/rooms/{room}/events",
            content=json.dumps(requests),
            headers={"X-User": user, "X-Role": role},
        )

    async def comment(self, room: str, text: str = "hello", user: str = "ben") -> str:
        request = comment(text)
        answer = await self.post(room, request, user)
        assert answer.status_code == 202, answer.text
        return str(request["id"])

    async def watch(
        self, room: str, cursor: str = "", user: str | None = "viv", **options: Any
    ) -> "Viewer":
        headers = {} if user is None else {"X-User": user}
        url = f"ws://{self.address}/v1/rooms/{room}/live"
        socket = await websockets.connect(
            f"{url}?cursor={cursor}" if cursor else url,
            additional_headers={**headers, **options.pop("headers", {})},
            max_size=None,
            **options,
        )
        return Viewer(socket)


class Viewer:
    """A socket, and what came over it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def next(self, kind: str | None = None, within_s: float = 15) -> dict[str, Any]:
        """The next frame (of this kind); those before it are kept in `frames` too."""
        async with asyncio.timeout(within_s):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                self.frames.append(frame)
                if kind is None or frame["t"] == kind:
                    return frame

    async def events(self, count: int, kind: str = "comment.posted") -> list[dict[str, Any]]:
        """Read until there are so many events of a kind; all of them."""
        while len(found := self.seen(kind)) < count:
            await self.next("events")
        return found

    def seen(self, kind: str = "comment.posted") -> list[dict[str, Any]]:
        """Events of a kind so far, snapshot not included."""
        return [
            event
            for frame in self.frames
            if frame["t"] == "events"
            for event in frame["events"]
            if event["type"] == kind
        ]

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def close_code(self, within_s: float = 15) -> int | None:
        """Read to the end; the code that the gateway closed with."""
        async with asyncio.timeout(within_s):
            try:
                while True:
                    self.frames.append(json.loads(await self.socket.recv()))
            except websockets.ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None

    async def leave(self) -> None:
        await self.socket.close()


def comment(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "type": "comment.post", "data": {"text": text}, **more}


def request(kind: str, data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "type": kind, "data": data or {}, **more}
