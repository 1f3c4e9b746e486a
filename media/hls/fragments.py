"""From encoded frames to the parts of a stream: what is in which fragment, and when it is cut.

Sans-I/O. Frames of one room go in, in order of arrival; headers and parts come out. The rules:

- A part holds the video of `[start, end)` and the sound that begins within it, so that the first
  sample of a part is always a video frame. Players tie PROGRAM-DATE-TIME to the first sample of
  what they load; where that is sometimes sound and sometimes video, their date is off by the
  difference, which was the 13 ms of an earlier experiment (ADR 0013).
- Durations are exact: a frame lasts until the next one, so a part is cut when the first frame
  after it is here, and sound has caught up or is late beyond `AUDIO_WAIT_MS`.
- Sound that is missing is silence: players stop where one of two tracks has nothing.
- Whatever changes what a decoder must know (an epoch, a picture size, sound that comes or goes)
  makes a new header and begins a segment.
"""

from collections import deque
from typing import Final

from msgspec import Struct

from engagement.errors import BadRequestError
from media.frames import VIDEO_RATE_HZ, EncodedFrame
from media.hls import bounds
from media.hls.avc import (
    NAL_IDR,
    ParameterSets,
    bad_bitstream,
    configuration_record,
    length_prefixed,
    parameter_sets,
    picture,
    split_annex_b,
)
from media.hls.boxes import VIDEO_TRACK, Run, Sample, fragment, stream_header
from media.hls.sound import Sound
from media.hls.sound_track import SoundTrack, sound_of

_TICKS_PER_MS: Final = VIDEO_RATE_HZ / 1000
_PART_TICKS: Final = round(bounds.PART_TARGET_S * VIDEO_RATE_HZ)
_SEGMENT_MIN_TICKS: Final = round(bounds.SEGMENT_MIN_S * VIDEO_RATE_HZ)
_SEGMENT_TICKS: Final = round(bounds.SEGMENT_S * VIDEO_RATE_HZ)
_SEGMENT_MAX_TICKS: Final = round(bounds.SEGMENT_MAX_S * VIDEO_RATE_HZ)


class Header(Struct, frozen=True):
    """What a decoder needs before the parts that follow; they begin a segment."""

    epoch: int
    data: bytes
    codecs: str
    """As in a CODECS attribute (RFC 6381)."""


class Part(Struct, frozen=True):
    """One fragment, whole and on its way to viewers."""

    epoch: int
    data: bytes
    duration_ticks: int
    """Of its video, at 90 kHz."""
    begins_segment: bool
    is_independent: bool
    """Its first frame is a key frame."""
    pts_ms: float
    """Media time of its first frame."""
    server_ms: float
    """Server time of the same frame: PROGRAM-DATE-TIME."""


class KeyFrameWanted(Struct, frozen=True):
    """A segment is long enough: the publisher should send a key frame."""


Output = Header | Part | KeyFrameWanted


class _Picture(Struct, gc=False):
    """A video frame that waits for the one after it."""

    dts: int
    pts: int
    is_key: bool
    data: bytes
    pts_ms: float
    server_ms: float


class _Cut(Struct):
    """A part's video, complete; its sound may be on its way."""

    sets: ParameterSets
    pictures: list[_Picture]
    end: int
    begins_segment: bool


