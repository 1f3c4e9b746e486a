"""RTMP's chunk stream: messages out of interleaved chunks, and into them. Sans-I/O.

Source: Adobe, "RTMP specification 1.0" (2012), 5.3 and 5.4.
"""

from typing import Final

from msgspec import Struct

from engagement.errors import BadRequestError
from media.rtmp import bounds

SET_CHUNK_SIZE: Final = 1
ABORT: Final = 2
ACKNOWLEDGEMENT: Final = 3
WINDOW_SIZE: Final = 5
PEER_BANDWIDTH: Final = 6
AUDIO: Final = 8
VIDEO: Final = 9
DATA_AMF3: Final = 15
COMMAND_AMF3: Final = 17
DATA: Final = 18
COMMAND: Final = 20
AGGREGATE: Final = 22

_EXTENDED: Final = 0xFFFFFF
_HEADER_BYTES: Final = (11, 7, 3, 0)
_TIME_MODULUS: Final = 1 << 32


class Message(Struct, frozen=True):
    """One message, whole."""

    kind: int
    timestamp_ms: int
    """32 bits."""
    stream: int
    payload: bytes


class _ChunkStream(Struct):
    """What the next chunk of one chunk stream may leave out."""

    timestamp: int = 0
    field: int = 0
    """The timestamp or delta as it was last told."""
    is_extended: bool = False
    length: int = 0
    kind: int = 0
    stream: int = 0
    payload: bytearray = bytearray()
    is_open: bool = False
    """A message has begun and not ended."""


def bad_rtmp(detail: str) -> BadRequestError:
    """The error for what is no RTMP."""
    return BadRequestError(detail, code="bad_rtmp")


class ChunkReader:
    """Bytes in, messages out; never holds more than `BUFFERED_BYTES_MAX` of them."""

    def __init__(self) -> None:
        self.message_bytes_max = bounds.COMMAND_BYTES_MAX
        """Longer messages are refused; grows when the publisher has been checked."""
        self.received = 0
        """Bytes since the handshake."""
        self._buffer = bytearray()
        self._chunk_bytes = 128
        self._streams: dict[int, _ChunkStream] = {}

    def receive(self, data: bytes) -> list[Message]:
        """The messages that are whole by these bytes. Raises BadRequestError for what is no RTMP,
        or beyond a bound; the connection is of no use then."""
        self.received += len(data)
        self._buffer += data
        messages = []
        at = 0
        while (chunk := self._chunk(at)) is not None:
            at, message = chunk
            if message is None:
                continue
            if message.kind in (SET_CHUNK_SIZE, ABORT):
                self._control(message)
            else:
                messages.append(message)
        del self._buffer[:at]
        return messages

    def _chunk(self, at: int) -> tuple[int, Message | None] | None:
        """The chunk at a position: where the next begins, and the message it completes; None
        while it is not here as a whole."""
        buffer = self._buffer
        if at >= len(buffer):
            return None
        form, number = buffer[at] >> 6, buffer[at] & 63
        at += 1
        if number < 2:
            if len(buffer) < at + 1 + number:
                return None
            number, at = (
                64 + int.from_bytes(buffer[at : at + 1 + number], "little"),
                at + 1 + number,
            )
        known = self._streams.get(number)
        if known is None and form != 0:
            raise bad_rtmp("a chunk stream begins without a header")
        size = _HEADER_BYTES[form]
        if len(buffer) < at + size:
            return None
        header = buffer[at : at + size]
        at += size
        field = int.from_bytes(header[:3], "big") if size else known.field if known else 0
        is_extended = field == _EXTENDED if size else known is not None and known.is_extended
        if is_extended:
            if len(buffer) < at + 4:
                return None
            field = int.from_bytes(buffer[at : at + 4], "big")
            at += 4
        length = int.from_bytes(header[3:6], "big") if size >= 7 else known.length if known else 0
        begun = len(known.payload) if known and known.is_open and form == 3 else 0
        here = min(self._chunk_bytes, length - begun)
        if length > self.message_bytes_max:
            raise bad_rtmp(f"a message of {length} bytes")
        if len(buffer) < at + here:
            return None
        told = (form, field, is_extended, length, header)
        stream = self._begun(number, told) if not begun else self._streams[number]
        self._check_buffered(here)
        stream.payload += buffer[at : at + here]
        return at + here, self._completed(stream)

    def _begun(self, number: int, told: tuple[int, int, bool, int, bytearray]) -> _ChunkStream:
        """A chunk stream whose next message begins."""
        form, field, is_extended, length, header = told
        stream = self._streams.get(number)
        if stream is None:
            if len(self._streams) >= bounds.CHUNK_STREAMS_MAX:
                raise bad_rtmp("too many chunk streams")
            stream = self._streams[number] = _ChunkStream()
        before = 0 if form == 0 else stream.timestamp
        stream.timestamp = (before + field) % _TIME_MODULUS
        stream.field, stream.is_extended, stream.length = field, is_extended, length
        if form < 2:
            stream.kind = header[6]
        if form == 0:
            stream.stream = int.from_bytes(header[7:11], "little")
        stream.payload = bytearray()
        stream.is_open = True
        return stream

    def _completed(self, stream: _ChunkStream) -> Message | None:
        if len(stream.payload) < stream.length:
            return None
        message = Message(stream.kind, stream.timestamp, stream.stream, bytes(stream.payload))
        stream.payload = bytearray()
        stream.is_open = False
        return message

    def _check_buffered(self, more: int) -> None:
        held = sum(len(stream.payload) for stream in self._streams.values())
        if held + more > bounds.BUFFERED_BYTES_MAX:
            raise bad_rtmp("too many unfinished messages")

    def _control(self, message: Message) -> None:
        if len(message.payload) < 4:
            raise bad_rtmp("a control message ends too early")
        value = int.from_bytes(message.payload[:4], "big")
        if message.kind == ABORT:
            stream = self._streams.get(value)
            if stream is not None:
                stream.payload, stream.is_open = bytearray(), False
        elif not 1 <= value <= 0x7FFFFFFF:
            raise bad_rtmp("a chunk size of 0, or beyond 31 bits")
        else:
            self._chunk_bytes = min(value, bounds.CHUNK_BYTES_MAX)


def chunked(chunk_stream: int, message: Message, chunk_bytes: int) -> bytes:
    """A message with timestamp 0 as chunks; `chunk_stream` is 2-63."""
    header = bytes((chunk_stream,)) + bytes(3) + len(message.payload).to_bytes(3, "big")
    header += bytes((message.kind,)) + message.stream.to_bytes(4, "little")
    pieces = [header, message.payload[:chunk_bytes]]
    for at in range(chunk_bytes, len(message.payload), chunk_bytes):
        pieces += [bytes((0xC0 | chunk_stream,)), message.payload[at : at + chunk_bytes]]
    return b"".join(pieces)
