"""Encoded frames from forwarded packets, for the packager and the recorder.

A tap listens to a room's tracks like a viewer does. Lost packets are waited for a bounded time;
video that a loss has broken is left out until the next key frame, which is asked for. Both tracks
come on the room's one line of media time: the video's RTP timestamps are that line, and sound is
laid on it by what the publisher's clock says of both (RFC 3550 section 6.4.1), or, before it has
said anything, by arrival.
"""

from typing import Final

from engagement.domain.media_time import Anchor, pts_of_rtp
from media.clock_formulas import Unwrapper
from media.engine import Track
from media.frames import EncodedFrame, FrameSink
from media.rtp.depayload import FrameAssembler, RtpCodec
from media.rtp.jitter_buffer import GatheredFrame, JitterBuffer
from media.rtp.packet import MalformedPacketError
from media.rtp.retransmission import ForwardedPacket
from media.rtp.rtcp import SenderReport
from media.webrtc import bounds, metrics
from media.webrtc.room import RATES_HZ, ForwardingRoom


class SoundLine:
    """Where a sound packet is on the video's line of media time: one shift for the whole epoch.

    It moves only for a reason: a publisher whose clock is set reports it for one track before the
    other, and for that while the two would part.
    """

    def __init__(self) -> None:
        self._unwrapper: Unwrapper | None = None
        self._shift_ms: float | None = None
        """Media time of the first packet's timestamp."""
        self._is_reported = False
        self._disagreed_ms: float | None = None

    def pts_ms(
        self, timestamp: int, reported_ms: float | None, arrived_ms: float, now_ms: float
    ) -> float:
        """Media time of a packet; `reported_ms` by the publisher's clock (None: unknown),
        `arrived_ms` by its arrival."""
        if self._unwrapper is None:
            self._unwrapper = Unwrapper(timestamp)
        on_own_line_ms = self._unwrapper.advance(timestamp) * 1000 / RATES_HZ["audio"]
        if reported_ms is None:
            if self._shift_ms is None:
                self._shift_ms = arrived_ms - on_own_line_ms
        elif not self._is_reported or self._shift_ms is None:
            self._is_reported = True
            self._shift_ms = reported_ms - on_own_line_ms
        elif abs(reported_ms - on_own_line_ms - self._shift_ms) <= bounds.SOUND_OFF_MS_MAX:
            self._disagreed_ms = None
        elif self._disagreed_ms is None:
            self._disagreed_ms = now_ms
        elif now_ms - self._disagreed_ms > bounds.SOUND_DISAGREED_MS:
            self._shift_ms = reported_ms - on_own_line_ms
            self._disagreed_ms = None
        return self._shift_ms + on_own_line_ms


class TrackTap:
    """One track's packets to frames; a `TrackOutput`."""

    def __init__(self, kind: Track, room: ForwardingRoom, sink: FrameSink) -> None:
        self.kind = kind
        self._room = room
        self._sink = sink
        self._buffer = JitterBuffer()
        self._assembler: FrameAssembler | None = None
        self._codec = ""
        self._epoch = 0
        self._needs_key = True
        self._sound = SoundLine()

    def send(self, packet: ForwardedPacket) -> None:
        """Take in a packet; frames that it completes go on."""
        anchor = self._room.estimator.anchor
        if anchor is None or anchor.ended:
            return
        if anchor.epoch != self._epoch or packet.codec != self._codec:
            self._begin(anchor.epoch, packet.codec)
        self._buffer.add(packet)
        self.tick(packet.arrival_ms)

    def relay(self, report: SenderReport) -> None:
        """The room keeps the publisher's clock."""

    def tick(self, now_ms: float) -> None:
        """Frames that have waited long enough go on, or are given up."""
        lost = self._buffer.lost_frames
        for gathered in self._buffer.ready(now_ms):
            self._take(gathered, now_ms)
        metrics.FRAMES_LOST.labels(self.kind).inc(self._buffer.lost_frames - lost)

    def _begin(self, epoch: int, codec: str) -> None:
        self._epoch, self._codec = epoch, codec
        self._buffer = JitterBuffer()
        self._assembler = FrameAssembler(_rtp_codec(codec))
        self._needs_key = True
        self._sound = SoundLine()

    def _take(self, gathered: GatheredFrame, now_ms: float) -> None:
        if self._assembler is None:
            return
        if not gathered.is_continuous and self.kind == "video":
            self._needs_key = True
        try:
            assembled = self._assembler.assemble(gathered.payloads)
        except MalformedPacketError:
            metrics.MALFORMED.labels("frame").inc()
            self._needs_key = self.kind == "video"
            assembled = None
        if assembled is None:
            return
        data, is_key = assembled
        self._needs_key = self._needs_key and not is_key
        if self._needs_key:
            self._room.fan_outs["video"].key_frames.want()
            return
        self._deliver(gathered, data, is_key, now_ms)

    def _deliver(self, gathered: GatheredFrame, data: bytes, is_key: bool, now_ms: float) -> None:
        anchor = self._room.estimator.anchor
        if anchor is None or anchor.epoch != self._epoch or len(data) > bounds.FRAME_BYTES_MAX:
            return
        pts_ms = self._pts_ms(anchor, gathered, now_ms)
        if pts_ms < 0:
            return  # Sound from before the first picture.
        self._sink.feed(
            EncodedFrame(
                room=self._room.name,
                epoch=anchor.epoch,
                track=self.kind,
                codec=_rtp_codec(self._codec),
                rtp=gathered.timestamp,
                pts_ms=pts_ms,
                server_ms=anchor.server_ms + pts_ms - anchor.pts_ms,
                duration_ms=0.0,
                is_key=is_key,
                data=data,
            )
        )

    def _pts_ms(self, anchor: Anchor, gathered: GatheredFrame, now_ms: float) -> float:
        if self.kind == "video":
            return pts_of_rtp(anchor, gathered.timestamp)
        reported_ms = self._room.sound_pts_ms(anchor, gathered.timestamp)
        arrived_ms = gathered.arrival_ms - anchor.server_ms + anchor.pts_ms
        return self._sound.pts_ms(gathered.timestamp, reported_ms, arrived_ms, now_ms)


class RoomTap:
    """Both tracks of a room to one sink, from now until it is closed."""

    def __init__(self, room: ForwardingRoom, sink: FrameSink) -> None:
        self._room = room
        self._tracks: Final = [TrackTap(kind, room, sink) for kind in room.fan_outs]
        for track in self._tracks:
            room.fan_outs[track.kind].add(track)

    def tick(self, now_ms: float) -> None:
        """See to what waits."""
        for track in self._tracks:
            track.tick(now_ms)

    def close(self) -> None:
        """No more."""
        for track in self._tracks:
            self._room.fan_outs[track.kind].remove(track)


def _rtp_codec(codec: str) -> RtpCodec:
    match codec:
        case "h264" | "vp8" | "opus":
            return codec
    raise ValueError(f"{codec} is not forwarded")
