"""Packets in order, grouped into frames, with a bounded wait for those that are missing. Pure."""

from msgspec import Struct

from media.rtp import bounds
from media.rtp.retransmission import ForwardedPacket


class GatheredFrame(Struct, frozen=True):
    """All packets of one timestamp."""

    timestamp: int
    arrival_ms: float
    """Of its first packet in order."""
    payloads: list[bytes]
    codec: str
    is_continuous: bool
    """Nothing is missing between it and the frame before."""


class JitterBuffer:
    """One track; `add` packets, then take what `ready` gives.

    A frame is whole when no number of it is missing and it ends with the marker (video), or when
    the next one has begun. What is still missing after `wait_ms` is given up, with the frame it
    belongs to; the next frame then is not continuous, and may lack its beginning: the codec tells.
    """

    __slots__ = ("_is_broken", "_next", "_packets", "_wait_ms", "lost_frames")

    def __init__(self, wait_ms: float = bounds.JITTER_WAIT_MS) -> None:
        self._wait_ms = wait_ms
        self._packets: dict[int, ForwardedPacket] = {}
        self._next: int | None = None
        self._is_broken = False
        self.lost_frames = 0

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packet: ForwardedPacket) -> None:
        """Take in a packet; one that was given up, or is there already, changes nothing."""
        if self._next is None:
            self._next = packet.index
        if packet.index >= self._next:
            self._packets.setdefault(packet.index, packet)

    def ready(self, now_ms: float) -> list[GatheredFrame]:
        """Frames that need not wait any longer, in order."""
        frames = []
        while self._packets:
            frame = self._take_frame()
            if frame is not None:
                frames.append(frame)
            elif not self._give_up(now_ms):
                break
        return frames

    def _take_frame(self) -> GatheredFrame | None:
        packet = None if self._next is None else self._packets.get(self._next)
        if packet is None:
            return None
        taken = [packet]
        # One packet of Opus is one frame, whatever its marker says (RFC 7587 section 4.2).
        while not (packet.marker or packet.codec == "opus"):
            following = self._packets.get(packet.index + 1)
            if following is None:
                return None
            if following.timestamp != packet.timestamp:
                break
            packet = following
            taken.append(packet)
        for packet in taken:
            del self._packets[packet.index]
        self._next = packet.index + 1
        is_continuous, self._is_broken = not self._is_broken, False
        first = taken[0]
        payloads = [packet.payload for packet in taken]
        return GatheredFrame(
            first.timestamp, first.arrival_ms, payloads, first.codec, is_continuous
        )

    def _give_up(self, now_ms: float) -> bool:
        """Skip what will not come any more; whether anything was skipped."""
        oldest = next(iter(self._packets.values()))  # In order of arrival.
        is_full = len(self._packets) > bounds.JITTER_PACKETS_MAX
        if not is_full and now_ms - oldest.arrival_ms < self._wait_ms:
            return False
        self._is_broken = True
        self.lost_frames += 1
        waiting = sorted(self._packets)
        self._next = waiting[0]
        first = self._packets[waiting[0]]
        if first.codec == "opus":
            return True
        # A frame of video that has a gap in it, or whose beginning may be in the gap, goes.
        for index in waiting:
            if self._packets[index].timestamp != first.timestamp:
                self._next = index
                break
            del self._packets[index]
            self._next = index + 1
        return True
