"""The sound of one epoch on its way into parts: in order, without gaps, silence where none came.

Sans-I/O. Times are samples of the track; video asks by milliseconds of media time.
"""

import math
from collections import deque

from msgspec import Struct

from engagement.errors import BadRequestError
from media.frames import EncodedFrame
from media.hls import bounds
from media.hls.boxes import AUDIO_TRACK, Run, Sample
from media.hls.silence import silent_packet
from media.hls.sound import AAC_FRAME_SAMPLES, OPUS, Sound, aac_sound, opus_samples


class _Packet(Struct, gc=False):
    start: int
    samples: int
    data: bytes


def sound_of(frame: EncodedFrame) -> Sound:
    """The format of a frame's track. Raises BadRequestError for one that HLS does not carry."""
    if frame.codec == "opus":
        return OPUS
    if frame.codec == "aac":
        return aac_sound(frame.config)
    raise BadRequestError(
        f"HLS carries Opus and AAC; {frame.codec} is not packaged", code="codec_not_packaged"
    )


class SoundTrack:
    """Packets that wait for the video they belong to."""

    def __init__(self) -> None:
        self.sound: Sound | None = None
        """The newest format; None while no packet has come."""
        self.is_quiet = False
        """Packets were missing for so long that parts are not kept waiting for them."""
        self._packets: deque[_Packet] = deque(maxlen=bounds.SOUND_QUEUE_PACKETS_MAX)
        self._end: int | None = None
        """Where the newest packet ends."""
        self._told: int | None = None
        """Where what parts were given ends."""
        self._dropped = 0

    def take(self, frame: EncodedFrame, sound: Sound) -> None:
        """Take in the next packet. Raises BadRequestError for one of no valid duration."""
        samples = opus_samples(frame.data) if sound.codec == "opus" else AAC_FRAME_SAMPLES
        if not frame.data:
            raise BadRequestError("an empty AAC frame", code="bad_bitstream")
        if sound != self.sound:
            self.sound = sound
            self._packets.clear()
            self._end = self._told = None
        start = round(frame.pts_ms * sound.rate_hz / 1000)
        if self._end is not None:
            snap = bounds.SOUND_SNAP_MS * sound.rate_hz / 1000
            if abs(start - self._end) <= snap:
                start = self._end
            elif start < self._end:
                self._dropped += 1
                return
        self._end = start + samples
        if self._told is None or start >= self._told:
            self.is_quiet = False
        self._packets.append(_Packet(start, samples, frame.data))

    def take_dropped(self) -> int:
        """How many packets came too late or twice, since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def has_reached(self, media_ms: float) -> bool:
        """Whether there is sound up to this media time."""
        if self.sound is None or self._end is None:
            return False
        return self._end * 1000 >= media_ms * self.sound.rate_hz

    def between(self, start_ms: float, end_ms: float, shift_ms: float, sound: Sound) -> Run | None:
        """The sound that begins in `[start_ms, end_ms)`, filled up with silence; its times are
        moved by `shift_ms`. Packets from before are dropped. None where there is nothing at all.

        While the track has another format than `sound`, what was announced, that is silence too.
        """
        per_ms = sound.rate_hz / 1000
        start, end = math.ceil(start_ms * per_ms), math.ceil(end_ms * per_ms)
        silence, silent_samples = silent_packet(sound)
        filled = _Filled(silence, silent_samples)
        position = start
        is_announced = sound == self.sound
        if is_announced and self._told is not None and start <= self._told < end:
            position = self._told
        for packet in self._pop(start, end) if is_announced else ():
            if packet.start < position:
                self._dropped += 1
                continue
            position = filled.silence(position, packet.start)
            filled.packet(packet)
            position = packet.start + packet.samples
        position = filled.silence(position, end)
        self._told = position if is_announced else None
        return filled.run(round(shift_ms * per_ms))

    def _pop(self, start: int, end: int) -> list[_Packet]:
        popped = []
        while self._packets and self._packets[0].start < end:
            packet = self._packets.popleft()
            if packet.start < start:
                self._dropped += 1
            else:
                popped.append(packet)
        return popped


class _Filled:
    """Samples of one run as they are put together: each lasts until the next begins."""

    def __init__(self, silence: bytes, silent_samples: int) -> None:
        self._silence = silence
        self._silent_samples = silent_samples
        self._starts: list[int] = []
        self._packets: list[bytes] = []
        self._end = 0

    def silence(self, position: int, end: int) -> int:
        """As many silent packets as fit between the two; where they end."""
        while self._silence and position + self._silent_samples <= end:
            self._starts.append(position)
            self._packets.append(self._silence)
            position += self._silent_samples
            self._end = position
        return position

    def packet(self, packet: _Packet) -> None:
        """A packet that was sent."""
        self._starts.append(packet.start)
        self._packets.append(packet.data)
        self._end = packet.start + packet.samples

    def run(self, shift: int) -> Run | None:
        """All of it; None when it is nothing."""
        if not self._starts:
            return None
        ends = [*self._starts[1:], self._end]
        samples = [
            Sample(end - start, data)
            for start, end, data in zip(self._starts, ends, self._packets, strict=True)
        ]
        return Run(AUDIO_TRACK, self._starts[0] + shift, samples)