class Fragmenter:
    """Cuts one room's frames."""

    def __init__(self) -> None:
        self._epoch = -1
        self._sequence = 0
        self.dropped = 0
        """Frames that could not be used: of an ended epoch, out of order, before a key frame."""
        self._reset()

    def _reset(self) -> None:
        self._pictures: list[_Picture] = []
        self._held_bytes = 0
        self._cuts: deque[_Cut] = deque()
        self._sets: ParameterSets | None = None
        self._announced: tuple[ParameterSets, Sound | None] | None = None
        self._track = SoundTrack()
        self._origin: int | None = None
        """Ticks added to every time, so that B-frames do not begin before 0."""
        self._segment_start: int | None = None
        self._begins_segment = True
        self._frame_ticks = VIDEO_RATE_HZ // 30
        self._wanted_at: int | None = None

    def feed(self, frame: EncodedFrame) -> list[Output]:
        """Take in the next frame. Raises BadRequestError for media that is broken or of a codec
        that HLS does not carry; the frames after it may be good again."""
        out: list[Output] = []
        if frame.epoch < self._epoch:
            self.dropped += 1
            return out
        if frame.epoch > self._epoch:
            out = self.end()
            self._epoch = frame.epoch
        if frame.track == "audio":
            self._track.take(frame, sound_of(frame))
            self.dropped += self._track.take_dropped()
        elif frame.codec != "h264":
            raise BadRequestError(
                f"HLS carries H.264; {frame.codec} is not packaged", code="codec_not_packaged"
            )
        else:
            out += self._take_video(frame)
        return out + self._emit(is_end=False)

    def end(self) -> list[Output]:
        """The epoch is over: what is held becomes the last part. Another epoch may follow."""
        if self._pictures:
            self._cut(self._pictures[-1].dts + self._frame_ticks)
        out = self._emit(is_end=True)
        self._reset()
        return out

    # --- video ----------------------------------------------------------------------------------

    def _take_video(self, frame: EncodedFrame) -> list[Output]:
        units = split_annex_b(frame.data)
        is_key = any(unit[0] & 31 == NAL_IDR for unit in units)
        sets = parameter_sets(units) if is_key else None
        if sets is not None and sets != self._sets:
            picture(sets.sps[0])
        elif self._sets is None:
            self.dropped += 1
            return self._want_key_frame(round(frame.pts_ms * _TICKS_PER_MS))
        out: list[Output] = []
        if self._pictures and frame.pts_ms - self._pictures[-1].pts_ms > bounds.FRAME_MS_MAX:
            out = self.end()
            if sets is None:
                return out
        taken = self._picture(frame, length_prefixed(units), is_key)
        if taken is None:
            self.dropped += 1
            return out
        if self._pictures:
            self._frame_ticks = taken.dts - self._pictures[-1].dts
        changes = sets is not None and sets != self._sets
        self._cut_before(taken, changes or self._sound_changes(is_key))
        if sets is not None:
            self._sets = sets
        if self._segment_start is None:
            self._segment_start = taken.dts
        self._pictures.append(taken)
        self._held_bytes += len(taken.data)
        if is_key:
            self._wanted_at = None
        elif taken.dts - self._segment_start >= _SEGMENT_TICKS:
            out += self._want_key_frame(taken.dts)
        return out

    def _picture(self, frame: EncodedFrame, data: bytes, is_key: bool) -> _Picture | None:
        pts = round(frame.pts_ms * _TICKS_PER_MS)
        dts = pts if frame.dts_ms is None else round(frame.dts_ms * _TICKS_PER_MS)
        if self._origin is None:
            self._origin = max(0, -dts)
        dts, pts = dts + self._origin, pts + self._origin
        last = self._pictures[-1].dts if self._pictures else -1
        is_out_of_order = dts <= last or abs(pts - dts) > bounds.COMPOSITION_TICKS_MAX
        if is_out_of_order or not 0 < len(data) <= bounds.PART_BYTES_MAX:
            return None
        return _Picture(dts, pts, is_key, data, frame.pts_ms, frame.server_ms)

    def _cut_before(self, coming: _Picture, must_change: bool) -> None:
        """End the part, and perhaps the segment, where `coming` must not be in it any more."""
        if not self._pictures or self._segment_start is None:
            return
        in_segment = coming.dts - self._segment_start
        ends_segment = coming.is_key and (must_change or in_segment >= _SEGMENT_MIN_TICKS)
        ends_segment = ends_segment or in_segment + self._frame_ticks > _SEGMENT_MAX_TICKS
        in_part = coming.dts - self._pictures[0].dts
        is_long = self._held_bytes + len(coming.data) > bounds.PART_BYTES_MAX
        # A tick of tolerance: three frames of 33.33 ms are not always 9000 ticks.
        if ends_segment or is_long or in_part + self._frame_ticks > _PART_TICKS + 1:
            self._cut(coming.dts)
        if ends_segment:
            self._begins_segment = True
            self._segment_start = coming.dts

    def _cut(self, end: int) -> None:
        if self._sets is None:
            raise bad_bitstream("video without parameter sets")
        self._cuts.append(_Cut(self._sets, self._pictures, end, self._begins_segment))
        self._pictures, self._held_bytes = [], 0
        self._begins_segment = False

    def _want_key_frame(self, now: int) -> list[Output]:
        if (
            self._wanted_at is not None
            and 0 <= now - self._wanted_at < bounds.KEY_FRAME_AGAIN_TICKS
        ):
            return []
        self._wanted_at = now
        return [KeyFrameWanted()]

    # --- sound, and what leaves -----------------------------------------------------------------

    def _sound_changes(self, is_key: bool) -> bool:
        """Whether sound began, or became another, after the last header."""
        if not is_key or self._announced is None:
            return False
        return self._track.sound != self._announced[1]

    def _emit(self, *, is_end: bool) -> list[Output]:
        out: list[Output] = []
        while self._cuts and (is_end or self._sound_is_here(self._cuts[0].end)):
            cut = self._cuts.popleft()
            if cut.begins_segment and cut.pictures[0].is_key:
                out += self._header(cut.sets)
            out.append(self._part(cut))
        return out

    def _sound_is_here(self, end: int) -> bool:
        """Whether the sound before `end` has come, or is not waited for any longer."""
        is_silent = self._announced is not None and self._announced[1] is None
        if is_silent or self._track.is_quiet:
            return True
        if self._track.has_reached((end - self._shift) / _TICKS_PER_MS):
            return True
        newest = self._pictures[-1].dts if self._pictures else end
        if newest - end < bounds.AUDIO_WAIT_TICKS:
            return False
        self._track.is_quiet = True
        return True

    @property
    def _shift(self) -> int:
        return self._origin or 0

    def _header(self, sets: ParameterSets) -> list[Output]:
        sound = self._track.sound
        if self._announced == (sets, sound):
            return []
        self._announced = (sets, sound)
        seen = picture(sets.sps[0])
        codecs = seen.codec if sound is None else f"{seen.codec},{sound.name}"
        data = stream_header(seen, configuration_record(sets, seen), sound)
        return [Header(self._epoch, data, codecs)]

    def _part(self, cut: _Cut) -> Part:
        pictures = cut.pictures
        ends = [following.dts for following in pictures[1:]] + [cut.end]
        samples = [
            Sample(end - seen.dts, seen.data, seen.is_key, seen.pts - seen.dts)
            for seen, end in zip(pictures, ends, strict=True)
        ]
        runs = [Run(VIDEO_TRACK, pictures[0].dts, samples)]
        sound = self._sound_of(cut)
        if sound is not None:
            runs.append(sound)
        self._sequence += 1
        return Part(
            epoch=self._epoch,
            data=fragment(self._sequence, runs),
            duration_ticks=cut.end - pictures[0].dts,
            begins_segment=cut.begins_segment,
            is_independent=pictures[0].is_key,
            pts_ms=pictures[0].pts_ms,
            server_ms=pictures[0].server_ms,
        )

    def _sound_of(self, cut: _Cut) -> Run | None:
        if self._announced is None or self._announced[1] is None:
            return None
        shift_ms = self._shift / _TICKS_PER_MS
        start_ms = cut.pictures[0].dts / _TICKS_PER_MS - shift_ms
        end_ms = cut.end / _TICKS_PER_MS - shift_ms
        run = self._track.between(start_ms, end_ms, shift_ms, self._announced[1])
        self.dropped += self._track.take_dropped()
        return run
