"""One publisher's RTMP connection, as a server sees it. Sans-I/O.

Bytes go in, events come out, and :meth:`RtmpSession.output` holds what to send. Media is handed on
only after :meth:`RtmpSession.accept`; what comes before is refused, so nobody makes this process
decode anything without a key.
Source: Adobe, "RTMP specification 1.0" (2012), section 7.
"""

from typing import Final, Literal
from urllib.parse import parse_qs, unquote

from msgspec import Struct

from media.rtmp import amf0, bounds
from media.rtmp.chunks import (
    ACKNOWLEDGEMENT,
    AGGREGATE,
    AUDIO,
    COMMAND,
    COMMAND_AMF3,
    PEER_BANDWIDTH,
    SET_CHUNK_SIZE,
    VIDEO,
    WINDOW_SIZE,
    ChunkReader,
    Message,
    bad_rtmp,
    chunked,
)
from media.rtmp.handshake import Handshake

APP: Final = "live"
MEDIA_STREAM: Final = 1
"""The one stream of a connection; a publisher needs no more."""
_CONTROL_CHUNKS, _COMMAND_CHUNKS = 2, 3
_STREAM_CHUNKS: Final = 5

State = Literal["handshake", "connecting", "connected", "asking", "publishing", "closed"]


class PublishAsked(Struct, frozen=True):
    """Somebody wants to publish; answer by `accept` or `refuse`."""

    room: str
    token: str


class MediaArrived(Struct, frozen=True):
    """An FLV tag's body."""

    kind: Literal["audio", "video"]
    timestamp_ms: int
    payload: bytes


class PublishEnded(Struct, frozen=True):
    """The publisher said that it has ended."""


Event = PublishAsked | MediaArrived | PublishEnded


class RtmpSession:
    """Any error that it raises, BadRequestError, ends the connection."""

    def __init__(self) -> None:
        self.state: State = "handshake"
        self.output = bytearray()
        """What is to be sent; whoever sends it clears it."""
        self._handshake = Handshake()
        self._chunks = ChunkReader()
        self._acknowledged = 0
        self._window = bounds.WINDOW_BYTES
        self._app = ""

    def receive(self, data: bytes) -> list[Event]:
        """Take in bytes. Raises BadRequestError for what is no RTMP, or not in its turn."""
        if self.state == "handshake":
            reply, data = self._handshake.receive(data)
            self.output += reply
            if self._handshake.is_done:
                self.state = "connecting"
        if not data:
            return []
        events: list[Event] = []
        for message in self._chunks.receive(data):
            events += self._message(message)
        self._acknowledge()
        return events

    def accept(self) -> None:
        """The publisher that asked may begin."""
        self.state = "publishing"
        self._chunks.message_bytes_max = bounds.MESSAGE_BYTES_MAX
        self._status("status", "NetStream.Publish.Start", "publishing")

    def refuse(self, why: str) -> None:
        """It may not; the connection ends when this has been sent."""
        self._status("error", "NetStream.Publish.BadName", why)
        self.state = "closed"

    def end(self, why: str) -> None:
        """Tell a publisher that its publication is over."""
        if self.state == "publishing":
            self._status("error", "NetStream.Publish.Failed", why)
        self.state = "closed"

    # --- messages -------------------------------------------------------------------------------

    def _message(self, message: Message) -> list[Event]:
        if message.kind in (AUDIO, VIDEO):
            if self.state != "publishing":
                raise bad_rtmp("media before it was allowed")
            kind: Literal["audio", "video"] = "audio" if message.kind == AUDIO else "video"
            return [MediaArrived(kind, message.timestamp_ms, message.payload)]
        if message.kind in (COMMAND, COMMAND_AMF3):
            # AMF3 commands begin with a byte that says: AMF0 follows.
            return self._command(message.payload[message.kind == COMMAND_AMF3 :])
        if message.kind == WINDOW_SIZE and len(message.payload) >= 4:
            self._window = max(1, int.from_bytes(message.payload[:4], "big"))
        elif message.kind == AGGREGATE:
            raise bad_rtmp("aggregate messages are not supported")
        return []

    def _command(self, payload: bytes) -> list[Event]:
        values = amf0.decode(payload)
        name = values[0] if values else None
        number = values[1] if len(values) > 1 else 0.0
        if not isinstance(name, str) or not isinstance(number, float):
            raise bad_rtmp("a command without a name or number")
        if name == "connect":
            self._connect(number, values)
        elif name == "createStream":
            self._result(number, None, float(MEDIA_STREAM))
        elif name == "publish":
            return self._publish(values)
        elif name in ("FCUnpublish", "deleteStream", "closeStream"):
            was_publishing, self.state = self.state == "publishing", "connected"
            return [PublishEnded()] if was_publishing else []
        elif name == "play":
            raise bad_rtmp("this port takes streams in; watch over WebRTC or HLS")
        elif number:
            self._result(number, None, None)
        return []

    def _connect(self, number: float, values: list[amf0.Value]) -> None:
        if self.state != "connecting":
            raise bad_rtmp("a second connect")
        asked = values[2] if len(values) > 2 else None
        app = asked.get("app") if isinstance(asked, dict) else None
        if not isinstance(app, str):
            raise bad_rtmp("a connect without an app")
        self._app = app.strip("/")
        self._control(WINDOW_SIZE, bounds.WINDOW_BYTES.to_bytes(4, "big"))
        self._control(PEER_BANDWIDTH, bounds.WINDOW_BYTES.to_bytes(4, "big") + b"\x02")
        self._control(SET_CHUNK_SIZE, bounds.CHUNK_BYTES_SENT.to_bytes(4, "big"))
        properties: amf0.Value = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0}
        connected: amf0.Value = {
            "level": "status",
            "code": "NetConnection.Connect.Success",
            "description": "connected",
            "objectEncoding": 0.0,
        }
        self._result(number, properties, connected)
        self.state = "connected"

    def _publish(self, values: list[amf0.Value]) -> list[Event]:
        if self.state != "connected":
            raise bad_rtmp("a publish out of turn")
        name = values[3] if len(values) > 3 else None
        if not isinstance(name, str):
            raise bad_rtmp("a publish without a stream name")
        app, _, app_query = self._app.partition("?")
        room, _, query = name.partition("?")
        if app != APP:
            self.refuse(f"publish to /{APP}/<room>?token=…, not to /{app}")
            return []
        tokens = parse_qs(query or app_query, max_num_fields=8).get("token", [""])
        self.state = "asking"
        return [PublishAsked(unquote(room.strip("/")), tokens[0])]

    # --- what is sent ---------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        received = self._chunks.received
        if received - self._acknowledged >= self._window // 2:
            self._acknowledged = received
            self._control(ACKNOWLEDGEMENT, (received % (1 << 32)).to_bytes(4, "big"))

    def _control(self, kind: int, payload: bytes) -> None:
        self._send(_CONTROL_CHUNKS, Message(kind, 0, 0, payload))

    def _result(self, number: float, *values: amf0.Value) -> None:
        payload = amf0.encode("_result", number, *values)
        self._send(_COMMAND_CHUNKS, Message(COMMAND, 0, 0, payload))

    def _status(self, level: str, code: str, description: str) -> None:
        about: amf0.Value = {"level": level, "code": code, "description": description}
        payload = amf0.encode("onStatus", 0.0, None, about)
        self._send(_STREAM_CHUNKS, Message(COMMAND, 0, MEDIA_STREAM, payload))

    def _send(self, chunk_stream: int, message: Message) -> None:
        self.output += chunked(chunk_stream, message, bounds.CHUNK_BYTES_SENT)
