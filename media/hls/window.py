"""What a live playlist can name: the recent segments of one room and their parts. Sans-I/O.

Numbers of segments and headers never come back, not even after a restart: the packager begins them
at the second of its start, and no segment is shorter than a second but the last of an epoch. So
everything that is served under a number may be cached for ever. Discontinuities are counted from
the first epoch on, in small numbers: hls.js keeps arrays that long.
"""

from collections import deque

from msgspec import Struct, field

from engagement.errors import BadRequestError, NotFoundError
from media.engine import TimedMark
from media.frames import VIDEO_RATE_HZ
from media.hls import bounds
from media.hls.fragments import Header, Part


class LivePart(Struct, frozen=True):
    """A part and its bytes."""

    data: bytes
    ticks: int
    is_independent: bool


class LiveSegment(Struct):
    """A segment; the newest grows until it is done."""

    msn: int
    """Media sequence number."""
    discontinuity: int
    """Discontinuity sequence number."""
    is_discontinuous: bool
    """It carries EXT-X-DISCONTINUITY."""
    header: int
    """Number of the header it needs."""
    epoch: int
    pts_ms: float
    server_ms: float
    parts: list[LivePart] = field(default_factory=list)
    is_done: bool = False

    @property
    def ticks(self) -> int:
        """Duration so far, at 90 kHz."""
        return sum(part.ticks for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return sum(len(part.data) for part in self.parts)


class DatedMark(Struct, frozen=True):
    """A mark and the date it was given once for all."""

    mark: TimedMark
    server_ms: float


class LiveWindow:
    """Grows by parts at one end and forgets at the other."""

    def __init__(self, first_number: int) -> None:
        self.segments: deque[LiveSegment] = deque()
        self.marks: deque[DatedMark] = deque(maxlen=bounds.MARKS_MAX)
        self.is_over = False
        """Nothing more will come: EXT-X-ENDLIST."""
        self.version = 0
        """Counts the changes of what a playlist would say."""
        self.next_msn = first_number
        self._discontinuity = -1
        """That of the newest segment; -1 before the first."""
        self._pending: Header | None = None
        self._header = first_number
        self._headers: dict[int, Header] = {}

    # --- growing --------------------------------------------------------------------------------

    def take(self, output: Header | Part) -> LiveSegment | None:
        """Take in what the fragmenter gave; the segment that is whole by it.

        A part that begins no segment continues the newest.
        """
        completed = None
        if isinstance(output, Header):
            self._pending = output
            return self.complete()
        if output.begins_segment or not self.segments or self.segments[-1].is_done:
            completed = self.complete()
            self._begin(output)
        self.segments[-1].parts.append(
            LivePart(output.data, output.duration_ticks, output.is_independent)
        )
        self.version += 1
        self._forget()
        return completed

    def complete(self) -> LiveSegment | None:
        """The newest segment is whole: it, unless it was before."""
        if not self.segments or self.segments[-1].is_done:
            return None
        self.segments[-1].is_done = True
        self.version += 1
        return self.segments[-1]

    def finish(self) -> None:
        """Nobody will publish here any more."""
        self.complete()
        self.is_over = True
        self.version += 1

    def mark(self, mark: TimedMark) -> None:
        """Note a mark. Raises NotFoundError where its epoch is not in the window."""
        if any(dated.mark.id == mark.id for dated in self.marks):
            return
        self.marks.append(DatedMark(mark, self.server_ms(mark.epoch, mark.pts_ms)))
        self.version += 1

    def _begin(self, part: Part) -> None:
        is_first = self._discontinuity < 0
        is_discontinuous = self._pending is not None and not is_first
        if self._pending is not None:
            self._header += 1
            self._headers[self._header] = self._pending
            self._pending = None
        self._discontinuity = part.epoch if is_first else self._discontinuity + is_discontinuous
        self.segments.append(
            LiveSegment(
                msn=self.next_msn,
                discontinuity=self._discontinuity,
                is_discontinuous=is_discontinuous,
                header=self._header,
                epoch=part.epoch,
                pts_ms=part.pts_ms,
                server_ms=part.server_ms,
            )
        )
        self.next_msn += 1

    def _forget(self) -> None:
        ticks = sum(segment.ticks for segment in self.segments)
        size = sum(segment.size for segment in self.segments)
        while len(self.segments) > 2:
            oldest = self.segments[0]
            is_long = ticks - oldest.ticks >= bounds.WINDOW_S * VIDEO_RATE_HZ
            if not is_long and size <= bounds.WINDOW_BYTES_MAX:
                break
            ticks, size = ticks - oldest.ticks, size - oldest.size
            self.segments.popleft()
        oldest = self.segments[0]
        for number in [number for number in self._headers if number < oldest.header]:
            del self._headers[number]
        while self.marks and self.marks[0].server_ms < oldest.server_ms:
            self.marks.popleft()

    # --- looking up -----------------------------------------------------------------------------

    def header(self, number: int) -> bytes:
        """An initialization segment; raises NotFoundError."""
        if number not in self._headers:
            raise NotFoundError("no such initialization segment", code="segment_not_found")
        return self._headers[number].data

    def segment(self, msn: int) -> LiveSegment | None:
        """A segment that is in the window."""
        if not self.segments or not 0 <= msn - self.segments[0].msn < len(self.segments):
            return None
        return self.segments[msn - self.segments[0].msn]

    def server_ms(self, epoch: int, pts_ms: float) -> float:
        """Server time of a media time, as PROGRAM-DATE-TIME tells it; raises NotFoundError where
        the epoch is not in the window."""
        of_epoch = [segment for segment in self.segments if segment.epoch == epoch]
        if not of_epoch:
            raise NotFoundError(f"epoch {epoch} is not in the window", code="epoch_not_found")
        before = [segment for segment in of_epoch if segment.pts_ms <= pts_ms]
        tied = before[-1] if before else of_epoch[0]
        return tied.server_ms + pts_ms - tied.pts_ms

    def next_part(self) -> tuple[int, int]:
        """Number of the segment and of the part in it that come next: EXT-X-PRELOAD-HINT."""
        if self.segments and not self.segments[-1].is_done:
            return self.segments[-1].msn, len(self.segments[-1].parts)
        return self.next_msn, 0

    def has_whole_segment(self) -> bool:
        """Whether players that know no parts find something."""
        return any(segment.is_done for segment in self.segments)

    def has(self, msn: int, part: int | None) -> bool:
        """Whether the playlist has this segment, whole, or this part of it (rfc8216bis 6.2.5.2).

        A part beyond the last one of a whole segment is the first of the next.
        """
        if self.is_over or (self.segments and msn < self.segments[0].msn):
            return True
        segment = self.segment(msn)
        if segment is None:
            return False
        if part is None:
            return segment.is_done
        if part < len(segment.parts):
            return True
        return segment.is_done and self.segment(msn + 1) is not None

    def check_request(self, msn: int, part: int | None) -> None:
        """Raises BadRequestError for what is further ahead than a server waits for: two segments
        beyond the last whole one, or three part targets' worth beyond the last part."""
        in_progress, parts_there = self.next_part()
        if msn > in_progress + 1:
            raise BadRequestError("_HLS_msn is too far ahead", code="too_far_ahead")
        if part is not None and msn >= in_progress:
            ahead = part - (parts_there if msn == in_progress else 0)
            if ahead >= bounds.PARTS_AHEAD_MAX:
                raise BadRequestError("_HLS_part is too far ahead", code="too_far_ahead")
