"""Durations of packets, formats of sound, and silence that decoders accept."""

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.hls.silence import silent_packet
from media.hls.sound import OPUS, aac_sound, opus_samples
from tests.unit.encoded import sound


def test_opus_from_a_real_encoder_lasts_20_ms() -> None:
    assert {opus_samples(packet) for _, packet, _ in sound("opus", 10)} == {960}


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\x00", 480),  # SILK 10 ms
        (b"\x18", 2880),  # SILK 60 ms
        (b"\x60", 480),  # hybrid 10 ms
        (b"\x80", 120),  # CELT 2.5 ms
        (b"\xf8", 960),  # CELT 20 ms
        (b"\xf9", 1920),  # two of them, of equal size
        (b"\xfb\x03", 2880),  # three, counted
    ],
)
def test_the_first_byte_of_an_opus_packet_tells_how_long_it_is(packet: bytes, samples: int) -> None:
    assert opus_samples(packet) == samples


@pytest.mark.parametrize("packet", [b"", b"\xfb", b"\xfb\x00", b"\xfb\x3f"])
def test_an_opus_packet_of_no_valid_duration_is_refused(packet: bytes) -> None:
    with pytest.raises(BadRequestError):
        opus_samples(packet)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_the_configuration_of_a_real_encoder_is_read(rate: int) -> None:
    read = aac_sound(sound("aac", 1, rate)[0][2])
    assert (read.rate_hz, read.channels, read.name) == (rate, 2, "mp4a.40.2")


def test_high_efficiency_aac_is_counted_at_the_rate_of_its_core() -> None:
    # Object type 5, core 22.05 kHz, two channels, extension 44.1 kHz, object type 2.
    read = aac_sound(bytes.fromhex("2b920800"))
    assert (read.rate_hz, read.object_type, read.channels) == (22_050, 5, 2)


@given(st.binary(max_size=40))
def test_any_configuration_is_read_or_refused(config: bytes) -> None:
    try:
        read = aac_sound(config)
    except BadRequestError:
        return
    assert 1 <= read.channels <= 8 and 7_000 <= read.rate_hz <= 96_000


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_silence_decodes_to_silence(rate: int) -> None:
    config = sound("aac", 1, rate)[0][2]
    for format_ in (OPUS, aac_sound(config)):
        packet, samples = silent_packet(format_)
        decoder = av.CodecContext.create("libopus" if format_ is OPUS else "aac", "r")
        decoder.sample_rate, decoder.layout = format_.rate_hz, "stereo"
        if format_.config:
            decoder.extradata = format_.config
        for _ in range(3):
            [frame] = decoder.decode(av.Packet(packet))
            assert frame.samples == samples
            assert not any(any(bytes(plane)) for plane in frame.planes)
