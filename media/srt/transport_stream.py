"""H.264 and AAC or Opus out of an MPEG transport stream, as it comes. Sans-I/O.

One program's first video and first sound are taken; everything else is skipped. A packet that is
lost breaks what it belonged to and nothing else. Sources: ISO/IEC 13818-1 (2.4.3 packets and PES,
2.4.4 tables), ISO/IEC 14496-3 1.A (ADTS).
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from media.srt import bounds
from media.srt.elementary import OpusReader, SoundReader, SoundUnit, VideoReader, VideoUnit
from media.srt.tables import Section, StreamKind, program_of, streams_of

PACKET_BYTES: Final = 188
_SYNC: Final = 0x47
_PAT_PID: Final = 0
_NULL_PID: Final = 0x1FFF


class Pes(Struct, frozen=True):
    """One packetized elementary stream packet; times in 90 kHz ticks."""

    pts: int | None
    dts: int | None
    payload: bytes


class _Stream:
    """One elementary stream: its packets put together."""

    def __init__(self, reader: VideoReader | SoundReader | OpusReader) -> None:
        self.reader = reader
        self._counter: int | None = None
        self._parts: list[bytes] = []
        self._held = 0
        self._is_open = False
        self._length = 0

    def packet(
        self, counter: int, payload: bytes, *, is_start: bool, is_discontinuity: bool
    ) -> Iterator[VideoUnit | SoundUnit]:
        """Take in one transport packet's payload; what it completes."""
        if self._counter == counter and not is_discontinuity:
            return  # Sent twice (2.4.3.3).
        expected = None if self._counter is None else (self._counter + 1) % 16
        self._counter = counter
        if expected not in (None, counter) and not is_discontinuity:
            self._lose()
        if is_start:
            yield from self.finish()
            self._is_open = True
            self._length = _announced_bytes(payload)
        if not self._is_open:
            return
        self._parts.append(payload)
        self._held += len(payload)
        if self._held > bounds.PES_BYTES_MAX:
            self._lose()
        elif self._length and self._held >= self._length:
            yield from self.finish()

    def finish(self) -> Iterator[VideoUnit | SoundUnit]:
        """What has been put together is whole."""
        data, is_open = b"".join(self._parts), self._is_open
        self._parts, self._held, self._is_open = [], 0, False
        if is_open:
            pes = parse_pes(data)
            if pes is None:
                self.reader.lose()
            else:
                yield from self.reader.take(pes.pts, pes.dts, pes.payload)

    def _lose(self) -> None:
        self._parts, self._held, self._is_open = [], 0, False
        self.reader.lose()


class TransportStream:
    """One publisher's stream; raises BadRequestError for codecs that are not carried."""

    def __init__(self) -> None:
        self.skipped_bytes = 0
        """What was no transport stream."""
        self._rest = b""
        self._sections: dict[int, Section] = {_PAT_PID: Section()}
        self._program_pid: int | None = None
        self._streams: dict[int, _Stream] = {}

    def receive(self, data: bytes) -> list[VideoUnit | SoundUnit]:
        """Take in bytes; the access units and packets of sound that they complete, in order."""
        data = self._rest + data
        units: list[VideoUnit | SoundUnit] = []
        at = 0
        while at + PACKET_BYTES <= len(data):
            if data[at] != _SYNC:
                found = data.find(_SYNC, at)
                found = len(data) if found < 0 else found
                self.skipped_bytes += found - at
                at = found
                continue
            units += self._packet(data[at : at + PACKET_BYTES])
            at += PACKET_BYTES
        self._rest = data[at:]
        return units

    def _packet(self, packet: bytes) -> Iterator[VideoUnit | SoundUnit]:
        pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
        is_broken, is_start = bool(packet[1] & 0x80), bool(packet[1] & 0x40)
        if is_broken or pid == _NULL_PID or packet[3] & 0xC0:
            return  # Damaged, stuffing, or scrambled.
        payload, is_discontinuity = _payload(packet)
        if pid in self._sections:
            for table in self._sections[pid].packet(payload, is_start=is_start):
                self._table(pid, table)
        elif pid in self._streams and payload:
            yield from self._streams[pid].packet(
                packet[3] & 15, payload, is_start=is_start, is_discontinuity=is_discontinuity
            )

    def _table(self, pid: int, table: bytes) -> None:
        if pid == _PAT_PID:
            program_pid = program_of(table)
            if program_pid is not None and program_pid != self._program_pid:
                self._program_pid = program_pid
                self._sections = {_PAT_PID: self._sections[_PAT_PID], program_pid: Section()}
                self._streams = {}
            return
        kinds: dict[str, int] = {}
        for stream_pid, kind in streams_of(table):
            if kind is not None:
                kinds.setdefault("video" if kind == "h264" else "sound", stream_pid)
                if stream_pid not in self._streams and stream_pid in kinds.values():
                    self._streams[stream_pid] = _Stream(_reader(kind))
        self._streams = {p: s for p, s in self._streams.items() if p in kinds.values()}


def parse_pes(data: bytes) -> Pes | None:
    """Read a PES packet (2.4.3.6); None for one that is broken."""
    if len(data) < 9 or data[:3] != b"\0\0\1" or data[6] & 0xC0 != 0x80:
        return None
    begins = 9 + data[8]
    if begins > len(data):
        return None
    announced = _announced_bytes(data)
    if announced and len(data) < announced:
        return None
    pts = _timestamp(data[9:14]) if data[7] & 0x80 and data[8] >= 5 else None
    dts = _timestamp(data[14:19]) if data[7] & 0xC0 == 0xC0 and data[8] >= 10 else pts
    return Pes(pts, dts, data[begins:announced] if announced else data[begins:])


def _announced_bytes(data: bytes) -> int:
    """How long a PES packet says it is; 0: it does not."""
    length = int.from_bytes(data[4:6], "big")
    return length + 6 if length else 0


def _timestamp(data: bytes) -> int | None:
    """33 bits between marker bits."""
    if len(data) < 5 or not data[0] & data[2] & data[4] & 1:
        return None
    high, middle, low = data[0] >> 1 & 7, data[1:3], data[3:5]
    return high << 30 | int.from_bytes(middle, "big") >> 1 << 15 | int.from_bytes(low, "big") >> 1


def _payload(packet: bytes) -> tuple[bytes, bool]:
    """What a packet carries, and whether its counter begins anew (2.4.3.4)."""
    has_adaptation, has_payload = packet[3] & 0x20, packet[3] & 0x10
    at, is_discontinuity = 4, False
    if has_adaptation:
        length = packet[4]
        at = 5 + length
        is_discontinuity = length > 0 and bool(packet[5] & 0x80)
    return (packet[at:] if has_payload else b""), is_discontinuity


def _reader(kind: StreamKind) -> VideoReader | SoundReader | OpusReader:
    if kind == "h264":
        return VideoReader()
    return OpusReader() if kind == "opus" else SoundReader()
