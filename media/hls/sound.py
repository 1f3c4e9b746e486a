"""What a header says of sound, and how long a packet lasts: Opus and AAC. Pure.

Sources: RFC 6716 section 3.1 (Opus table of contents), ISO/IEC 14496-3 1.6.2.1 (AAC).
"""

from typing import Final, Literal

from msgspec import Struct

from media.hls.avc import bad_bitstream

OPUS_RATE_HZ: Final = 48_000
"""Opus is always counted at 48 kHz, whatever it was recorded at."""
AAC_FRAME_SAMPLES: Final = 1024
AAC_CONFIG_BYTES_MAX: Final = 32
"""Two bytes for AAC-LC, five with SBR; descriptors that hold it stay below 128 bytes."""
_AAC_RATES_HZ: Final = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
_AAC_LC: Final = 2
_AAC_SBR: Final = 5
_AAC_PS: Final = 29
_OPUS_SILENCE: Final = b"\xf8\xff\xfe"
"""20 ms of stereo CELT that decode to silence: WebRTC stacks send it for a muted source."""


class Sound(Struct, frozen=True):
    """One audio track's format; `config` is the AudioSpecificConfig of AAC, else empty."""

    codec: Literal["opus", "aac"]
    rate_hz: int
    """Ticks of its timeline: one a sample."""
    channels: int
    config: bytes = b""
    object_type: int = 0

    @property
    def name(self) -> str:
        """As in a CODECS attribute."""
        return "opus" if self.codec == "opus" else f"mp4a.40.{self.object_type}"


OPUS: Final = Sound("opus", OPUS_RATE_HZ, 2)
"""Decoders make stereo of mono packets; what is in a packet, the packet says."""


def opus_samples(packet: bytes) -> int:
    """Duration of a packet at 48 kHz; raises BadRequestError beyond 120 ms or when empty."""
    if not packet:
        raise bad_bitstream("an empty Opus packet")
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    count = 1 if code == 0 else 2
    if code == 3:
        count = packet[1] & 63 if len(packet) > 1 else 0
    if not 0 < frame * count <= 5760:
        raise bad_bitstream("an Opus packet of no valid duration")
    return frame * count


def aac_sound(config: bytes) -> Sound:
    """Read an AudioSpecificConfig. Raises BadRequestError for what is no AAC of ours."""
    value, bits = int.from_bytes(config[:8].ljust(8, b"\0"), "big"), 64

    def read(count: int) -> int:
        nonlocal bits
        bits -= count
        return value >> bits & (1 << count) - 1

    def rate() -> int:
        index = read(4)
        if index == 15:
            return read(24)
        if index >= len(_AAC_RATES_HZ):
            raise bad_bitstream(f"AAC has no sample rate {index}")
        return _AAC_RATES_HZ[index]

    if not 2 <= len(config) <= AAC_CONFIG_BYTES_MAX:
        raise bad_bitstream(f"an AAC configuration has 2-{AAC_CONFIG_BYTES_MAX} bytes")
    object_type, rate_hz, channels = read(5), rate(), read(4)
    if object_type in (_AAC_SBR, _AAC_PS):
        # The core runs at half the rate; its frames are what is counted.
        rate()
    if object_type not in (_AAC_LC, _AAC_SBR, _AAC_PS):
        raise bad_bitstream(f"AAC object type {object_type} is not supported; send AAC-LC")
    if not 1 <= channels <= 7 or not 7_000 <= rate_hz <= 96_000:
        raise bad_bitstream(f"AAC of {channels} channels at {rate_hz} Hz")
    return Sound("aac", rate_hz, 8 if channels == 7 else channels, config, object_type)


def opus_silence() -> bytes:
    """20 ms of silence."""
    return _OPUS_SILENCE
