"""Sound across the line between encoders at home (AAC) and WebRTC (Opus). Video is never touched.

Decoding and encoding take place on threads of their own; a room's packets stay in order, and what
the threads cannot keep up with is left out and counted. Times are those of the sound itself: the
encoder's own delay is taken off, so that lips and words stay together.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from fractions import Fraction
from typing import Final

import av
import msgspec
import structlog
from av.audio.codeccontext import AudioCodecContext
from prometheus_client import Counter

from engagement.errors import BadRequestError
from media.frames import EncodedFrame
from media.hls.sound import AAC_FRAME_SAMPLES, OPUS_RATE_HZ, aac_sound

log = structlog.get_logger()

OPUS_BITS_PER_S: Final = 96_000
"""Stereo music at a quality that nobody tells from its source."""
OPUS_FRAME_SAMPLES: Final = 960
"""20 ms: what WebRTC stacks send."""
SNAP_MS: Final = 40.0
"""How far a packet's time may be from the end of the one before and still follow it: times in ms,
from encoders whose clocks jitter. Beyond it something is missing, and the line begins anew."""
WAITING_MAX: Final = 100
"""Packets of one room that wait for a thread: two seconds; older sound is of no use to anybody."""
THREADS: Final = 2
"""Transcoding one stereo stream takes about a hundredth of a core."""

DROPPED: Final = Counter(
    "engagement_media_sound_dropped_total", "Sound packets that were not transcoded, by why.",
    ["why"],
)  # fmt: skip


class OpusFromAac:
    """One AAC track as Opus. Not thread-safe; to be called in order of time."""

    def __init__(self, config: bytes) -> None:
        """`config` is the AudioSpecificConfig. Raises BadRequestError for one that is none."""
        self.config = config
        self._sound = aac_sound(config)
        self._next_ms: float | None = None
        """Where the next packet is expected on the line."""
        self._began_ms = 0.0
        self._samples_in = 0
        self._decoder: AudioCodecContext
        self._encoder: AudioCodecContext
        self._resampler: av.AudioResampler

    def take(self, pts_ms: float, data: bytes) -> list[tuple[float, bytes]]:
        """The Opus packets that a raw AAC frame completes, each with its media time in ms.

        Raises BadRequestError for a frame that cannot be decoded.
        """
        if self._next_ms is None or abs(pts_ms - self._next_ms) > SNAP_MS:
            self._begin(pts_ms)
            self._next_ms = pts_ms
        self._next_ms += AAC_FRAME_SAMPLES * 1000 / self._sound.rate_hz
        try:
            packets = [
                packet
                for frame in self._decoder.decode(av.Packet(data))
                for even in self._resampler.resample(self._placed(frame))
                for packet in self._encoder.encode(even)
            ]
        except (av.FFmpegError, ValueError) as error:
            self._next_ms = None
            raise BadRequestError(f"sound cannot be decoded: {error}", code="bad_sound") from None
        return [
            (self._began_ms + (packet.pts or 0) * 1000 / OPUS_RATE_HZ, bytes(packet))
            for packet in packets
        ]

    def _placed(self, frame: av.AudioFrame) -> av.AudioFrame:
        """Samples are counted by the decoder's own rate: SBR doubles what the header says."""
        frame.pts, frame.time_base = self._samples_in, Fraction(1, frame.sample_rate)
        self._samples_in += frame.samples
        return frame

    def _begin(self, pts_ms: float) -> None:
        self._began_ms, self._samples_in = pts_ms, 0
        self._decoder = _audio_codec("aac", "r")
        self._decoder.extradata = self.config
        self._resampler = av.AudioResampler("s16", "stereo", OPUS_RATE_HZ, OPUS_FRAME_SAMPLES)
        self._encoder = _audio_codec("libopus", "w")
        self._encoder.sample_rate, self._encoder.layout = OPUS_RATE_HZ, "stereo"
        self._encoder.format, self._encoder.bit_rate = av.AudioFormat("s16"), OPUS_BITS_PER_S
        self._encoder.time_base = Fraction(1, OPUS_RATE_HZ)
        self._encoder.options = {"frame_duration": "20"}


def _audio_codec(name: str, mode: str) -> AudioCodecContext:
    context = av.CodecContext.create(name, mode)  # type: ignore[call-overload]
    if not isinstance(context, AudioCodecContext):
        raise TypeError(f"{name} is no codec of sound")
    return context


class SoundThreads:
    """The threads on which a process transcodes."""

    def __init__(self) -> None:
        self.executor: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="sound")

    def close(self) -> None:
        """Let them end, without waiting."""
        self.executor.shutdown(wait=False, cancel_futures=True)


class TranscodedSound:
    """One publication's sound, transcoded off the event loop, in order."""

    def __init__(self, executor: Executor, deliver: Callable[[EncodedFrame], None]) -> None:
        """`deliver` gets Opus frames, on the event loop; `rtp` counts at 48 kHz from media time
        0. It must not raise."""
        self._executor = executor
        self._deliver = deliver
        self._waiting: deque[EncodedFrame] = deque(maxlen=WAITING_MAX)
        self._task: asyncio.Task[None] | None = None
        self._opus: OpusFromAac | None = None
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether something is being transcoded."""
        return self._task is not None and not self._task.done()

    def take(self, frame: EncodedFrame) -> None:
        """Take in an AAC frame; never raises, never waits."""
        if self._is_closed:
            return
        if len(self._waiting) == WAITING_MAX:
            DROPPED.labels("too_slow").inc()
        self._waiting.append(frame)
        if not self.is_busy:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def close(self) -> None:
        """No more; what is being transcoded is dropped."""
        self._is_closed = True
        self._waiting.clear()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = list(self._waiting)
            self._waiting.clear()
            try:
                made = await loop.run_in_executor(self._executor, self._transcode, batch)
            except RuntimeError:  # The threads have ended: so does the process.
                return
            for frame in made:
                if not self._is_closed:
                    self._deliver(frame)

    def _transcode(self, batch: list[EncodedFrame]) -> list[EncodedFrame]:
        made: list[EncodedFrame] = []
        for frame in batch:
            try:
                if self._opus is None or self._opus.config != frame.config:
                    self._opus = OpusFromAac(frame.config)
                packets = self._opus.take(frame.pts_ms, frame.data)
            except BadRequestError as error:
                DROPPED.labels(error.code).inc()
                continue
            made += [_opus_frame(frame, pts_ms, data) for pts_ms, data in packets if pts_ms >= 0]
        return made


def _opus_frame(frame: EncodedFrame, pts_ms: float, data: bytes) -> EncodedFrame:
    return msgspec.structs.replace(
        frame,
        codec="opus",
        rtp=round(pts_ms * OPUS_RATE_HZ / 1000) % 2**32,
        pts_ms=pts_ms,
        server_ms=frame.server_ms + pts_ms - frame.pts_ms,
        data=data,
        config=b"",
    )
