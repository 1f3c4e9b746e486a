"""CMAF by hand: the header of a stream and its fragments, as bytes. Pure.

A muxer of a library decides by itself when a fragment ends and where a timeline begins; here every
fragment holds exactly the samples it is given, at exactly the times it is given (ADR 0013).
Sources: ISO/IEC 14496-12 (boxes), 14496-14 (`esds`), 14496-15 (`avc1`), "Encapsulation of Opus in
ISO Base Media File Format" 0.8.1, ISO/IEC 23000-19 (CMAF).
"""

import struct
from typing import Final

from msgspec import Struct

from media.frames import VIDEO_RATE_HZ
from media.hls.avc import Picture
from media.hls.sound import Sound

VIDEO_TRACK: Final = 1
AUDIO_TRACK: Final = 2

_KEY_SAMPLE: Final = 0x0200_0000
"""`sample_depends_on` 2: on nothing (8.8.3.1)."""
_DELTA_SAMPLE: Final = 0x0101_0000
"""`sample_depends_on` 1, `sample_is_non_sync_sample`."""
_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_LANGUAGE_UND: Final = 0x55C4
_TRUN_FLAGS: Final = 0x000001 | 0x000100 | 0x000200 | 0x000400 | 0x000800
"""Data offset; of each sample its duration, size, flags and composition offset."""
_DEFAULT_BASE_IS_MOOF: Final = 0x020000


class Sample(Struct, frozen=True, gc=False):
    """One frame of one track; times in ticks of the track."""

    duration: int
    data: bytes
    is_key: bool = True
    composition: int = 0
    """Presentation minus decode time; above 0 only with B-frames."""


class Run(Struct, frozen=True):
    """Samples of one track without a gap; `decode_time` is that of the first."""

    track: int
    decode_time: int
    samples: list[Sample]


def stream_header(seen: Picture, record: bytes, sound: Sound | None) -> bytes:
    """The initialization segment: one H.264 track, and one of sound where there is any."""
    traks = [_video_trak(seen, record)]
    extends = [_extends(VIDEO_TRACK)]
    if sound is not None:
        traks.append(_audio_trak(sound))
        extends.append(_extends(AUDIO_TRACK))
    movie = struct.pack(">4I", 0, 0, 1000, 0) + struct.pack(">IHHQ", 0x10000, 0x0100, 0, 0)
    movie += _MATRIX + bytes(24) + (AUDIO_TRACK + 1).to_bytes(4, "big")
    brands = b"iso6" + bytes(4) + b"iso6cmfcmp41"
    return _box(b"ftyp", brands) + _box(
        b"moov", _full(b"mvhd", 0, 0, movie), *traks, _box(b"mvex", *extends)
    )


def fragment(sequence: int, runs: list[Run]) -> bytes:
    """One `moof` and its `mdat`."""
    lengths = [_run_bytes(run) for run in runs]
    head = 8 + 16 + sum(lengths)
    offset = head + 8
    trafs = []
    for run in runs:
        trafs.append(_fragment_of_track(run, offset))
        offset += sum(len(sample.data) for sample in run.samples)
    moof = _box(b"moof", _full(b"mfhd", 0, 0, (sequence & 0xFFFFFFFF).to_bytes(4, "big")), *trafs)
    return moof + _box(b"mdat", *(sample.data for run in runs for sample in run.samples))


def _run_bytes(run: Run) -> int:
    return 8 + 16 + 20 + 20 + 16 * len(run.samples)


