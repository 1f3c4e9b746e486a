"""What `ws_protocol` relies on inside uvicorn and websockets: a new version that changes it fails
here, not in production."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
import websockets
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from engagement.domain import limits
from engagement.gateway.frames import json_frame
from engagement.gateway.ws_protocol import SCOPE_KEY, HurriedHttpProtocol, LiveProtocol
from tests.conftest import free_ports
from tests.waiting import until

Handler = Callable[[LiveProtocol, Any], Awaitable[None]]


class Server:
    """A real uvicorn with our protocols and one socket handler."""

    def __init__(self, handler: Handler) -> None:
        [self.port] = free_ports(1)
        self.protocols: list[LiveProtocol] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "websocket":
                return
            await receive()
            await send({"type": "websocket.accept"})
            self.protocols.append(scope[SCOPE_KEY])
            await handler(scope[SCOPE_KEY], receive)

        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                port=self.port,
                ws=LiveProtocol,
                http=HurriedHttpProtocol,
                ws_max_size=64 * 1024,
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=1,
            )
        )
        self._server.config.load()

    async def __aenter__(self) -> "Server":
        self._task = asyncio.create_task(self._server._serve())

        async def started() -> bool:
            return self._server.started

        await until(started)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._task

    def connect(self, **options: Any) -> Any:
        return websockets.connect(f"ws://127.0.0.1:{self.port}/", **options)


async def hold(protocol: LiveProtocol, receive: Any) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


def test_uvicorn_has_the_attributes_we_use() -> None:
    source = inspect.getsource(WebSocketsSansIOProtocol.__init__)
    for name in ("queue", "close_sent", "disconnected", "writable", "conn", "read_paused"):
        assert f"self.{name}" in source
    for method in (
        "handle_connect", "pause_writing", "resume_writing", "connection_lost", "shutdown",
        "handle_parser_exception", "send_receive_event_to_app", "stop_keepalive",
    ):  # fmt: skip
        assert callable(getattr(WebSocketsSansIOProtocol, method))


async def test_a_frame_written_to_the_transport_arrives_between_others() -> None:
    async def write(protocol: LiveProtocol, receive: Any) -> None:
        protocol.write(json_frame({"n": 1}))
        protocol.write(json_frame({"n": 2, "long": "x" * 70_000}))
        await hold(protocol, receive)

    async with Server(write) as server, server.connect() as socket:
        assert json.loads(await socket.recv()) == {"n": 1}
        assert json.loads(await socket.recv())["n"] == 2
        pong = await socket.ping()
        await asyncio.wait_for(pong, 5)


async def test_a_peer_that_does_not_read_pauses_us_and_one_that_reads_again_resumes_us() -> None:
    heard: list[str] = []

    async def flood(protocol: LiveProtocol, receive: Any) -> None:
        protocol.bound_buffers()
        protocol.on_pause = lambda: heard.append("pause")
        protocol.on_resume = lambda: heard.append("resume")
        while not heard:
            protocol.write(json_frame({"pad": "x" * 8_000}))
            await asyncio.sleep(0)
        await hold(protocol, receive)

    async with Server(flood) as server, server.connect(max_queue=1) as socket:

        async def paused() -> bool:
            return bool(heard)

        await until(paused)
        assert server.protocols[0].buffered_bytes() > limits.SOCKET_SHAPE_BYTES
        while "resume" not in heard:
            await asyncio.wait_for(socket.recv(), 5)
        assert heard == ["pause", "resume"]
        socket.transport.abort()


async def test_closing_does_not_wait_for_a_peer_that_does_not_read() -> None:
    lost = asyncio.Event()

    async def close(protocol: LiveProtocol, receive: Any) -> None:
        protocol.bound_buffers()
        protocol.on_lost = lost.set
        while protocol.writable.is_set():
            protocol.write(json_frame({"pad": "x" * 8_000}))
            await asyncio.sleep(0)
        protocol.close_with(3001, "slow_consumer")
        protocol.write(b"nothing is written after a close frame")
        await hold(protocol, receive)

    async with Server(close) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readline()
        await asyncio.wait_for(lost.wait(), limits.CLOSE_TIMEOUT_S + 3)
        writer.close()


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"x" * (64 * 1024 + 1), 3505), ("x" * (64 * 1024 + 1), 3505)],
)
async def test_a_frame_beyond_what_is_read_gets_our_code(message: Any, code: int) -> None:
    async with Server(hold) as server, server.connect() as socket:
        await socket.send(message)
        assert json.loads(await socket.recv())["code"] == "frame_too_large"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code


async def test_text_that_is_no_utf8_gets_our_code_and_no_stack_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Server(hold) as server, server.connect() as socket:
        await socket.send(b"\xff\xfe", text=True)
        assert json.loads(await socket.recv())["code"] == "bad_frame"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3502
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_stopping_server_closes_with_our_code() -> None:
    async with Server(hold) as server, server.connect() as socket:
        stopping = asyncio.create_task(server.stop())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3000
        await stopping


async def test_a_connection_that_sends_no_headers_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HEADERS_TIMEOUT_S", 0.05)
    async with Server(hold) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
