"""One track of a room, from whoever publishes it to all its viewers."""

from typing import Final, Protocol

from media.rtp import bounds
from media.rtp.depayload import is_key_start
from media.rtp.key_frame_requests import KeyFrameRequests
from media.rtp.packet import RtpPacket
from media.rtp.retransmission import ForwardedPacket, PacketHistory
from media.rtp.rtcp import SenderReport
from media.rtp.sequence import SequenceUnwrapper
from media.webrtc import metrics


class TrackOutput(Protocol):
    """Somebody who takes every packet of a track."""

    def send(self, packet: ForwardedPacket) -> None:
        """Take a packet; must not raise, nor wait."""

    def relay(self, report: SenderReport) -> None:
        """Take the publisher's clock."""


class TrackFanOut:
    """Numbers packets through, over a publisher's restarts, and gives them to every output."""

    def __init__(self) -> None:
        self.history: Final = PacketHistory()
        self.key_frames: Final = KeyFrameRequests()
        self.outputs: list[TrackOutput] = []
        self._newest = -1
        self._floor = 0
        """The first index of the present source."""
        self._shift = 0
        self._sequences: SequenceUnwrapper | None = None

    def begin_source(self) -> None:
        """The next packet is of another source; its numbers follow those of the one before."""
        self._sequences = None

    def forward(
        self, packet: RtpPacket, codec: str, capture: bytes, arrival_ms: float
    ) -> ForwardedPacket | None:
        """Give a packet to all outputs; None for one from before the source began."""
        if self._sequences is None:
            self._sequences = SequenceUnwrapper(packet.sequence)
            self._floor = self._newest + 1
            self._shift = self._floor - packet.sequence
        index = self._sequences.unwrap(packet.sequence) + self._shift
        if not -bounds.HISTORY_PACKETS < index - self._newest <= bounds.SKIPPED_MAX + 1:
            index = self._close_gap(packet.sequence)
        if index < self._floor:
            return None
        self._newest = max(self._newest, index)
        forwarded = ForwardedPacket(
            index, codec, packet.timestamp, packet.marker, packet.payload, capture, arrival_ms
        )
        self.history.add(forwarded)
        if is_key_start(codec, packet.payload):
            self.key_frames.satisfied(arrival_ms)
        for output in self.outputs:
            output.send(forwarded)
        metrics.FORWARDED.inc(len(self.outputs))
        return forwarded

    def _close_gap(self, sequence: int) -> int:
        """Number on after a long outage, or a jump. One number is left out, so that decoders know
        that something is missing; a key frame repairs them all."""
        self._sequences = SequenceUnwrapper(sequence)
        self._floor = self._newest + 2
        self._shift = self._floor - sequence
        self.key_frames.want()
        return self._floor

    def relay(self, report: SenderReport) -> None:
        """Give the publisher's clock to all outputs."""
        for output in self.outputs:
            output.relay(report)

    def add(self, output: TrackOutput) -> None:
        """From now on; the publisher is asked for a key frame to begin with."""
        self.outputs.append(output)
        self.key_frames.want()

    def remove(self, output: TrackOutput) -> None:
        """No more."""
        if output in self.outputs:
            self.outputs.remove(output)