def _fragment_of_track(run: Run, data_offset: int) -> bytes:
    table = bytearray(struct.pack(">Ii", len(run.samples), data_offset))
    for sample in run.samples:
        flags = _KEY_SAMPLE if sample.is_key else _DELTA_SAMPLE
        table += struct.pack(">3Ii", sample.duration, len(sample.data), flags, sample.composition)
    return _box(
        b"traf",
        _full(b"tfhd", 0, _DEFAULT_BASE_IS_MOOF, run.track.to_bytes(4, "big")),
        _full(b"tfdt", 1, 0, run.decode_time.to_bytes(8, "big")),
        _full(b"trun", 1, _TRUN_FLAGS, bytes(table)),
    )


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def _full(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    return _box(kind, (version << 24 | flags).to_bytes(4, "big"), *content)


def _extends(track: int) -> bytes:
    return _full(b"trex", 0, 0, struct.pack(">5I", track, 1, 0, 0, 0))


def _video_trak(seen: Picture, record: bytes) -> bytes:
    entry = bytes(6) + struct.pack(">H", 1) + bytes(16)
    entry += struct.pack(">HHIII", seen.width, seen.height, 0x480000, 0x480000, 0)
    entry += struct.pack(">H", 1) + bytes(32) + struct.pack(">Hh", 24, -1)
    return _trak(
        VIDEO_TRACK,
        VIDEO_RATE_HZ,
        b"vide",
        _full(b"vmhd", 0, 1, bytes(8)),
        _box(b"avc1", entry, _box(b"avcC", record)),
        (seen.width, seen.height),
    )


def _audio_trak(sound: Sound) -> bytes:
    entry = bytes(6) + struct.pack(">H", 1) + bytes(8)
    entry += struct.pack(">HHHHI", sound.channels, 16, 0, 0, sound.rate_hz << 16 & 0xFFFFFFFF)
    if sound.codec == "opus":
        # No pre-skip: whoever joins a live stream joins it in its middle.
        about = struct.pack(">BBHIhB", 0, sound.channels, 0, sound.rate_hz, 0, 0)
        described = _box(b"Opus", entry, _box(b"dOps", about))
    else:
        described = _box(b"mp4a", entry, _elementary_stream(sound.config))
    return _trak(
        AUDIO_TRACK, sound.rate_hz, b"soun", _full(b"smhd", 0, 0, bytes(4)), described, (0, 0)
    )


def _elementary_stream(config: bytes) -> bytes:
    """`esds`: an MPEG-4 audio stream described by its configuration (14496-1, 7.2.6)."""
    specific = _descriptor(5, config)
    decoder = _descriptor(4, bytes((0x40, 0x15)) + bytes(11) + specific)
    return _full(b"esds", 0, 0, _descriptor(3, bytes(3) + decoder + _descriptor(6, b"\x02")))


def _descriptor(tag: int, content: bytes) -> bytes:
    # One byte of length holds up to 127: configurations are bounded far below.
    return bytes((tag, len(content))) + content


def _trak(
    track: int, rate: int, handler: bytes, media: bytes, entry: bytes, size: tuple[int, int]
) -> bytes:
    volume = 0x0100 if handler == b"soun" else 0
    header = struct.pack(">5I", 0, 0, track, 0, 0) + bytes(8)
    header += struct.pack(">HHHH", 0, 0, volume, 0) + _MATRIX
    header += struct.pack(">II", size[0] << 16, size[1] << 16)
    reference = _full(b"dref", 0, 0, struct.pack(">I", 1), _full(b"url ", 0, 1))
    nothing = bytes(4)
    table = _box(
        b"stbl",
        _full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        _full(b"stts", 0, 0, nothing),
        _full(b"stsc", 0, 0, nothing),
        _full(b"stsz", 0, 0, bytes(8)),
        _full(b"stco", 0, 0, nothing),
    )
    name = {b"vide": b"video", b"soun": b"audio"}[handler]
    return _box(
        b"trak",
        _full(b"tkhd", 0, 3, header),
        _box(
            b"mdia",
            _full(
                b"mdhd",
                0,
                0,
                struct.pack(">4I", 0, 0, rate, 0) + struct.pack(">HH", _LANGUAGE_UND, 0),
            ),
            _full(b"hdlr", 0, 0, nothing, handler, bytes(12), name + b"\0"),
            _box(b"minf", media, _box(b"dinf", reference), table),
        ),
    )
