"""Viewers who do not read: they are spared, then told, then put out; nobody else notices."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from engagement.errors import CLOSE_CODES
from engagement.settings import Settings
from tests.gateway_process import GatewayProcess, Worker, comment, request

RECEIVE_BUFFER_BYTES = 4_096


@pytest.fixture(scope="module")
def worker(engines: Settings) -> Iterator[Worker]:
    process = Worker(engines)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
async def gateway(engines: Settings, worker: Worker) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(engines)
    process.start()
    yield await process.ready()
    _, log = process.stop()
    assert "Traceback" not in log, log


class StuckViewer:
    """A socket with a tiny receive buffer, which reads only when it is told to."""

    def __init__(self, gateway: GatewayProcess, room: str) -> None:
        self._protocol = ClientProtocol(
            parse_uri(f"ws://{gateway.address}/v1/rooms/{room}/live"), max_size=None
        )
        self._port = gateway.port
        self.frames: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.ended = False

    async def connect(self) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", self._port))
        self._raw = raw
        handshake = self._protocol.connect()
        handshake.headers["X-User"] = "stuck"
        self._protocol.send_request(handshake)
        await loop.sock_sendall(raw, b"".join(self._protocol.data_to_send()))
        while not self.frames:
            await self.read()

    async def read(self) -> None:
        """Take what has arrived."""
        data = b""
        try:
            loop = asyncio.get_running_loop()
            data = await asyncio.wait_for(loop.sock_recv(self._raw, 65_536), 15)
        except ConnectionResetError:
            pass
        if not data:
            self.ended = True
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            opcode = getattr(event, "opcode", None)
            if opcode is Opcode.TEXT:
                self.frames.append(json.loads(event.data))  # type: ignore[union-attr]
            elif opcode is Opcode.CLOSE:
                self.close_code = self._protocol.close_rcvd and self._protocol.close_rcvd.code

    def seen(self) -> list[str]:
        return [
            event["id"]
            for frame in self.frames
            if frame["t"] == "events"
            for event in frame["events"]
        ]

    def leave(self) -> None:
        self._raw.close()


async def flood(gateway: GatewayProcess, room: str, requests: list[dict[str, Any]]) -> list[str]:
    """Post so many requests that no buffer holds what comes of them."""
    for first in range(0, len(requests), 200):
        batch = requests[first : first + 200]
        answer = await gateway.post(room, batch, "ana", "service")
        assert answer.status_code == 202, answer.text
    return [each["id"] for each in requests]


async def test_a_viewer_who_falls_behind_is_spared_comments_and_told_how_many(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    stuck, healthy = StuckViewer(gateway, room), await gateway.watch(room)
    await stuck.connect()
    posted = await flood(gateway, room, [comment("x" * 480) for _ in range(1_500)])
    assert [event["id"] for event in await healthy.events(1_500)] == posted
    while not any(frame["t"] == "skipped" for frame in stuck.frames):
        await stuck.read()
        assert not stuck.ended
    [skipped] = [frame for frame in stuck.frames if frame["t"] == "skipped"]
    before = [each for each in stuck.seen() if each in set(posted)]
    assert before == posted[: len(before)]
    assert len(before) + skipped["counts"]["comment.posted"] == len(posted)
    last = await gateway.comment(room, "you are back")
    while last not in stuck.seen():
        await stuck.read()
    # It may also come back for what it was spared.
    cursors = [frame["cursor"] for frame in stuck.frames if frame["t"] == "events"]
    again = await gateway.watch(room, cursors[0])
    await again.next("hello")
    await again.events(len(posted) - 200)
    for viewer in (again, healthy):
        await viewer.leave()
    stuck.leave()


async def test_a_viewer_whose_buffer_fills_with_what_must_not_be_dropped_is_put_out(
    gateway: GatewayProcess, room: str
) -> None:
    await gateway.open_room(room)
    stuck, healthy = StuckViewer(gateway, room), await gateway.watch(room)
    await stuck.connect()
    mutes = [
        request("viewer.mute", {"target": uuid.uuid4().hex * 4, "seconds": 60})
        for _ in range(1_600)
    ]
    posted = await flood(gateway, room, mutes)
    assert [event["id"] for event in await healthy.events(1_600, "viewer.muted")] == posted
    await asyncio.wait_for(_end_of(stuck), 30)
    # Either the close frame got through, or the connection was cut because it could not.
    assert stuck.close_code in (None, CLOSE_CODES["slow_consumer"])
    seen = [each for each in stuck.seen() if each in set(posted)]
    assert seen == posted[: len(seen)]
    assert len(seen) < len(posted)
    metrics = (await gateway.http.get("/metrics")).text
    assert f'closes_total{{code="{CLOSE_CODES["slow_consumer"]}"}} 1.0' in metrics
    await healthy.leave()


async def _end_of(viewer: StuckViewer) -> None:
    while not viewer.ended and viewer.close_code is None:
        await viewer.read()
