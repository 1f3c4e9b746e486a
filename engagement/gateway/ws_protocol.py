"""The one place that touches uvicorn's inside: its WebSocket protocol, with the transport shown.

`websocket.send` awaits and encodes for each socket; fan-out writes one frame's bytes to a
thousand. So the protocol object is put into the scope (`scope["live_socket"]`), and the sockets
write to its transport. What is relied upon is pinned by `tests/contract/test_ws_protocol.py`
and by the exact version of uvicorn in `pyproject.toml`.
"""

import socket
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState, PayloadTooBig

from engagement.domain import limits
from engagement.errors import CLOSE_CODES
from engagement.gateway import metrics
from engagement.gateway.frames import json_frame

SCOPE_KEY: Final = "live_socket"

_NOTHING: Final[Callable[[], None]] = lambda: None  # noqa: E731 - a constant, not a function


class LiveProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, plus: writing past ASGI, back-pressure told, our close codes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_pause: Callable[[], None] = _NOTHING
        self.on_resume: Callable[[], None] = _NOTHING
        self.on_lost: Callable[[], None] = _NOTHING

    # --- what the sockets use -------------------------------------------------------------------

    def write(self, frame: bytes) -> None:
        """Hand a whole frame to the transport; dropped once a close frame has been sent."""
        if not self.close_sent and not self.disconnected:
            self.transport.write(frame)

    def buffered_bytes(self) -> int:
        """What waits in user space."""
        return self.transport.get_write_buffer_size()

    def bound_buffers(self) -> None:
        """Make the kernel's buffer small, so that ours tells who is slow, and say when."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SOCKET_SNDBUF_BYTES)
        self.transport.set_write_buffer_limits(
            high=limits.SOCKET_SHAPE_BYTES, low=limits.SOCKET_SHAPE_BYTES // 4
        )

    def close_with(self, code: int, reason: str) -> None:
        """Send a close frame without waiting, and abort if the peer does not take it."""
        if self.close_sent or self.disconnected:
            return
        try:
            self.conn.send_close(code, reason)
        except InvalidState:
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._resume_reading()
        self.close_timer = self.loop.call_later(limits.CLOSE_TIMEOUT_S, self.transport.abort)

    def _resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    # --- what uvicorn and the transport call ----------------------------------------------------

    def handle_connect(self, event: Any) -> None:
        """A handshake: the ASGI task made here starts at the loop's next turn."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope[SCOPE_KEY] = self  # type: ignore[typeddict-unknown-key]

    def pause_writing(self) -> None:
        """The buffer has passed its high mark."""
        super().pause_writing()
        self.on_pause()

    def resume_writing(self) -> None:
        """The buffer has drained to its low mark."""
        super().resume_writing()
        self.on_resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        super().connection_lost(exc)
        self.on_lost()
        self.on_pause = self.on_resume = self.on_lost = _NOTHING

    def send_receive_event_to_app(self) -> None:
        """A whole message. One that is not UTF-8 is told and closed, not logged with a stack."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self._fail("bad_frame", "a text frame is UTF-8")
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """A frame that is too large gets our close code, not 1009 without a word."""
        if isinstance(self.conn.parser_exc, PayloadTooBig) and not self.close_sent:
            self.conn.data_to_send()  # The close frame that the library has prepared.
            self._fail("frame_too_large", f"a frame has at most {limits.FRAME_BYTES_MAX} bytes")
            return
        super().handle_parser_exception()

    def _fail(self, reason: str, detail: str) -> None:
        """Say what was wrong, close, and read no further."""
        code = CLOSE_CODES[reason]
        metrics.CLOSES.labels(str(code)).inc()
        error = json_frame({"t": "error", "code": reason, "detail": detail})
        self.transport.write(error + close_frame(code, reason))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.close()

    def shutdown(self) -> None:
        """The process ends: tell viewers to come back, wherever the balancer sends them."""
        if self.handshake_complete and not self.close_sent:
            self.stop_keepalive()
            self.close_with(CLOSE_CODES["restarting"], "restarting")
        else:
            super().shutdown()


def close_frame(code: int, reason: str) -> bytes:
    """A close frame (RFC 6455 section 5.5.1)."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((0x88, len(payload))) + payload


class HurriedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, but a connection that does not send its first request's headers
    in time is closed: holding connections open costs an attacker nothing otherwise."""

    _headers_timer: Any = None

    def connection_made(self, transport: Any) -> None:
        """A connection: its first request must come."""
        super().connection_made(transport)
        self._headers_timer = self.loop.call_later(limits.HEADERS_TIMEOUT_S, transport.close)

    def on_headers_complete(self) -> None:
        """It came."""
        self._stop_headers_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_headers_timer()
        super().connection_lost(exc)

    def _stop_headers_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None
