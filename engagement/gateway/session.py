"""The WebSocket protocol of one viewer, without a socket: frames in, effects out.

    new ──auth──► authenticating ──authenticated()──► live ──auth──► live (a fresh token)
                        └──refused──► closed

Whoever holds the socket carries the effects out in order and reports back: `authenticated` when
a token was good, `answered` when a `send` has its results. What a client does wrong is answered
by an `error` frame and counted; one that goes on is closed (codes in `engagement.errors`).
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from engagement.domain import limits
from engagement.errors import CLOSE_CODES, BadRequestError, EngagementError
from engagement.gateway.requests_json import Parsed, parse


class _Auth(Struct, tag_field="t", tag="auth"):
    token: str


class _Send(Struct, tag_field="t", tag="send"):
    events: Raw


class _Ping(Struct, tag_field="t", tag="ping"):
    id: str | int | None = None
    at_ms: float | None = None


_FRAMES: Final = msgspec.json.Decoder(_Auth | _Send | _Ping)
_BROKEN: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)
_ECHO_CHARS_MAX: Final = 64


@dataclass(frozen=True)
class Reply:
    """Send this message."""

    message: dict[str, Any]


@dataclass(frozen=True)
class Authenticate:
    """Verify this token; then call `authenticated`, if that has not happened yet, or close."""

    token: str


@dataclass(frozen=True)
class Submit:
    """Take these requests in, then call `answered`."""

    parsed: Parsed


@dataclass(frozen=True)
class Close:
    """Close with this code and reason. The last effect there is."""

    reason: str

    @property
    def code(self) -> int:
        """The close code of this reason."""
        return CLOSE_CODES[self.reason]


Effect = Reply | Authenticate | Submit | Close


def error_message(error: EngagementError, request_id: str | None = None) -> dict[str, Any]:
    """The `error` frame of an error."""
    message: dict[str, Any] = {"t": "error", "code": error.code, "detail": error.detail}
    if error.field is not None:
        message["field"] = error.field
    if error.retry_after_s is not None:
        message["retry_after_s"] = error.retry_after_s
    if request_id is not None:
        message["id"] = request_id
    return message


class Session:
    """State of one viewer's connection. Time is an argument."""

    def __init__(self, *, named: bool, now_s: float) -> None:
        """`named`: the handshake said already who this is."""
        self.state: Literal["new", "authenticating", "live", "closed"] = (
            "authenticating" if named else "new"
        )
        self.in_flight = 0
        """`send` frames that have no results yet."""
        self.errors = 0
        self._frames_full_at_s = now_s
        """When the frame bucket will be full again (see `rates.Buckets`)."""

    def receive_text(self, text: str, now_s: float) -> list[Effect]:
        """Take a text frame."""
        if self.state == "closed":
            return []
        if len(text) > limits.FRAME_BYTES_MAX or len(text.encode()) > limits.FRAME_BYTES_MAX:
            return self.receive_too_large()
        if not self._take_frame(now_s):
            return self._wrong("rate_limited", "too many frames")
        try:
            frame = _FRAMES.decode(text)
        except _BROKEN as error:
            return self._broken(str(error))
        if isinstance(frame, _Ping):
            return [Reply(_pong(frame))]
        if isinstance(frame, _Auth):
            return self._auth(frame)
        return self._send(frame)

    def receive_binary(self) -> list[Effect]:
        """Take a binary frame: the protocol has none."""
        if self.state == "closed":
            return []
        return self._broken("frames are JSON text")

    def receive_too_large(self) -> list[Effect]:
        """Take a frame that is beyond its bound (its text may never have been read)."""
        if self.state == "closed":
            return []
        detail = f"a frame has at most {limits.FRAME_BYTES_MAX} bytes"
        return [_error("frame_too_large", detail), *self.close("frame_too_large")]

    def authenticated(self) -> None:
        """The token was good."""
        if self.state == "authenticating":
            self.state = "live"

    def answered(self) -> None:
        """A `send` has its results: its credit is free again."""
        self.in_flight -= 1

    def close(self, reason: str) -> list[Effect]:
        """End the session from this side."""
        if self.state == "closed":
            return []
        self.state = "closed"
        return [Close(reason)]

    def _auth(self, frame: _Auth) -> list[Effect]:
        if self.state == "authenticating":
            return self._wrong("already_authenticating", "the first token is being verified")
        if self.state == "new":
            self.state = "authenticating"
        return [Authenticate(frame.token)]

    def _send(self, frame: _Send) -> list[Effect]:
        if self.state != "live":
            return self._wrong("not_authenticated", "the first frame must be `auth`")
        if self.in_flight >= limits.IN_FLIGHT_SENDS_MAX:
            return self._wrong("too_many_in_flight", "wait for an `ack` before sending more")
        try:
            parsed = parse(bytes(frame.events))
            if parsed.single:
                raise BadRequestError("`events` must be an array", field="$.events")
        except EngagementError as error:
            return self._count([Reply(error_message(error))])
        self.in_flight += 1
        return [Submit(parsed)]

    def _take_frame(self, now_s: float) -> bool:
        full_at_s = max(self._frames_full_at_s, now_s)
        if full_at_s + 1 / limits.FRAMES_PER_S - now_s > limits.RATE_BURST_S + 1e-9:
            return False
        self._frames_full_at_s = full_at_s + 1 / limits.FRAMES_PER_S
        return True

    def _broken(self, detail: str) -> list[Effect]:
        if self.state == "new":
            # Not even its first frame is one of ours: this is no client of ours.
            return [_error("bad_frame", detail), *self.close("bad_frame")]
        return self._wrong("bad_frame", detail)

    def _wrong(self, code: str, detail: str) -> list[Effect]:
        return self._count([_error(code, detail)])

    def _count(self, effects: list[Effect]) -> list[Effect]:
        self.errors += 1
        if self.errors >= limits.CLIENT_ERRORS_MAX:
            effects += self.close("too_many_errors")
        return effects


def _error(code: str, detail: str) -> Reply:
    return Reply({"t": "error", "code": code, "detail": detail})


def _pong(ping: _Ping) -> dict[str, Any]:
    pong: dict[str, Any] = {"t": "pong"}
    if ping.id is not None and len(str(ping.id)) <= _ECHO_CHARS_MAX:
        pong["id"] = ping.id
    if ping.at_ms is not None:
        pong["at_ms"] = ping.at_ms
    return pong
