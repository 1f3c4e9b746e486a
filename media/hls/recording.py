"""Recordings on disk: of each epoch one file of media and one index of what is where in it.

Blocking; :mod:`media.hls.recorder` calls it in a thread of its own. A recording is
`<root>/<room>.room/<epoch>/media.mp4`, which is a playable fragmented MP4 as long as its header did
not change, and `index.jsonl` beside it: a line is written after the bytes that it names, so what a
killed process left behind is whole up to its last line.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from engagement.domain.names import is_room_id
from engagement.errors import NotFoundError
from media.engine import TimedMark

_MEDIA: Final = "media.mp4"
_INDEX: Final = "index.jsonl"
_SUFFIX: Final = ".room"


class RecordedHeader(Struct, frozen=True, tag="header"):
    """An initialization segment, for the segments after it."""

    offset: int
    size: int


class RecordedSegment(Struct, frozen=True, tag="segment"):
    """A segment."""

    offset: int
    size: int
    ticks: int
    pts_ms: float
    server_ms: float


class RecordedMark(Struct, frozen=True, tag="mark"):
    """A mark at a date."""

    mark: TimedMark
    server_ms: float


class RecordedEnd(Struct, frozen=True, tag="end"):
    """The epoch ended, or its recording did: why."""

    reason: str


Entry = RecordedHeader | RecordedSegment | RecordedMark | RecordedEnd
_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()


class EpochFile:
    """One epoch that is being written."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._media: BinaryIO = (directory / _MEDIA).open("ab")
        self._index: BinaryIO = (directory / _INDEX).open("ab")

    def append(self, data: bytes, entry: Entry) -> int:
        """Write bytes, then the line that names them; how many bytes both took. Raises OSError."""
        if data:
            self._media.write(data)
            self._media.flush()
        line = _encoder.encode(entry) + b"\n"
        self._index.write(line)
        self._index.flush()
        return len(data) + len(line)

    @property
    def offset(self) -> int:
        """Where the next bytes go."""
        return self._media.tell()

    def close(self) -> None:
        """Nothing more is written."""
        self._media.close()
        self._index.close()


class Recording(Struct, frozen=True, order=True):
    """An epoch on disk, ordered by when it was last written."""

    written_ns: int
    room: str
    epoch: int
    size: int


def epoch_directory(root: Path, room: str, epoch: int) -> Path:
    """Where an epoch is; raises NotFoundError for what is no room."""
    if not is_room_id(room) or epoch < 0:
        raise NotFoundError("no such recording", code="recording_not_found")
    # The suffix makes a directory name of every room id: "..", too, is one.
    return root / f"{room}{_SUFFIX}" / str(epoch)


def scan(root: Path, room: str | None = None) -> Iterator[Recording]:
    """Every epoch on disk, or every one of a room; raises NotFoundError for what is no room."""
    pattern = f"*{_SUFFIX}" if room is None else epoch_directory(root, room, 0).parent.name
    for directory in sorted(root.glob(f"{pattern}/*")):
        if not directory.name.isdecimal():
            continue
        sizes = [item.stat() for item in (directory / _MEDIA, directory / _INDEX) if item.exists()]
        written = max((stat.st_mtime_ns for stat in sizes), default=0)
        size = sum(stat.st_size for stat in sizes)
        name = directory.parent.name.removesuffix(_SUFFIX)
        yield Recording(written, name, int(directory.name), size)


def read_index(root: Path, room: str, epoch: int) -> list[Entry]:
    """What an epoch's recording holds, in order; raises NotFoundError."""
    try:
        lines = (epoch_directory(root, room, epoch) / _INDEX).read_bytes().split(b"\n")
    except FileNotFoundError:
        raise NotFoundError("no such recording", code="recording_not_found") from None
    entries = []
    for line in lines[:-1]:  # After the last line end is nothing, or a line half written.
        try:
            entries.append(_decoder.decode(line))
        except msgspec.DecodeError:
            break  # A machine that lost its power leaves anything behind.
    return entries


def read_bytes(root: Path, room: str, epoch: int, offset: int, size: int) -> bytes:
    """Bytes of an epoch's media; raises NotFoundError where they are not."""
    try:
        with (epoch_directory(root, room, epoch) / _MEDIA).open("rb") as media:
            data = os.pread(media.fileno(), size, offset)
    except FileNotFoundError:
        data = b""
    if len(data) != size:
        raise NotFoundError("no such part of a recording", code="recording_not_found")
    return data


def delete(root: Path, room: str, epoch: int) -> None:
    """Remove an epoch; one that is gone already is no error."""
    directory = epoch_directory(root, room, epoch)
    shutil.rmtree(directory, ignore_errors=True)
    try:
        directory.parent.rmdir()
    except OSError:
        return  # The room has other epochs.
