"""A packet of silence in a track's own format, for where its publisher sent nothing."""

from functools import lru_cache

import av

from media.hls.sound import AAC_FRAME_SAMPLES, Sound, opus_silence

_OPUS_SILENCE_SAMPLES = 960
_PRIMING_FRAMES = 4
"""The first packets of an encoder are not like the others."""
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}


@lru_cache(maxsize=64)
def silent_packet(sound: Sound) -> tuple[bytes, int]:
    """The packet and how many samples it lasts; an empty one where none can be made."""
    if sound.codec == "opus":
        return opus_silence(), _OPUS_SILENCE_SAMPLES
    if sound.name != "mp4a.40.2":
        return b"", AAC_FRAME_SAMPLES
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate = sound.rate_hz
    encoder.layout = _LAYOUTS[sound.channels]
    encoder.format = "fltp"
    packets: list[bytes] = []
    for number in range(_PRIMING_FRAMES):
        frame = av.AudioFrame("fltp", _LAYOUTS[sound.channels], AAC_FRAME_SAMPLES)
        frame.sample_rate = sound.rate_hz
        frame.pts = number * AAC_FRAME_SAMPLES
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets[-1], AAC_FRAME_SAMPLES
