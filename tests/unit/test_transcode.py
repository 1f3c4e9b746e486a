"""AAC to Opus: the sound is where it was, gaps stay gaps, nonsense costs nothing but itself."""

import array
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import lru_cache

import av
import msgspec
import pytest

from engagement.errors import BadRequestError
from media.frames import EncodedFrame
from media.transcode import WAITING_MAX, OpusFromAac, TranscodedSound
from tests.unit.encoded import sound_frames
from tests.waiting import until

CLICK_MS = 1_000.0


@lru_cache(maxsize=4)
def click(rate: int) -> tuple[bytes, tuple[tuple[float, bytes], ...]]:
    """The config, and (ms, frame) of two seconds of silence with a burst of tone in the middle."""
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, "stereo", "fltp"
    encoder.time_base = Fraction(1, rate)
    frames: list[tuple[float, bytes]] = []
    begins, ends = round(rate * CLICK_MS / 1000), round(rate * (CLICK_MS + 20) / 1000)
    for first in range(0, 2 * rate, 1024):
        wave = array.array("f", bytes(4 * 1024))
        for index in range(1024):
            if begins <= first + index < ends:
                wave[index] = 0.9 * math.sin(2 * math.pi * 2_000 * index / rate)
        frame = av.AudioFrame("fltp", "stereo", 1024)
        frame.sample_rate, frame.pts = rate, first
        for plane in frame.planes:
            plane.update(wave.tobytes())
        frames += [(packet.pts * 1000 / rate, bytes(packet)) for packet in encoder.encode(frame)]
    return bytes(encoder.extradata), tuple(frames)


def heard_ms(packets: list[tuple[float, bytes]]) -> float:
    """Media time of the first loud sample. A decoder without the header's pre-skip is as late as
    the encoder, which is what browsers do with RTP."""
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "stereo"
    for pts_ms, data in packets:
        for frame in decoder.decode(av.Packet(data)):
            wave = array.array("h")
            wave.frombytes(bytes(frame.planes[0])[: frame.samples * 4])
            for index in range(0, len(wave), 2):
                if abs(wave[index]) > 7_000:
                    return pts_ms + index / 96
    raise AssertionError("nothing is to be heard")


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_sound_is_where_it_was(rate: int) -> None:
    config, frames = click(rate)
    opus = OpusFromAac(config)
    # FLV rounds to ms, so the times jitter.
    packets = [made for ms, data in frames for made in opus.take(5_000 + round(ms), data)]
    assert heard_ms(packets) == pytest.approx(5_000 + CLICK_MS, abs=2)
    steps = {round(b[0] - a[0], 3) for a, b in itertools.pairwise(packets)}
    assert steps == {20.0}


def test_after_a_gap_sound_is_where_it_was_too() -> None:
    config, frames = click(48_000)
    opus = OpusFromAac(config)
    early, late = frames[:20], frames[30:]  # 213 ms are missing, before the click.
    for ms, data in early:
        opus.take(ms, data)
    packets = [made for ms, data in late for made in opus.take(ms, data)]
    assert heard_ms(packets) == pytest.approx(CLICK_MS, abs=2)
    assert packets[0][0] >= late[0][0] - 10


def test_what_is_no_sound_is_refused_and_what_follows_is_not() -> None:
    config, frames = click(48_000)
    with pytest.raises(BadRequestError):
        OpusFromAac(b"")
    opus = OpusFromAac(config)
    opus.take(*frames[0])
    with pytest.raises(BadRequestError):
        opus.take(frames[1][0], b"\xff" * 400)
    packets = [made for ms, data in frames[2:] for made in opus.take(ms, data)]
    assert heard_ms(packets) == pytest.approx(CLICK_MS, abs=2)


async def idle(sound: TranscodedSound) -> None:
    async def done() -> bool:
        return not sound.is_busy

    await until(done, "the end of the work")


async def _transcoded(frames: list[EncodedFrame]) -> list[EncodedFrame]:
    made: list[EncodedFrame] = []
    with ThreadPoolExecutor(1) as threads:
        sound = TranscodedSound(threads, made.append)
        for frame in frames:
            sound.take(frame)
        await idle(sound)
    return made


async def test_off_the_loop_packets_come_in_order_on_the_line_of_media_time() -> None:
    aac = sound_frames(50, codec="aac", from_ms=2_000)
    made = await _transcoded(aac)
    assert [frame.codec for frame in made] == ["opus"] * len(made)
    assert len(made) >= 50
    times = [frame.pts_ms for frame in made]
    assert times == sorted(times) and times[0] == pytest.approx(2_000, abs=10)
    for frame in made:
        assert frame.rtp == round(frame.pts_ms * 48)
        assert frame.server_ms - frame.pts_ms == pytest.approx(aac[0].server_ms - 2_000)


async def test_broken_packets_between_good_ones_cost_themselves_alone() -> None:
    aac = sound_frames(40, codec="aac")
    aac[10] = msgspec.structs.replace(aac[10], data=b"\xff" * 300)
    aac[20] = msgspec.structs.replace(aac[20], config=b"\0")
    made = await _transcoded(aac)
    assert made[-1].pts_ms > aac[35].pts_ms


async def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    aac = sound_frames(WAITING_MAX * 2, codec="aac")
    made = await _transcoded(aac)
    assert made[0].pts_ms == pytest.approx(aac[WAITING_MAX].pts_ms, abs=10)


async def test_after_the_end_nothing_is_delivered() -> None:
    made: list[EncodedFrame] = []
    with ThreadPoolExecutor(1) as threads:
        sound = TranscodedSound(threads, made.append)
        sound.take(sound_frames(10, codec="aac")[0])
        sound.close()
        sound.take(sound_frames(10, codec="aac")[1])
        await idle(sound)
    assert made == []
